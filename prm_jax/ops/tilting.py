"""Exponential tilts of a policy, and what holds them back.

A policy over Y answers is `[..., Y]` log-probabilities; the last axis is the
answers, everything else is a batch of people and prompts. A person's policy is
pi proportional to pi_0 exp(beta r); see `decoding.tilted`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision

_STEPS = 60  # of a bisection; float32 is exhausted before
_NEWTON = 32  # of a bracketed Newton iteration; most end after six
_SMALL = 1e-5  # an error in log-odds that is rounding
_STANDS_OUT = 64.0  # how much wider the range may be than what matters of it
_EDGE = 1e-7  # of a range: a target nearer to an end counts as there


def inverse_temperature(
  divergence: Callable[[float], Any],
  wanted: float,
  *,
  least: float = 1e-3,
  most: float = 1e3,
  steps: int = _STEPS,
) -> float:
  """Returns the beta at which a divergence that rises in it is `wanted`.

  By bisection of log beta, on the host: a step is one call, so that what
  takes long is compiled once, by the caller.

  Args:
    divergence: beta -> KL to the base policy in nats, or its mean over people
      and prompts; a number or an array `[]`.
    wanted: in nats.
    least: beta, above 0, that is returned where the divergence is too large
      at any.
    most: beta that is returned where it is too small.
    steps: halvings of log(most / least); all that float64 holds by default.

  Raises:
    ValueError: `least` and `most` are no interval above 0.
  """
  if not 0 < least < most:
    raise ValueError(f'least {least} and most {most}: give 0 < least < most')
  low, high = np.log(least), np.log(most)
  for _ in range(steps):
    middle = 0.5 * (low + high)
    if float(divergence(float(np.exp(middle)))) < wanted:
      low = middle
    else:
      high = middle
  return float(np.exp(0.5 * (low + high)))


def gain(
  log_policy: types.Array,
  reward: types.Array,
  feature: types.Array,
  beta: types.Scalar,
) -> types.Array:
  """Returns by how much a tilt raises the mean of a feature, `[...]`.

      E_pi[g] - E_0[g] = Cov_0(g, exp(beta r)) / E_0[exp(beta r)]

  Args:
    log_policy: pi_0 `[..., Y]`.
    reward: r `[..., Y]`.
    feature: g `[..., Y]`, such as agreement.
    beta: inverse temperature.

  References:
    Shapira, Benade and Procaccia 2026, arXiv:2602.01002, theorem 1.
  """
  base = jnp.exp(log_policy)
  # Largest exponent 0: the ratio does not change.
  lift = jnp.exp(beta * (reward - reward.max(-1, keepdims=True)))
  mean = jnp.sum(base * feature, -1, keepdims=True)
  covariance = jnp.sum(base * (feature - mean) * lift, -1)
  return covariance / jnp.sum(base * lift, -1)


def minimal_correction(
  log_policy: types.Array,
  reward: types.Array,
  agreement: types.Array,
  beta: types.Scalar,
) -> types.Array:
  """Returns lambda* `[...]`, the least penalty that adds no agreement.

  The policy tilted by r - lambda* A is the closest to the one tilted by r
  among those that agree no more often than pi_0:

      lambda* = max(0, log(m_1 / m_0) / beta),  m_a = E_0[exp(beta r) | A = a]

  Zero where pi_0 always or never agrees, for then no tilt changes that, and
  at beta 0.

  Args:
    log_policy: pi_0 `[..., Y]`.
    reward: r `[..., Y]`.
    agreement: A `[..., Y]`, 0 or 1.
    beta: inverse temperature, above 0.

  References:
    Shapira, Benade and Procaccia 2026, arXiv:2602.01002, theorem 6.
  """
  exponent = log_policy + beta * reward

  def log_mean(chosen):
    chosen = chosen > 0
    lifted = jax.nn.logsumexp(jnp.where(chosen, exponent, -jnp.inf), -1)
    mass = jax.nn.logsumexp(jnp.where(chosen, log_policy, -jnp.inf), -1)
    return jnp.where(jnp.any(chosen, -1), lifted - mass, 0.0)

  both = jnp.any(agreement > 0, -1) & jnp.any(agreement <= 0, -1)
  ratio = log_mean(agreement) - log_mean(1.0 - agreement)
  tilts = jnp.asarray(beta) > 0
  ratio = ratio / jnp.where(tilts, beta, 1.0)
  return jnp.where(both & tilts, jnp.maximum(ratio, 0.0), 0.0)


def trust_region(
  log_policy: types.Array,
  reward: types.Array,
  log_population: types.Array,
  beta: types.Scalar,
  radius: types.Scalar,
) -> tuple[types.Array, types.Array]:
  """Returns the best policy within a divergence of the population's, and mu.

      max E r - KL(pi | pi_0) / beta  with  KL(pi | pi_pop) <= radius

  solved by pi proportional to pi_0^a pi_pop^(1 - a) exp(a beta r) with
  a = 1 / (1 + mu beta), the divergence falling in mu. If pi_pop is pi_0 tilted
  by r_pop, that is the reward shrunk to (r + mu beta r_pop) / (1 + mu beta).

  Args:
    log_policy: pi_0 `[..., Y]`.
    reward: r `[..., Y]` of a person.
    log_population: pi_pop `[..., Y]`.
    beta: inverse temperature, above 0.
    radius: in nats, `[...]` or scalar; 0 gives the population's policy.

  Returns:
    Log-probabilities `[..., Y]` and a `[...]`, the share that is kept: 1 where
    the constraint does not bind.
  """
  own = log_policy + beta * reward

  def policy(share):
    mixed = share[..., None] * own + (1.0 - share[..., None]) * log_population
    return jax.nn.log_softmax(mixed, -1)

  def far(share):
    log_pi = policy(share)
    return jnp.sum(jnp.exp(log_pi) * (log_pi - log_population), -1)

  ones = jnp.ones(own.shape[:-1], own.dtype)

  def halve(_, ends):
    low, high = ends
    middle = 0.5 * (low + high)
    inside = far(middle) <= radius
    return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

  low, _ = jax.lax.fori_loop(0, _STEPS, halve, (0.0 * ones, ones))
  share = jnp.where(far(ones) <= radius, ones, low)
  return policy(share), share


def match(
  log_policy: types.Array,
  feature: types.Array,
  target: types.Scalar,
  *,
  limit: float = 50.0,
) -> tuple[types.Array, types.Array]:
  """Returns the closest policy whose mean feature is `target`, and lambda.

  pi proportional to policy * exp(lambda z), lambda by Newton; closest in
  KL(pi | policy). The two-sided form of `minimal_correction`, with the
  target where that has pi_0's own mean.

  Args:
    log_policy: a person's `[..., Y]`.
    feature: z `[..., Y]`.
    target: wanted E[z], `[...]` or scalar.
    limit: of |lambda| in units of the feature's range, beside the range of the
      log-policy; a target outside of what the answers allow ends there, so
      that the mean stays apart from it.

  Returns:
    Log-probabilities `[..., Y]` and lambda `[...]`; lambda is 0 where the
    feature does not vary.

  Examples:
    >>> stance = jnp.array([1.0, 0.0, -1.0])  # of three answers
    >>> policy = jnp.log(jnp.array([0.7, 0.2, 0.1]))
    >>> matched, _ = match(policy, stance, target=0.0)
    >>> round(abs(float(jnp.sum(jnp.exp(matched) * stance))), 3)
    0.0
  """
  log_policy, feature = jnp.broadcast_arrays(log_policy, feature)
  span = feature.max(-1) - feature.min(-1)
  varies = span > 0
  # A confident policy needs as much more as it is confident.
  far = limit + log_policy.max(-1) - log_policy.min(-1)
  most = jnp.where(varies, far / jnp.where(varies, span, 1.0), 0.0)

  def policy(strength):
    return jax.nn.log_softmax(log_policy + strength[..., None] * feature, -1)

  width = jnp.where(varies, span, 1.0)
  share = (feature - feature.min(-1, keepdims=True)) / width[..., None]
  wanted = jnp.clip((target - feature.min(-1)) / width, _EDGE, 1.0 - _EDGE)
  wanted = jnp.log(wanted) - jnp.log1p(-wanted)

  def step(_, carry):
    # Newton's step on the log-odds of the mean within its range, which are
    # linear in the strength if the feature is binary; halving if it strays.
    low, high, strength, before = carry
    pi = jnp.exp(policy(strength))
    # Both parts are summed: the small one would be lost in a difference.
    above, below = jnp.sum(pi * share, -1), jnp.sum(pi * (1.0 - share), -1)
    square = jnp.sum(pi * (share - above[..., None]) ** 2, -1)
    odds = jnp.log(jnp.maximum(above, 1e-30) / jnp.maximum(below, 1e-30))
    under = odds < wanted
    low = jnp.where(under, strength, low)
    high = jnp.where(under, high, strength)
    slope = width * square / jnp.maximum(above * below, 1e-30)
    new = strength + (wanted - odds) / jnp.maximum(slope, 1e-12)
    error = jnp.abs(wanted - odds)
    # Newton can go to and fro between two points.
    slow = (error > 0.5 * before) & (error > _SMALL)
    good = (new >= low) & (new <= high) & ~slow
    return low, high, jnp.where(good, new, 0.5 * (low + high)), error

  # One answer that stands out must not narrow the search among the others.
  wide = _STANDS_OUT * most
  start = (-wide, wide, jnp.zeros_like(most), jnp.full_like(most, jnp.inf))
  _, _, strength, _ = jax.lax.fori_loop(0, _NEWTON, step, start)
  strength = jnp.where(target >= feature.max(-1), most, strength)
  strength = jnp.where(target <= feature.min(-1), -most, strength)
  return policy(strength), strength


def at_least(
  log_policy: types.Array, feature: types.Array, floor: types.Scalar
) -> tuple[types.Array, types.Array]:
  """Returns the closest policy whose mean feature is at least `floor`.

  The one-sided form of `match`: nothing changes where the floor is kept.

  Args:
    log_policy: `[..., Y]`.
    feature: `[..., Y]`.
    floor: wanted least E[feature], `[...]` or scalar.

  Returns:
    Log-probabilities `[..., Y]`, and `[...]` True where no answer reaches the
    floor: there the policy is as near to it as `match` goes.
  """
  mean = jnp.sum(jnp.exp(log_policy) * feature, -1)
  raised, _ = match(log_policy, feature, floor)
  kept = mean >= floor
  return (
    jnp.where(kept[..., None], log_policy, raised),
    feature.max(-1) < floor,
  )


def residual(
  log_policy: types.Array, reward: types.Array, feature: types.Array
) -> types.Array:
  """Returns rewards less what a line through the feature says of them.

      r - b (z - E_0[z]),  b = Cov_0(r, z) / Var_0(z)

  so that r and z are uncorrelated under pi_0. By `gain`'s first order a small
  tilt then leaves E[z] where it was; a large one need not. Unchanged where the
  feature does not vary.

  Args:
    log_policy: pi_0 `[..., Y]`.
    reward: r `[..., Y]`.
    feature: z `[..., Y]`.
  """
  base = jnp.exp(log_policy)
  centred = feature - jnp.sum(base * feature, -1, keepdims=True)
  variance = jnp.sum(base * centred**2, -1, keepdims=True)
  slope = jnp.sum(base * centred * reward, -1, keepdims=True)
  # Rounding of a large constant is no variation.
  size = jnp.abs(feature).max(-1, keepdims=True)
  varies = variance > (1e-5 * size) ** 2
  slope = jnp.where(varies, slope / jnp.where(varies, variance, 1.0), 0.0)
  return reward - slope * centred


@precision.highest
def project(
  vector: types.Array, direction: types.Array, onto: types.Scalar = 0.0
) -> types.Array:
  """Returns vectors whose part along a direction is that of `onto`.

      v - d (d . (v - onto)) / |d|^2

  Args:
    vector: `[..., J]`.
    direction: d `[J]`; zero leaves everything as it is.
    onto: `[J]` or 0: where the part along d goes.
  """
  square = jnp.maximum(jnp.sum(direction**2), 1e-30)
  part = jnp.tensordot(jnp.asarray(vector - onto), direction, 1)
  return jnp.asarray(vector - part[..., None] * direction / square)


def bridging(reward: types.Array, temperature: types.Scalar) -> types.Array:
  """Returns what every group can live with: a soft minimum over groups.

      -temperature log mean_g exp(-r_g / temperature)

  between the mean (a high temperature) and the minimum.

  Args:
    reward: r `[G, ...]` of each group.
    temperature: above 0, in units of the reward.
  """
  groups = jnp.log(reward.shape[0])
  raised = jax.nn.logsumexp(-reward / temperature, 0) - groups
  return -jnp.asarray(temperature) * raised


def lower_bound(
  score: types.Array, covariance: types.Array, caution: types.Scalar
) -> types.Array:
  """Returns scores `[..., K]`, less `caution` standard deviations.

  Only differences among the K candidates matter, so the deviation is that of
  a candidate's score less their mean score.

  Args:
    score: `[..., K]`.
    covariance: `[..., K, K]`.
    caution: standard deviations.
  """
  row = covariance.mean(-1)
  variance = jnp.diagonal(covariance, axis1=-2, axis2=-1)
  variance = variance - 2.0 * row + row.mean(-1, keepdims=True)
  return score - caution * jnp.sqrt(jnp.maximum(variance, 0.0))


@precision.highest
def information(
  vector: types.Array, scalar: types.Array, weight: types.Array
) -> types.Array:
  """Returns the mutual information of Gaussians, nats.

      -log(1 - R^2) / 2

  with R the multiple correlation of the scalar with the vector; a small ridge
  keeps it finite. Both have mean zero, as differences of exchangeable texts
  do.

  Args:
    vector: `[N, J]`.
    scalar: `[N]`.
    weight: `[N]` 0 for rows that do not count.
  """
  total = jnp.maximum(weight.sum(), 1.0)
  # Coordinates of one size: the ridge must not hide a small one.
  square = weight @ vector**2 / total
  vector = vector / jnp.sqrt(jnp.where(square > 0, square, 1.0))
  second = (vector.T * weight) @ vector / total
  cross = (vector.T * weight) @ scalar / total
  J = second.shape[0]
  factor = jnp.linalg.cholesky(second + 1e-4 * jnp.eye(J))
  explained = jax.scipy.linalg.solve_triangular(factor, cross, lower=True)
  variance = jnp.maximum(jnp.sum(weight * scalar**2) / total, 1e-12)
  share = jnp.sum(explained**2) / variance
  return -0.5 * jnp.log1p(-jnp.minimum(share, 1.0 - 1e-6))


def reliability(
  between: types.Scalar, within: types.Scalar, answers: types.Scalar
) -> types.Array:
  """Returns tau^2 / (tau^2 + sigma^2 / n), how much of a person to believe.

  Args:
    between: tau^2, variance of the truth over people.
    within: sigma^2, variance of one answer's estimate.
    answers: n; 0 gives 0.
  """
  answers = jnp.asarray(answers)
  total = answers * jnp.asarray(between)
  return jnp.where(answers > 0, total / (total + within), 0.0)


def shrink(
  coefficients: types.Array, population: types.Array, share: types.Scalar
) -> types.Array:
  """Returns population + share (coefficients - population), `[..., J]`."""
  return population + share * (coefficients - population)
