"""Scores of many texts for one person, how sure they are, and lower bounds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import ensembles
from prm_jax.systems import likelihoods

_BLOCK = 4096  # texts scored at once
BOUNDS = ('lower_bound', 'WCO', 'UWO')
OWN, APART = 'the score', "the score less the mean of its prompt's responses"


class Scores(NamedTuple):
  """How good responses are for a person.

  Attributes:
    score: `[K]` rewards in logits; differences matter.
    standard_deviation: `[K]` of the belief; None of methods that have none.
    lower: `[K]` a pessimistic score; None where none was asked for.
    of: what the standard deviation is of, in words: the score itself, under a
      prior that says where it is; or, where judgements alone say what is known
      (the last layer, ensembles), the score less the mean of the responses to
      the same prompt, for nothing else is identified: one response alone has
      deviation 0. None where there is none.
  """

  score: np.ndarray
  standard_deviation: np.ndarray | None
  lower: np.ndarray | None = None
  of: str | None = None


class Found(NamedTuple):
  """What is read of M texts, leaves `[M]` and `[M, E]`.

  Attributes:
    score: what is served.
    variance: None where the belief is a point.
    members: scores of an ensemble's members; None where there are none.
  """

  score: Any
  variance: Any
  members: Any


def scores(
  system: types.System,
  params: Any,
  context: types.PyTree,
  features: types.Array,
  *,
  prompts: Sequence[str] | None = None,
  bound: str | None = None,
  width: float = 2.0,
  strength: float = 0.5,
) -> Scores:
  """Returns scores of texts for one person, and how sure they are.

  The bounds are `ops.ensembles`': 'lower_bound' is score - width * deviation,
  'WCO' the worst member and 'UWO' score - strength * variance, in which the
  members, too, are less their means over a prompt's responses.

  Args:
    system: reward, user model and head.
    params: of both, and of the head.
    context: of the person.
    features: `[M, D]` of the texts.
    prompts: `[M]` what the texts answer; all the same if None.
    bound: one of `BOUNDS`, or None.
    width: standard deviations below the score.
    strength: of UWO, per unit of score.

  Raises:
    ValueError: the bound is unknown, or the system has not what it takes; the
      message says what the system has.
  """
  check(system, bound)
  group = np.zeros(len(features), int)
  if prompts is not None:
    group = np.unique(np.asarray(prompts), return_inverse=True)[1]
  found = _read(system, params, context, features, group)
  deviation = of = None
  if found.variance is not None:
    deviation = np.sqrt(np.maximum(found.variance, 0.0))
    of = OWN
    if system.reward.members is not None or system.reward.centred:
      of = APART
  lower = None
  if bound == 'lower_bound':
    if deviation is None:
      raise ValueError(
        "'lower_bound' takes a deviation, and this method gives scores alone: "
        "'ensemble' and 'laplace' have one of everybody's reward, methods of "
        "Gaussian beliefs ('pref', 'hierarchical', 'rfm', 'pep') of a person's"
      )
    lower = found.score - width * deviation
  elif bound is not None:
    assert found.members is not None  # checked
    members = jnp.asarray(found.members.T)
    if bound == 'WCO':
      lower = np.asarray(ensembles.worst(members))
    else:
      lower = np.asarray(ensembles.penalized(members, strength=strength))
  return Scores(found.score, deviation, lower, of)


def members(
  system: types.System,
  params: Any,
  context: types.PyTree,
  features: types.Array,
) -> np.ndarray:
  """Returns the members' scores of K responses to one prompt, `[E, K]`.

  Less each one's mean over the K; the mean over members is the score.

  Args:
    system: whose reward has members.
    params: of the system.
    context: of the person.
    features: `[K, D]`.
  """
  group = np.zeros(len(features), int)
  found = _read(system, params, context, features, group).members
  assert found is not None
  return found.T


def check(system: types.System, bound: str | None) -> None:
  """Raises ValueError where a system has no such bound.

  Args:
    system: a reward and a belief.
    bound: one of `BOUNDS`, or None.
  """
  if bound is None:
    return
  if bound not in BOUNDS:
    raise ValueError(f'unknown bound {bound!r}: one of {BOUNDS}')
  if bound != 'lower_bound' and system.reward.members is None:
    raise ValueError(
      f'{bound} takes the members of an ensemble, which only the method '
      "'ensemble' has; methods with a deviation have bound 'lower_bound'"
    )


def _read(system, params, context, features, group: np.ndarray) -> Found:
  """Returns what is read of texts `[M, D]`, `group` `[M]` being of prompts.

  Every text is a choice of one, a block at a time: the covariance of all with
  all is never made. Where covariances are centred a text stands beside the
  mean encoding of its prompt's, in which scores are linear.
  """
  reward = system.reward
  encoded = reward.encode(
    params['reward'],
    reward.features(params['reward'], types.Inputs(jnp.asarray(features))),
  )
  mean = None
  if reward.centred:
    mean = _means(np.asarray(encoded), group)

  @jax.jit
  def block(encoded, features, mean):
    count = len(encoded)
    known = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), context
    )
    row = encoded[:, None]
    output = reward.score(params['reward'], row, known)
    variance = members = None
    if mean is not None:
      pair = jnp.stack([encoded, mean], 1)
      variance = _apart(reward.score(params['reward'], pair, known).covariance)
    elif output.covariance is not None:
      variance = output.covariance[:, 0, 0]
    if reward.members is not None:
      members = reward.members(params['reward'], row, known)[:, 0]
    score = likelihoods.of_scores(
      system.head, params, output.score, features[:, None]
    )
    return Found(score[:, 0], variance, members)

  count = len(encoded)
  size = min(count, _BLOCK)
  rows = jax.tree.map(
    lambda leaf: jnp.pad(
      leaf, [(0, -count % size)] + [(0, 0)] * (leaf.ndim - 1)
    ),
    (encoded, jnp.asarray(features), mean),
  )
  parts = []
  for first in range(0, count, size):
    chosen = jax.tree.map(lambda leaf: leaf[first : first + size], rows)  # noqa: B023
    parts.append(jax.tree.map(np.asarray, block(*chosen)))
  found = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
  if found.members is None:
    return found
  # What members say of their own variance stays, what they agree on goes.
  own = found.variance - found.members.var(1)
  members = found.members - _means(found.members, group)
  members = members + (found.score - members.mean(1))[:, None]
  return found._replace(
    members=members, variance=np.maximum(own, 0.0) + members.var(1)
  )


def _apart(covariance: types.Array) -> types.Array:
  """Returns the variance of differences of two, `[B]`."""
  C = covariance
  return C[:, 0, 0] + C[:, 1, 1] - C[:, 0, 1] - C[:, 1, 0]


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
  """Returns everybody's group's mean, in the form of the values."""
  count = np.bincount(group)
  total = np.zeros((len(count), *values.shape[1:]), np.float64)
  np.add.at(total, group, values)
  shape = (-1, *[1] * (values.ndim - 1))
  return (total / count.reshape(shape))[group].astype(values.dtype)
