"""Optimisers of rewards, of people and of what is under rewards."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from prm_jax.rewards import backbone as trunks


def adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
  """Returns Adam with a cosine decay to 1 % over `steps`."""
  return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, 0.01))


def people_adam(
  learning_rate: float, steps: int
) -> optax.GradientTransformationExtraArgs:
  """Returns the Adam of one person, at the rate of the phase's step.

  Everybody counts their own steps for the bias of the moments, and the rate's
  cosine is the phase's: who comes late moves as far at first as who was there
  from the start, times the schedule.

  Args:
    learning_rate: of the first step.
    steps: of the phase, over which the rate decays to 1 %.
  """
  rate = optax.cosine_decay_schedule(learning_rate, steps, 0.01)
  inner = optax.scale_by_adam()

  def update(gradient, state, params=None, *, step, **_):
    change, state = inner.update(gradient, state, params)
    return jax.tree.map(lambda leaf: -rate(step) * leaf, change), state

  return optax.GradientTransformationExtraArgs(inner.init, update)


def by_path(
  optimizers: Mapping[str, optax.GradientTransformation],
) -> optax.GradientTransformation:
  """Returns one optimiser of parts of the parameters that have each their own.

  Args:
    optimizers: whole components of paths, as in `Phase.train`, -> optimiser;
      the first that fits a leaf is its own. A leaf that none fits is an error.
  """

  def label(path, leaf):
    del leaf
    name = '/' + jax.tree_util.keystr(path, simple=True, separator='/') + '/'
    for part in optimizers:
      if f'/{part}/' in name or not part:
        return part
    raise ValueError(f'no optimizer for {name[1:-1]!r}: {sorted(optimizers)}')

  return optax.partition(
    dict(optimizers),
    lambda params: jax.tree_util.tree_map_with_path(label, params),
  )


def trained(backbone: Any, learning_rate: float, steps: int) -> dict[str, Any]:
  """Returns optimiser and `train` of a phase, as `types.Phase` takes them.

  Args:
    backbone: `rewards.backbone.Backbone`, plain data, or None. A frozen one
      does not train; an adapter or a whole one has a rate of its own.
    learning_rate: of everything else; Adam, decayed to 1 %.
    steps: of the phase.
  """
  if backbone is None:
    return {'optimizer': adam(learning_rate, steps)}
  trunk = trunks.given(backbone)
  if trunk.trains == 'frozen':
    return {'optimizer': adam(learning_rate, steps), 'train': '-backbone'}
  frozen = trunk.trains == 'adapter' or trunk.top is not None
  part = 'adapter' if trunk.trains == 'adapter' else 'backbone'
  if trunk.trains == 'whole' and trunk.top is not None:
    part = 'top'
  optimizer = by_path(
    {part: adam(trunk.learning_rate, steps), '': adam(learning_rate, steps)}
  )
  return {'optimizer': optimizer, 'train': '-backbone' if frozen else ''}
