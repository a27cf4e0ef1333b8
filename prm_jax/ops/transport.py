"""Distances between Gaussians, and weights that follow from them (VRF).

Gaussians are diagonal: a mean and a log-variance of each of Z dimensions.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision


def wasserstein(
  mean: types.Array,
  log_variance: types.Array,
  other_mean: types.Array,
  other_log_variance: types.Array,
) -> types.Array:
  """Returns the squared 2-Wasserstein distance of diagonal Gaussians `[...]`.

      |mu - mu'|^2 + |sigma - sigma'|^2

  Args:
    mean: `[..., Z]`.
    log_variance: `[..., Z]`.
    other_mean: `[..., Z]`, broadcast.
    other_log_variance: `[..., Z]`, broadcast.

  References:
    Dowson and Landau 1982, The Frechet distance between multivariate normal
    distributions.
  """
  chex.assert_equal_shape_suffix(
    [mean, log_variance, other_mean, other_log_variance], 1
  )
  scale, other = (
    jnp.exp(0.5 * value) for value in (log_variance, other_log_variance)
  )
  return jnp.sum((mean - other_mean) ** 2 + (scale - other) ** 2, -1)


@precision.highest
def matched_weights(
  mean: types.Array,
  log_variance: types.Array,
  base_mean: types.Array,
  base_log_variance: types.Array,
  temperature: float = 1.0,
) -> tuple[types.Array, types.Array]:
  """Returns weights `[K]` on K bases, and a root `[K, Z]` of their covariance.

      w_k = softmax_k(-W2^2(q, b_k) / temperature)
      dw_k / dmu = 2 w_k (mu_k - sum_j w_j mu_j) / temperature

  The root is that slope times sigma: what the weights of a draw of q vary by,
  to first order.

  Args:
    mean: `[Z]` of the person's q.
    log_variance: `[Z]` of q.
    base_mean: `[K, Z]` of the bases b_k.
    base_log_variance: `[K, Z]` of the bases.
    temperature: of the softmax.
  """
  chex.assert_rank([mean, base_mean], [1, 2])
  distance = wasserstein(
    mean[None], log_variance[None], base_mean, base_log_variance
  )
  weight = jax.nn.softmax(-distance / temperature)
  apart = base_mean - weight @ base_mean
  slope = (2.0 / temperature) * weight[:, None] * apart
  return weight, slope * jnp.exp(0.5 * log_variance)
