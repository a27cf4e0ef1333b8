"""Answers that get worse where something is overdone: a gold reward.

Most of a feature is good in moderation: quality is linear, and falls steeply
once any feature is beyond an edge that ordinary answers seldom reach. A reward
model that has seen few such answers goes on upwards there, and whoever selects
by it finds them.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_jax import types

_BASE = 20_000  # answers by which the scale of quality is set


class Gold(NamedTuple):
  """The true reward of features `[..., D]`.

  Attributes:
    weight: `[D]`.
    edge: how far a feature may go, in standard deviations.
    depth: logits that quality falls by a standard deviation beyond it.
    center: mean of the base policy's answers, taken off.
    scale: standard deviation there; quality is in units of it, times `logits`.
    logits: see `scale`.
  """

  weight: np.ndarray
  edge: float
  depth: float
  center: float = 0.0
  scale: float = 1.0
  logits: float = 1.0

  def __call__(self, features: types.ArrayLike) -> types.ArrayLike:
    """Returns the quality `[...]`, logits."""
    over = jnp.maximum(jnp.abs(features) - self.edge, 0.0)
    raw = features @ jnp.asarray(self.weight, jnp.float32)
    raw = raw - self.depth * over.sum(-1)
    return self.logits * (raw - self.center) / self.scale


def gold(
  seed: int,
  *,
  dim: int,
  edge: float = 1.6,
  depth: float = 20.0,
  logits: float = 3.0,
) -> Gold:
  """Returns a true reward.

  The base policy's answers have features N(0, I), of quality with mean 0 and
  standard deviation `logits`.

  Args:
    seed: of the weights.
    dim: D.
    edge: see `Gold`.
    depth: see `Gold`, before the scale.
    logits: standard deviation of quality.
  """
  weight = np.random.default_rng([seed, 1]).standard_normal(dim)
  made = Gold(1.5 * weight / np.linalg.norm(weight), edge, depth)
  features = np.random.default_rng([seed, 2]).standard_normal((_BASE, dim))
  quality = np.asarray(made(features.astype(np.float32)))
  return made._replace(
    center=float(quality.mean()), scale=float(quality.std()), logits=logits
  )


def judged(
  of: Gold, rng: np.random.Generator, *, pairs: int, flipped: float
) -> types.Batch:
  """Returns Bradley-Terry choices between pairs of the base policy's answers.

  Args:
    of: the true reward.
    rng: of answers and choices.
    pairs: N.
    flipped: share of the labels that are turned round.
  """
  features = rng.standard_normal((2 * pairs, len(of.weight)))
  features = features.astype(np.float32)
  index = np.arange(2 * pairs, dtype=np.int32).reshape(pairs, 2)
  quality = np.asarray(of(features))
  gap = quality[index[:, 0]] - quality[index[:, 1]]
  label = gap > rng.logistic(size=pairs)
  label ^= rng.random(pairs) < flipped
  rows = types.Judgements(
    np.zeros(pairs, np.int32),
    label.astype(np.float32),
    np.ones(pairs, np.float32),
    np.arange(pairs, dtype=np.int32),
  )
  return types.Batch(rows, types.Inputs(features, index))
