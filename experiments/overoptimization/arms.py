"""Learned rewards, and what is selected by: a mean, or less where unsure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import registry, types
from prm_jax.ops import ensembles, laplace
from prm_jax.ops.heads import choices
from prm_jax.rewards import multiple, scalar
from prm_jax.runtime import train
from prm_jax.worlds import overdone

Score = Callable[[types.Array], types.Array]


class Arm(NamedTuple):
  """What is selected by.

  Attributes:
    score: features `[..., D]` -> `[...]`, traceable.
    penalized: whether it scores lower what it is unsure of.
  """

  score: Score
  penalized: bool


def _fitted(kind: str, batch: types.Batch, seed: int, options, hyper):
  learner = registry.build('learner', {'kind': kind, **options})
  width = batch.inputs.value.shape[1]
  return train.fit(
    learner,
    batch,
    key=jax.random.key(seed),
    spec=types.Spec(width, 1, len(batch.rows.user)),
    hyper=hyper,
  ).params['reward']


def _members(batch, seed: int, node: Mapping[str, Any], ridge: float) -> Score:
  """Returns the scores `[E, ...]` of an ensemble's members."""
  options = {k: v for k, v in node.items() if k != 'pull'}
  hyper = {'ridge': ridge, 'pull': node['pull']}
  params = _fitted('ensemble', batch, seed, options, hyper)
  member = scalar.mlp(hidden=tuple(node['hidden']))
  reward = multiple.multiple(member, node['members'])

  def score(features):
    flat = features.reshape(1, -1, features.shape[-1])
    encoded = reward.encode(params, flat)
    each = multiple.members(member, params, encoded, ())[0]  # [M, E]
    return jnp.moveaxis(each, -1, 0).reshape(-1, *features.shape[:-1])

  return score


def hinges(features: types.Array) -> types.Array:
  """Returns each feature, and how far it is beyond 1 and -1, `[..., 3 D]`.

  What a linear reward needs to see that something is overdone.
  """
  over = jax.nn.relu(features - 1.0), jax.nn.relu(-features - 1.0)
  return jnp.concatenate([features, *over], -1)


def _linear(batch: types.Batch, seed: int, ridge: float):
  """Returns the mean and standard deviation of a last-layer posterior."""
  seen = hinges(jnp.asarray(batch.inputs.value))
  params = _fitted('laplace', batch.over(seen), seed, {}, {'ridge': ridge})
  center = seen.mean(0)  # a score alone has no meaning: against the average

  def mean(features):
    return (hinges(features) - center) @ params['weight']

  def deviation(features):
    apart = laplace.whiten(params['factor'], hinges(features) - center)
    return jnp.sqrt(jnp.sum(apart**2, -1) + 1e-12)

  return mean, deviation


def _chosen(batch: types.Batch, fit, ridges) -> float:
  """Returns the ridge with the best log loss on a fifth of the judgements."""
  if len(ridges) == 1:
    return ridges[0]
  out = np.arange(len(batch.rows.user)) % 5 == 0
  train, held = batch.take(~out), batch.take(out)
  texts = jnp.asarray(batch.inputs.value)[held.inputs.index]
  label = jnp.asarray(held.rows.label)

  def loss(ridge):
    score = fit(train, ridge)(texts)
    apart = score[:, 0] - score[:, 1]
    return float(choices.bradley_terry(apart, label).mean())

  return min(ridges, key=loss)


def arms(
  of: overdone.Gold, batch: types.Batch, seed: int, node: Mapping[str, Any]
) -> tuple[dict[str, Arm], dict[str, float]]:
  """Returns what is selected by, by name, and the ridges of what is fitted.

  Every network's scores are taken against the mean over the training texts:
  members have offsets of their own, which no judgement tells.

  Args:
    of: the true reward, which is one of them.
    batch: judgements that all others learn from.
    seed: of starts.
    node: `ensemble`, `ridges` to choose from by validation, `strength` and
      `width` of penalties.
  """

  def networks(batch, ridge):
    scores = _members(batch, seed, node['ensemble'], ridge)
    return lambda x: ensembles.mean(scores(x))

  def linear(batch, ridge):
    return _linear(batch, seed, ridge)[0]

  ridges = {
    'networks': _chosen(batch, networks, node['ridges']),
    'linear': _chosen(batch, linear, node['ridges']),
  }
  raw = _members(batch, seed, node['ensemble'], ridges['networks'])
  texts = jnp.asarray(batch.inputs.value)
  offset = raw(texts).mean(1)

  def members(features):
    wide = (-1, *[1] * (features.ndim - 1))
    return raw(features) - offset.reshape(wide)

  mean, deviation = _linear(batch, seed, ridges['linear'])
  strength, width = node['strength'], node['width']
  made = {
    'one network': Arm(lambda x: members(x)[0], False),
    'mean': Arm(lambda x: ensembles.mean(members(x)), False),
    'WCO': Arm(lambda x: ensembles.worst(members(x)), True),
    'UWO': Arm(
      lambda x: ensembles.penalized(members(x), strength=strength), True
    ),
    'lower bound': Arm(
      lambda x: ensembles.lower_bound(members(x), width=width), True
    ),
    'linear mean': Arm(mean, False),
    'Laplace lower bound': Arm(lambda x: mean(x) - width * deviation(x), True),
    'gold': Arm(lambda x: jnp.asarray(of(x)), False),
  }
  return made, ridges
