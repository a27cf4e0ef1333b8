"""The safeguards of the study, as each world needs them."""

import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import registry
from prm_jax.audits import served
from prm_jax.safeguards import coefficients, composition
from prm_jax.worlds import observed_stances


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


def options(model: served.Model, world: observed_stances.World) -> Options:
  """Returns what the safeguards need of a world and a model."""
  encoded = np.asarray(model.encode(world.features))
  sided = world.bias != 0
  direction = coefficients.mean_difference(encoded[sided], world.bias[sided])
  names = observed_stances.FEATURES
  coordinate = direction
  if len(names) == encoded.shape[1] and not world.condition.text:
    coordinate = np.eye(len(names), dtype=np.float32)[names.index('stance')]
  # The variance of a reward over people, and of one answer's estimate: the
  # spread of a logistic answer about a margin, pi^2 / 3.
  some = jnp.asarray(encoded[:: max(1, len(encoded) // 200)])[None]
  score = jax.lax.map(
    lambda context: composition.scores(
      model.system, model.params, some, context
    ).score[0],
    model.contexts,
  )
  return Options(
    jnp.asarray(coordinate),
    jnp.asarray(direction, jnp.float32),
    jnp.float32(np.pi**2 / 3.0),
    jnp.float32(float(np.var(np.asarray(score), axis=0).mean())),
  )


def builder(parts: Any) -> served.Builder:
  """Returns what makes a safeguard of nodes; see configs/echo_chambers.py.

  The same parts give the same function, by which programs are kept.

  Args:
    parts: nodes, one after the other.
  """
  return _builder(json.dumps(list(parts), sort_keys=True))


@functools.cache
def _builder(parts: str) -> served.Builder:
  def part(node: dict[str, Any], options: Options):
    own = dict(node)
    for name, field in own.pop('of_world', {}).items():
      own[name] = getattr(options, field)
    return registry.build('safeguard', own)

  return lambda options: composition.chain(
    *(part(node, options) for node in json.loads(parts))
  )
