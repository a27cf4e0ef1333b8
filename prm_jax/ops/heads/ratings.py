"""Heads of several attributes that are rated, on a scale or in bins.

Losses are `[..., A]`, one an attribute, and 0 where the mask is: a target that
nobody gave may hold anything, NaN and -100 included. The mean over what was
rated is the sum of losses over the sum of masks, over all devices at once.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.ops import precision


def error(
  prediction: types.Array, target: types.Array, mask: types.Array
) -> types.Array:
  """Returns prediction - target `[..., A]`, 0 where masked.

  Args:
    prediction: `[..., A]`.
    target: `[..., A]` in the same unit.
    mask: `[..., A]` 1 where it was rated.
  """
  chex.assert_equal_shape([prediction, target, mask])
  known = jnp.asarray(mask) > 0
  # Both before the difference: NaN times 0 would be NaN.
  return jnp.where(known, precision.raised(prediction), 0.0) - jnp.where(
    known, precision.raised(target), 0.0
  )


def squared(
  prediction: types.Array, target: types.Array, mask: types.Array
) -> types.Array:
  """Returns squared errors `[..., A]`, 0 where masked.

  Args:
    prediction: `[..., A]`.
    target: `[..., A]` in the same unit.
    mask: `[..., A]` 1 where it was rated.

  References:
    Wang et al. 2023 (HelpSteer), arXiv:2311.09528; Dong et al. 2023
    (SteerLM), arXiv:2310.05344.

  Notes:
    The released code marks what is missing by a target of -100, and so loses
    it as a value; here a mask says it.
  """
  return error(prediction, target, mask) ** 2


def huber(
  prediction: types.Array,
  target: types.Array,
  mask: types.Array,
  *,
  delta: float = 1.0,
) -> types.Array:
  """Returns Huber's errors `[..., A]`: e^2 / 2, linear beyond delta.

  Args:
    prediction: `[..., A]`.
    target: `[..., A]` in the same unit.
    mask: `[..., A]` 1 where it was rated.
    delta: > 0, in the same unit.

  References:
    Huber 1964, Robust estimation of a location parameter.
  """
  size = jnp.abs(error(prediction, target, mask))
  near = jnp.minimum(size, delta)
  return near * (size - 0.5 * near)


def binned(
  logits: types.Array,
  target: types.Array,
  mask: types.Array,
  bins: types.ArrayLike,
) -> types.Array:
  """Returns the cross-entropy `[...]` of the bin nearest to each target.

  Args:
    logits: `[..., C]` of the bins.
    target: `[...]` in the unit of bins; halfway between two, the lower one.
    mask: `[...]` 1 where it was rated.
    bins: `[C]` increasing centres.

  References:
    As classification into 10 bins: LDL-Reward-Gemma-2-27B, released model.

  Raises:
    ValueError: bins do not increase.
  """
  centres = _increasing(bins)
  target = _rated(target, mask)
  middle = 0.5 * (centres[1:] + centres[:-1])
  nearest = jnp.sum(target[..., None] > middle, -1)
  return _cross_entropy(logits, jax.nn.one_hot(nearest, len(centres)), mask)


def two_hot(
  logits: types.Array,
  target: types.Array,
  mask: types.Array,
  bins: types.ArrayLike,
) -> types.Array:
  """Returns the cross-entropy `[...]` of the two bins around each target.

  Both share the target so that their mean is the target: no rounding is
  learned.

  Args:
    logits: `[..., C]` of the bins.
    target: `[...]` in the unit of bins; beyond the last bins, these.
    mask: `[...]` 1 where it was rated.
    bins: `[C]` increasing centres.

  References:
    Bellemare et al. 2017 (C51), arXiv:1707.06887; Imani and White 2018,
    arXiv:1806.04613.

  Raises:
    ValueError: bins do not increase.
  """
  return _cross_entropy(
    logits, two_hot_weights(_rated(target, mask), bins), mask
  )


def two_hot_weights(target: types.Array, bins: types.ArrayLike) -> types.Array:
  """Returns how much of each bin a target is, `[..., C]`; rows sum to 1.

  Args:
    target: `[...]`; beyond the last bins it is taken to be in these.
    bins: `[C]` increasing centres; sum(weights * bins) is the target.

  Raises:
    ValueError: bins do not increase.
  """
  centres = _increasing(bins)
  target = precision.raised(target)[..., None]
  share = (target - centres[:-1]) / (centres[1:] - centres[:-1])
  share = jnp.clip(share, 0.0, 1.0)  # 1 in every bin that is passed
  one = jnp.ones_like(target)
  passed = jnp.concatenate([one, share, jnp.zeros_like(target)], -1)
  return passed[..., :-1] - passed[..., 1:]


def expected(logits: types.Array, bins: types.ArrayLike) -> types.Array:
  """Returns the mean of bins under the softmax of logits, `[...]`.

  A mixture of distributions has the mixture of their means, so that a gate
  may weigh either (`gating.gated_score`).

  Args:
    logits: `[..., C]`.
    bins: `[C]` increasing centres.

  Raises:
    ValueError: bins do not increase.
  """
  centres = _increasing(bins)
  chex.assert_axis_dimension(logits, -1, len(centres))
  probability = jax.nn.softmax(precision.raised(logits), -1)
  return jnp.sum(probability * centres, -1)


@precision.highest
def ridge(
  features: types.Array,
  target: types.Array,
  mask: types.Array,
  *,
  penalty: types.Scalar,
) -> types.Array:
  """Returns the linear head W `[A, D]` of masked ridge regression.

      argmin over w_a of sum over rated n of (w_a x_n - t_na)^2 + p |w_a|^2

  without an intercept. Attributes that nobody rated get 0.

  Args:
    features: `[N, D]` x.
    target: `[N, A]` t.
    mask: `[N, A]` 1 where it was rated, or a weight.
    penalty: p > 0, in units of squared features; a number, or `[A]`.

  References:
    Wang et al. 2024 (ArmoRM), arXiv:2406.12845, first stage.
  """
  chex.assert_rank(features, 2)
  chex.assert_equal_shape([target, mask])
  chex.assert_shape(target, (features.shape[0], None))
  x, weight = precision.raised(features), precision.raised(mask)
  rated = _rated(target, mask)
  penalty = jnp.broadcast_to(
    precision.each(penalty, target[0]), target.shape[1:]
  )

  eye = jnp.eye(x.shape[1], dtype=x.dtype)

  def one(t, w, p):
    # Not by normal equations, whose condition is the square of this one's.
    root = jnp.sqrt(w)
    rows = jnp.concatenate([root[:, None] * x, jnp.sqrt(p) * eye])
    q, r = jnp.linalg.qr(rows)
    aim = jnp.concatenate([root * t, jnp.zeros_like(x[0])])
    return jax.scipy.linalg.solve_triangular(r, q.T @ aim)

  return jax.vmap(one, (1, 1, 0))(rated, weight, penalty)


def _rated(target, mask):
  chex.assert_equal_shape([target, mask])
  return jnp.where(jnp.asarray(mask) > 0, precision.raised(target), 0.0)


def _increasing(bins) -> types.Array:
  """Returns the centres, which have to be in order; they are not traced."""
  centres = np.asarray(bins)
  if centres.ndim != 1 or len(centres) < 2 or not np.all(np.diff(centres) > 0):
    raise ValueError('bins: at least two centres, each above the one before')
  return precision.raised(centres)


def _cross_entropy(logits, weight, mask):
  chex.assert_equal_shape([logits, weight])
  nll = optax.losses.safe_softmax_cross_entropy(_shown(logits, mask), weight)
  return jnp.where(jnp.asarray(mask) > 0, nll, 0.0)


def _shown(logits, mask):
  """Returns logits, 0 where masked."""
  known = jnp.asarray(mask)[..., None] > 0
  return jnp.where(known, precision.raised(logits), 0.0)
