"""Exponential tilts of a policy, and what holds them back.

A policy over Y answers is `[..., Y]` log-probabilities; the last axis is the
answers, everything else is a batch of people and prompts. A person's policy is
pi proportional to pi_0 exp(beta r); see `decoding.tilted`.
"""

import jax
import jax.numpy as jnp

from prm_jax import types

_STEPS = 60  # of a bisection; float32 is exhausted before


def gain(
  log_policy: types.Array,
  reward: types.Array,
  feature: types.Array,
  beta: types.ArrayLike,
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
  beta: types.ArrayLike,
) -> types.Array:
  """Returns lambda* `[...]`, the least penalty that adds no agreement.

  The policy tilted by r - lambda* A is the closest to the one tilted by r
  among those that agree no more often than pi_0:

      lambda* = max(0, log(m_1 / m_0) / beta),  m_a = E_0[exp(beta r) | A = a]

  Zero where pi_0 always or never agrees, for then no tilt changes that.

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
  return jnp.where(both, jnp.maximum(ratio / beta, 0.0), 0.0)


def trust_region(
  log_policy: types.Array,
  reward: types.Array,
  log_population: types.Array,
  beta: types.ArrayLike,
  radius: types.ArrayLike,
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
  target: types.ArrayLike,
  *,
  limit: float = 50.0,
) -> tuple[types.Array, types.Array]:
  """Returns the closest policy whose mean feature is `target`, and lambda.

  pi proportional to policy * exp(lambda z), lambda by bisection; closest in
  KL(pi | policy). The two-sided form of `minimal_correction`, with the
  target where that has pi_0's own mean.

  Args:
    log_policy: a person's `[..., Y]`.
    feature: z `[..., Y]`.
    target: wanted E[z], `[...]` or scalar.
    limit: of |lambda| in units of the feature's range; a target outside of
      what the answers allow ends there, so that the mean stays apart from it.

  Returns:
    Log-probabilities `[..., Y]` and lambda `[...]`; lambda is 0 where the
    feature does not vary.
  """
  span = feature.max(-1) - feature.min(-1)
  varies = span > 0
  most = jnp.where(varies, limit / jnp.where(varies, span, 1.0), 0.0)

  def policy(strength):
    return jax.nn.log_softmax(log_policy + strength[..., None] * feature, -1)

  def halve(_, ends):
    low, high = ends
    middle = 0.5 * (low + high)
    mean = jnp.sum(jnp.exp(policy(middle)) * feature, -1)
    under = mean < target
    return jnp.where(under, middle, low), jnp.where(under, high, middle)

  low, high = jax.lax.fori_loop(0, _STEPS, halve, (-most, most))
  strength = 0.5 * (low + high)
  return policy(strength), strength


def reliability(
  between: types.ArrayLike, within: types.ArrayLike, answers: types.ArrayLike
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
  coefficients: types.Array, population: types.Array, share: types.ArrayLike
) -> types.Array:
  """Returns population + share (coefficients - population), `[..., J]`."""
  return population + share * (coefficients - population)
