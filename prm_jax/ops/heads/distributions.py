"""Heads that say a distribution of the reward: quantiles, variance, evidence.

Quantiles are `[..., M]`, from the lowest to the highest. Variances are told by
their logarithm, which is kept within +-20, where its gradient is 0 beyond.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import ratings

_LOG_VARIANCE = 20.0  # nats, beyond which a variance is a fault
_LARGE = 20.0  # where the series of a ratio of gamma functions is exact

# ------------------------------------------------------------------ quantiles


def levels(count: int) -> np.ndarray:
  """Returns the levels m / (M + 1) of M quantiles, `[M]`, in (0, 1).

  Args:
    count: M, at least 1.

  Raises:
    ValueError: there are none.
  """
  if count < 1:
    raise ValueError(f'{count} quantiles: at least 1')
  return np.arange(1, count + 1, dtype=np.float32) / np.float32(count + 1)


def pinball(
  quantiles: types.Array,
  target: types.Array,
  mask: types.Array,
  level: types.ArrayLike,
  *,
  huber: float = 0.0,
) -> types.Array:
  """Returns the loss of every quantile `[..., M]`, 0 where masked.

      rho(u) = u (tau - 1[u < 0]),   u = target - quantile

  or, made smooth around 0,

      |tau - 1[u < 0]| h(u) / k,   h(u) = u^2 / 2 for |u| < k, else
                                   k (|u| - k / 2)

  Args:
    quantiles: `[..., M]`.
    target: `[...]` in the same unit.
    mask: `[...]` 1 where it is known.
    level: `[M]` tau, in (0, 1).
    huber: k >= 0, in the same unit; 0 for the first form.

  References:
    Koenker and Bassett 1978; Dabney et al. 2018 (QR-DQN), arXiv:1710.10044;
    Dorka 2024 (QRM), arXiv:2409.10164.

  Notes:
    QRM's training code was not released; the levels that it names are those
    of `levels`.
  """
  chex.assert_equal_shape([target, mask])
  chex.assert_equal_shape_prefix([quantiles, target], target.ndim)
  chex.assert_rank(quantiles, target.ndim + 1)
  level = precision.raised(level)
  chex.assert_shape(level, quantiles.shape[-1:])
  known = jnp.asarray(mask)[..., None] > 0
  aim = jnp.where(known, precision.raised(target)[..., None], 0.0)
  apart = aim - jnp.where(known, precision.raised(quantiles), 0.0)
  slope = jnp.where(apart < 0, level - 1.0, level)
  if not huber:
    return apart * slope
  size = jnp.abs(apart)
  near = jnp.minimum(size, huber)
  return jnp.abs(slope) * near * (size - 0.5 * near) / huber


def around(score: types.Array, free: types.Array) -> types.Array:
  """Returns quantiles `[..., M]` that cannot cross, and whose mean is a score.

      q_m = score + c_m - mean(c),   c_m = sum of the first m softplus(free)

  Args:
    score: `[...]`.
    free: `[..., M - 1]` unconstrained: distances of neighbours before the
      softplus.
  """
  chex.assert_equal_shape_prefix([score, free], score.ndim)
  chex.assert_rank(free, score.ndim + 1)
  score, free = precision.raised(score), precision.raised(free)
  height = jnp.cumsum(jax.nn.softplus(free), -1)
  height = jnp.concatenate([jnp.zeros_like(score)[..., None], height], -1)
  return score[..., None] + height - jnp.mean(height, -1, keepdims=True)


def lower_mean(quantiles: types.Array, *, share: float) -> types.Array:
  """Returns the mean of the lowest quantiles, `[...]`: a score averse to risk.

      CVaR_a = mean of the lowest a M, one of them in part

  Args:
    quantiles: `[..., M]`, in any order.
    share: a, in (0, 1]; at 1 it is the mean, which is QRM's score.

  References:
    Rockafellar and Uryasev 2000, Optimization of conditional value-at-risk.

  Raises:
    ValueError: the share is not in (0, 1].
  """
  if not 0.0 < share <= 1.0:
    raise ValueError(f'share {share}: in (0, 1]')
  count = quantiles.shape[-1]
  taken = np.clip(share * count - np.arange(count), 0.0, 1.0)
  weight = jnp.asarray(taken / taken.sum(), jnp.float32)
  ordered = jnp.sort(precision.raised(quantiles), -1)
  # One that is not taken may be infinite.
  return jnp.sum(jnp.where(weight > 0, weight * ordered, 0.0), -1)


def quantile(quantiles: types.Array, *, level: float) -> types.Array:
  """Returns the quantile of any level, `[...]`, linear between those given.

  Args:
    quantiles: `[..., M]` at `levels(M)`, in any order.
    level: in (0, 1); beyond the first or last it is that one.

  Raises:
    ValueError: the level is not in (0, 1).
  """
  if not 0.0 < level < 1.0:
    raise ValueError(f'level {level}: in (0, 1)')
  count = quantiles.shape[-1]
  place = np.clip(level * (count + 1) - 1.0, 0.0, count - 1.0)
  near = np.maximum(1.0 - np.abs(np.arange(count) - place), 0.0)
  weight = jnp.asarray(near, jnp.float32)
  ordered = jnp.sort(precision.raised(quantiles), -1)
  return jnp.sum(jnp.where(weight > 0, weight * ordered, 0.0), -1)


# ------------------------------------------------------- mean and variance


def gaussian_nll(
  mean: types.Array,
  log_variance: types.Array,
  target: types.Array,
  mask: types.Array,
) -> types.Array:
  """Returns -log N(target; mean, variance), `[...]` in nats, 0 where masked.

  Args:
    mean: `[...]`.
    log_variance: `[...]` its natural logarithm.
    target: `[...]` in the unit of the mean.
    mask: `[...]` 1 where it is known.

  References:
    Nix and Weigend 1994; Lou et al. 2024 (URM), arXiv:2410.00847.
  """
  apart = ratings.error(mean, target, mask)
  chex.assert_equal_shape([log_variance, mask])
  known = jnp.asarray(mask) > 0
  log = jnp.where(known, _log_variance(log_variance), 0.0)
  nll = 0.5 * (jnp.log(2.0 * jnp.pi) + log + apart**2 * jnp.exp(-log))
  return jnp.where(known, nll, 0.0)


def sampled_squared(
  mean: types.Array,
  log_variance: types.Array,
  target: types.Array,
  mask: types.Array,
  noise: types.Array,
) -> types.Array:
  """Returns the squared error of a sampled reward, `[...]`, 0 where masked.

      (mean + noise sd - target)^2,

  which is (mean - target)^2 + variance on average: it never rewards a
  variance, as `gaussian_nll` does where the error is large.

  Args:
    mean: `[...]`.
    log_variance: `[...]`.
    target: `[...]` in the unit of the mean.
    mask: `[...]` 1 where it is known.
    noise: `[...]` standard normal.

  References:
    Lou et al. 2024 (URM), arXiv:2410.00847.
  """
  chex.assert_equal_shape([log_variance, noise, mask])
  known = jnp.asarray(mask) > 0
  log = jnp.where(known, _log_variance(log_variance), 0.0)
  spread = jnp.exp(0.5 * log) * jnp.where(known, noise, 0.0)
  return (ratings.error(mean, target, mask) + spread) ** 2


def overlap(
  mean: types.Array,
  variance: types.Array,
  other_mean: types.Array,
  other_variance: types.Array,
) -> types.Array:
  """Returns the Bhattacharyya coefficient `[...]` of two Gaussians, 0 to 1.

      sqrt(2 s t / (s^2 + t^2)) exp(-(m - n)^2 / (4 (s^2 + t^2)))

  Its mean over rewards that were seen says how little a reward tells apart.

  Args:
    mean: `[...]` m.
    variance: `[...]` s^2 > 0.
    other_mean: `[...]` n.
    other_variance: `[...]` t^2 > 0.

  References:
    Bhattacharyya 1943; Sun et al. 2025 (PURM), arXiv:2503.22480.
  """
  chex.assert_equal_shape([mean, variance, other_mean, other_variance])
  s, t = precision.raised(variance), precision.raised(other_variance)
  apart = precision.raised(mean) - precision.raised(other_mean)
  log = 0.5 * jnp.log(2.0) + 0.25 * (jnp.log(s) + jnp.log(t))
  log -= 0.5 * jnp.log(s + t) + 0.25 * apart**2 / (s + t)
  return jnp.exp(log)


# ------------------------------------------------------------------ evidence


class Evidence(NamedTuple):
  """A normal-inverse-gamma belief about a mean and a variance.

  Attributes:
    mean: `[...]` gamma.
    worth: `[...]` nu > 0, answers that the mean is worth.
    shape: `[...]` alpha > 1.
    rate: `[...]` beta > 0, in squared units of the mean.
  """

  mean: types.Array
  worth: types.Array
  shape: types.Array
  rate: types.Array


def evidence(free: types.Array) -> Evidence:
  """Returns the belief that four outputs of a head stand for.

      gamma, softplus, 1 + softplus, softplus

  each softplus at least 1e-6.

  Args:
    free: `[..., 4]` unconstrained.

  References:
    Amini et al. 2020, Deep evidential regression, arXiv:1910.02600.
  """
  chex.assert_axis_dimension(free, -1, 4)
  free = precision.raised(free)
  positive = jax.nn.softplus(free[..., 1:]) + 1e-6
  return Evidence(
    free[..., 0], positive[..., 0], 1.0 + positive[..., 1], positive[..., 2]
  )


def evidential_nll(
  belief: Evidence, target: types.Array, mask: types.Array
) -> types.Array:
  """Returns -log Student-t of a target under a belief `[...]`, 0 where masked.

      t with 2 alpha degrees, around gamma, of squared scale
      beta (1 + nu) / (nu alpha)

  Args:
    belief: leaves `[...]`.
    target: `[...]` in the unit of the mean.
    mask: `[...]` 1 where it is known.

  References:
    Amini et al. 2020, arXiv:1910.02600, equation 8.

  Notes:
    Only products of nu and beta are seen by the likelihood: what is called
    epistemic is not identified by it (Meinert et al. 2022, arXiv:2205.10060).
  """
  chex.assert_equal_shape([*belief, target, mask])
  apart = ratings.error(belief.mean, target, mask)
  known = jnp.asarray(mask) > 0
  count, shape, rate = (
    jnp.where(known, precision.raised(leaf), 2.0) for leaf in belief[1:]
  )
  spread = 2.0 * rate * (1.0 + count)
  # (a + 1/2) log(nu e^2 + s) - a log s, without their cancellation.
  excess = count * apart**2 / spread
  nll = 0.5 * (jnp.log(jnp.pi) - jnp.log(count) + jnp.log(spread))
  nll += (shape + 0.5) * jnp.log1p(excess) - _log_gamma_step(shape)
  return jnp.where(known, nll, 0.0)


def evidence_penalty(
  belief: Evidence, target: types.Array, mask: types.Array
) -> types.Array:
  """Returns |error| (2 nu + alpha) `[...]`: evidence for what was wrong.

  Args:
    belief: leaves `[...]`.
    target: `[...]` in the unit of the mean.
    mask: `[...]` 1 where it is known; 0 elsewhere.

  References:
    Amini et al. 2020, arXiv:1910.02600, equation 9, and the released code.
  """
  chex.assert_equal_shape([*belief, target, mask])
  known = jnp.asarray(mask) > 0
  count, shape = (
    jnp.where(known, precision.raised(leaf), 0.0)
    for leaf in (belief.worth, belief.shape)
  )
  return jnp.abs(ratings.error(belief.mean, target, mask)) * (
    2.0 * count + shape
  )


def evidence_parts(belief: Evidence) -> tuple[types.Array, types.Array]:
  """Returns the aleatoric and the epistemic variance of a belief, `[...]`.

      beta / (alpha - 1),   beta / (nu (alpha - 1))

  Args:
    belief: leaves `[...]`.

  References:
    Amini et al. 2020, arXiv:1910.02600, equation 5.
  """
  chex.assert_equal_shape(list(belief))
  _, count, shape, rate = (precision.raised(leaf) for leaf in belief)
  aleatoric = rate / (shape - 1.0)
  return aleatoric, aleatoric / count


def _log_variance(value):
  return jnp.clip(precision.raised(value), -_LOG_VARIANCE, _LOG_VARIANCE)


def _log_gamma_step(shape):
  """Returns log Gamma(a + 1/2) - log Gamma(a)."""
  small = jnp.minimum(shape, _LARGE)
  gamma = jax.scipy.special.gammaln
  exact = gamma(small + 0.5) - gamma(small)
  # The difference of two large numbers says nothing in float32.
  large = jnp.maximum(shape, _LARGE)
  series = 0.5 * jnp.log(large) - 0.125 / large + 1.0 / (192.0 * large**3)
  return jnp.where(shape < _LARGE, exact, series)
