"""The safeguards of the study, as each world needs them."""

import functools
import types as python_types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.echo_chambers import methods, worlds
from prm_jax import types
from prm_jax.safeguards import (
  adaptive,
  coefficients,
  composition,
  policies,
  rewards,
)

# Those that remember what was served: audited as they are after the loop.
ADAPTIVE = ('constitutional_floor', 'exposure', 'preference_shift')


class Options(NamedTuple):
  """What safeguards need of a world, as arrays: one program for all seeds.

  Attributes:
    coordinate: `[J]` the detected stance's own coefficient.
    means: `[J]` difference of means of the training answers' sides.
    within: of `empirical_shrinkage`.
    between: likewise.
  """

  coordinate: jax.Array
  means: jax.Array
  within: jax.Array
  between: jax.Array


Builder = Callable[[Options], types.Safeguard]


def options(method: methods.Method, world: worlds.World) -> Options:
  """Returns what the safeguards need of a world and a method."""
  encoded = np.asarray(method.encode(world.features))
  sided = world.bias != 0
  J = encoded.shape[1]
  direction = coefficients.mean_difference(encoded[sided], world.bias[sided])
  coordinate = np.zeros(J, np.float32)
  if len(worlds.FEATURES) == J and not world.condition.text:
    coordinate[worlds.FEATURES.index('stance')] = 1.0
  else:
    coordinate = direction
  # The variance of a reward over people, and of one answer's estimate: the
  # spread of a logistic answer about a margin, pi^2 / 3.
  score = _people_scores(method, encoded[:: max(1, len(encoded) // 200)])
  between = float(np.var(score, axis=0).mean())
  return Options(
    jnp.asarray(coordinate),
    jnp.asarray(direction, jnp.float32),
    jnp.float32(np.pi**2 / 3.0),
    jnp.float32(between),
  )


def _people_scores(method: methods.Method, encoded: np.ndarray) -> np.ndarray:
  rows = jnp.asarray(encoded)[None]

  def one(context):
    found = composition.scores(method.system, method.params, rows, context)
    return found.score[0]

  return np.asarray(jax.lax.map(one, method.contexts))


def builders(config: Any) -> dict[str, Builder]:
  """Returns every safeguard of the study by its name in the tables.

  The same strengths give the same functions, by which programs are kept.

  Args:
    config: strengths of the safeguards.
  """
  return _builders(tuple(sorted(config.items())))


@functools.cache
def _builders(strengths: tuple[tuple[str, float], ...]) -> dict[str, Builder]:
  config = python_types.SimpleNamespace(**dict(strengths))
  share, radius = config.share, config.radius
  made: dict[str, Builder] = {
    'none': lambda o: composition.none(),
    'shrinkage': lambda o: rewards.shrinkage(share=share),
    'empirical_shrinkage': lambda o: rewards.empirical_shrinkage(
      between=o.between, within=o.within, answers=config.judgements
    ),
    'trust_region': lambda o: policies.trust_region(radius=radius),
    'agreement_penalty': lambda o: rewards.agreement_penalty(),
    'residual': lambda o: rewards.residual(),
    'projection': lambda o: coefficients.projection(direction=o.coordinate),
    'projection_means': lambda o: coefficients.projection(direction=o.means),
    'lower_bound': lambda o: rewards.lower_bound(caution=config.caution),
    'bridging': lambda o: policies.bridging(),
    'truth_floor': lambda o: policies.floor(measure='truth'),
    'constitutional_floor': lambda o: adaptive.constitutional_floor(
      measure='truth', least=config.least
    ),
    'exposure': lambda o: adaptive.exposure(strength=config.exposure),
    'preference_shift': lambda o: adaptive.preference_shift(
      strength=config.shift
    ),
    'matching': lambda o: policies.matching(),
  }
  made['chain'] = lambda o: composition.chain(
    coefficients.projection(direction=o.coordinate), policies.matching()
  )
  return made


def unprotected(safeguard: str) -> str:
  """Returns the safeguard without its matching, whose strength is carried."""
  return {'matching': 'none', 'chain': 'projection'}[safeguard]
