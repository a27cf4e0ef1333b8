"""Rewards that are linear in what the trunk says, as the vectors they are.

After the trunk, aggregate, PReF and LoRe score a text by w_u . x: for PReF
w_u = W lambda_u, for LoRe W softmax(lambda_u). As `score.weight` under the
trunk, that is an ordinary reward model, which `prm_jax.exporting` writes.
"""

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types

_PROBES = 16  # features on which the vector is compared with the reward
_TOLERANCE = 1e-4  # of the largest score
_OTHERWISE = 'export with --format=orbax or --format=stablehlo'


class Factors(NamedTuple):
  """Rewards of people: coefficients @ basis are their vectors.

  Attributes:
    basis: `[J, D]` what is shared.
    coefficients: `[P, J]` what is a person's own.
  """

  basis: np.ndarray
  coefficients: np.ndarray


def weights(
  system: types.System, params: Any, contexts: types.PyTree, features: int
) -> np.ndarray:
  """Returns what each person's reward weighs features with, `[P, D]`.

  Row u holds score_u(e_i) - score_u(0), asked of the reward itself. It is then
  compared with the reward on features that were not asked, so that a reward
  that is not linear is found by what it says, whatever its name.

  Args:
    system: reward and user model.
    params: of both; a trunk is not read.
    contexts: of P people, leaves `[P, ...]`; without leaves of everybody.
    features: D.

  Raises:
    ValueError: scores are not linear in features, or have an offset; or a
      safeguard or a head stands between them and what is served.
  """
  if system.safeguard is not None or system.head is not None:
    raise ValueError(
      'a safeguard or a head changes what is served, and no vector says how: '
      + _OTHERWISE
    )
  own = params['reward']
  rng = np.random.default_rng(0)
  probes = rng.normal(size=(_PROBES, features)).astype(np.float32)
  asked = np.concatenate([np.zeros((1, features)), np.eye(features), probes])

  @jax.jit
  def ask(own, contexts, asked):
    encoded = system.reward.encode(own, asked)

    def score(context):  # one person, one row of K = 1 + D + probes texts
      row = jax.tree.map(lambda leaf: leaf[None], (encoded, context))
      return system.reward.score(own, *row).score[0]

    # One who is told nothing, as everybody's reward is, is no axis.
    alone = not jax.tree.leaves(contexts)
    return score(contexts)[None] if alone else jax.lax.map(score, contexts)

  told = np.asarray(
    ask(own, contexts, jnp.asarray(asked, jnp.float32)), np.float64
  )
  offset, told = told[:, :1], told[:, 1:] - told[:, :1]
  found, wanted = told[:, :features], told[:, features:]
  scale = max(np.abs(wanted).max(), np.finfo(np.float32).tiny)
  error = np.abs(found @ probes.T - wanted).max() / scale
  if not error < _TOLERANCE:
    raise ValueError(
      f'scores are not linear in the features (off by {error:.2g} of the '
      'largest): such a reward is no vector a person, ' + _OTHERWISE
    )
  if np.abs(offset).max() > _TOLERANCE * scale:
    raise ValueError(
      'scores have an offset, which a published score.weight has not: '
      + _OTHERWISE
    )
  return found.astype(np.float32)


def factors(
  system: types.System, params: Any, contexts: types.PyTree, features: int
) -> Factors:
  """Returns what people share and what is a person's own; see `weights`.

  The basis is what the reward itself encodes a text with: W of PReF and LoRe,
  the features themselves where people weigh them.

  Args:
    system: reward and user model.
    params: of both.
    contexts: of P people, leaves `[P, ...]`; without leaves of everybody.
    features: D.

  Raises:
    ValueError: as of `weights`; or people's vectors are not in the space of
      what is encoded.
  """
  found = weights(system, params, contexts, features).astype(np.float64)
  asked = np.concatenate([np.zeros((1, features)), np.eye(features)])
  told = system.reward.encode(params['reward'], jnp.asarray(asked, jnp.float32))
  if not isinstance(told, jax.Array) or told.ndim != 2:
    raise ValueError(f'what is encoded is no vector a text: {_OTHERWISE}')
  basis = np.asarray(told, np.float64)
  basis = (basis[1:] - basis[:1]).T
  coefficients = np.linalg.lstsq(basis.T, found.T, rcond=None)[0].T
  scale = max(np.abs(found).max(), np.finfo(np.float32).tiny)
  if np.abs(coefficients @ basis - found).max() > _TOLERANCE * scale:
    raise ValueError(
      "people's vectors are not made of what is encoded: " + _OTHERWISE
    )
  return Factors(basis, coefficients)


def hashed(person: str) -> str:
  """Returns the label of a person whose id is not written."""
  return hashlib.sha256(person.encode()).hexdigest()[:16]
