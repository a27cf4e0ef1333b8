"""Last-layer Laplace: what pairs leave unknown of a linear reward's weights.

Around the mode w of Bradley-Terry with a ridge the posterior of the weights is
taken as N(w, H^-1), H the Hessian. It is carried as H's Cholesky factor, and
nothing is inverted. Of K scores of one prompt only differences are identified.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import pairs, precision


@precision.highest
def hessian(
  features: types.Array,
  index: types.ArrayLike,
  mask: types.Array,
  weight: types.Array,
  *,
  ridge: float | types.Array,
) -> types.Array:
  """Returns the precision of the weights, `[D, D]`.

      H = sum_n mask_n sigma(d_n) sigma(-d_n) x_n x_n^T + ridge I

  with x_n = x_a - x_b and d_n = w . x_n. Differences are held a block at a
  time, never all `[N, D]`. What was answered does not enter, but through w.

  Args:
    features: `[M, D]` x of every text.
    index: `[N, 2]` the texts a and b of each pair.
    mask: `[N]` 1 for an answer, 0 for padding; other weights are allowed.
    weight: `[D]` w, the mode.
    ridge: prior precision of every weight, above 0.

  References:
    MacKay 1992, The evidence framework applied to classification networks;
    for reward models Yang et al. 2026 (RewardUQ), arXiv:2602.24040.

  Notes:
    RewardUQ's released code leaves sigma(d) sigma(-d) out by default and takes
    a pseudo-inverse; this is the Hessian itself, of full rank by the ridge.
  """
  chex.assert_rank([features, mask, weight], [2, 1, 1])
  chex.assert_shape(weight, (features.shape[1],))
  # What all texts share cancels in differences, but for rounding.
  features = jnp.asarray(features)
  features = features - jnp.mean(features, axis=0)
  margin = pairs.margins(features, index, weight)
  slope = mask * jax.nn.sigmoid(margin) * jax.nn.sigmoid(-margin)
  slope = jnp.where(mask > 0, slope, 0.0)
  identity = jnp.eye(features.shape[1], dtype=features.dtype)
  return pairs.gram(features, index, slope) + ridge * identity


def cholesky(
  features: types.Array,
  index: types.ArrayLike,
  mask: types.Array,
  weight: types.Array,
  *,
  ridge: float | types.Array,
) -> types.Array:
  """Returns the lower Cholesky factor `[D, D]` of `hessian`, L L^T = H."""
  return jnp.linalg.cholesky(
    hessian(features, index, mask, weight, ridge=ridge)
  )


@precision.highest
def whiten(factor: types.Array, features: types.Array) -> types.Array:
  """Returns L^-1 x, `[..., D]`, whose products are covariances of scores.

      Cov(w . x, w . y) = x^T H^-1 y = (L^-1 x) . (L^-1 y)

  Args:
    factor: `[D, D]` lower Cholesky factor L of the precision.
    features: `[..., D]` x.
  """
  chex.assert_rank(factor, 2)
  chex.assert_axis_dimension(features, -1, factor.shape[0])
  rows = features.reshape(-1, features.shape[-1])
  found = jax.scipy.linalg.solve_triangular(factor, rows.T, lower=True)
  return found.T.reshape(features.shape)


def margin_variance(
  factor: types.Array, difference: types.Array
) -> types.Array:
  """Returns the variance `[...]` of a pair's margin, x^T H^-1 x.

  Args:
    factor: `[D, D]` lower Cholesky factor of the precision.
    difference: `[..., D]` x, features of the first answer minus the second.
  """
  return jnp.sum(whiten(factor, difference) ** 2, axis=-1)


@precision.highest
def centred_covariance(whitened: types.Array) -> types.Array:
  """Returns the covariance `[..., K, K]` of K scores less their mean.

  Judgements identify differences of answers to one prompt, not what all of
  them share, whose variance under the posterior is hardly less than the
  prior's. Features are therefore centred over the K first: the variance of
  every difference is what it was, rows sum to 0, and one answer alone has no
  variance.

  Args:
    whitened: `[..., K, D]` of K answers to one prompt, from `whiten`.
  """
  centred = whitened - jnp.mean(whitened, axis=-2, keepdims=True)
  return jnp.einsum('...kd,...ld->...kl', centred, centred)


def score_covariance(factor: types.Array, features: types.Array) -> types.Array:
  """Returns the covariance `[..., K, K]` of the K scores of a prompt.

  Centred over the K, see `centred_covariance`.

  Args:
    factor: `[D, D]` lower Cholesky factor of the precision.
    features: `[..., K, D]` of K answers to one prompt.
  """
  return centred_covariance(whiten(factor, features))


@precision.highest
def draws(
  key: types.Key, weight: types.Array, factor: types.Array, *, count: int
) -> types.Array:
  """Returns `[count, D]` weights from N(w, H^-1): w + L^-T z, z ~ N(0, I).

  Args:
    key: of the draws.
    weight: `[D]` w, the mode.
    factor: `[D, D]` lower Cholesky factor L of the precision.
    count: how many.
  """
  noise = jax.random.normal(key, (weight.shape[0], count), weight.dtype)
  return (
    weight
    + jax.scipy.linalg.solve_triangular(factor, noise, lower=True, trans='T').T
  )


@precision.highest
def evidence(
  features: types.Array,
  index: types.ArrayLike,
  label: types.Array,
  mask: types.Array,
  weight: types.Array,
  *,
  ridge: float | types.Array,
) -> types.Array:
  """Returns the log marginal likelihood `[]` of the answers, in nats.

      sum_n mask_n log p(label_n | d_n) - ridge |w|^2 / 2
      + D / 2 log ridge - log det L

  Laplace's approximation at the mode w of this ridge: the larger, the better
  a ridge explains the answers, without a validation row.

  Args:
    features: `[M, D]` x of every text.
    index: `[N, 2]` the texts a and b of each pair.
    label: `[N]` probability that the first is preferred.
    mask: `[N]` 1 for an answer, 0 for padding.
    weight: `[D]` w, the mode under this ridge (`bayes.pooled_mode`).
    ridge: prior precision of every weight, above 0.

  References:
    MacKay 1992, Bayesian interpolation.
  """
  chex.assert_equal_shape([label, mask])
  factor = cholesky(features, index, mask, weight, ridge=ridge)
  margin = pairs.margins(features, index, weight)
  fit = label * margin - jax.nn.softplus(margin)
  fit = jnp.sum(jnp.where(mask > 0, mask * fit, 0.0))
  prior = 0.5 * weight.shape[0] * jnp.log(ridge) - 0.5 * ridge * jnp.sum(
    weight**2
  )
  return fit + prior - jnp.sum(jnp.log(jnp.diagonal(factor)))
