"""Policy gradients: advantages, surrogates, their sums, estimates of KL.

Texts of one prompt are a group of n samples, `[B, n]`; tokens are `[..., T]`.
A method is a composition: an advantage (a group's, or a token's from
`ops.distillation`), a surrogate of some kind, and a sum over tokens.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision

SURROGATES = (
  'clipped',
  'dual',
  'plain',
  'shaped',
  'shaped_clipped',
  'probability',
  'log',
)
RATIOS = ('clipped', 'dual', 'plain')  # to the policy that wrote the text
SUMS = ('sum', 'text_mean', 'token_mean', 'constant')
KL_ESTIMATES = ('k1', 'k2', 'k3')
_LOG_RATIO = 20.0  # beyond which a ratio is a fault, and has no gradient
_NEVER = -1e4  # nats; the log-probability of a token that cannot be drawn

# ----------------------------------------------------------------- advantages


def centred(reward: types.Array) -> types.Array:
  """Returns Dr.GRPO's advantages `[B, n]`: less the group's mean.

  Groups of equal rewards get exactly zero, whatever their size.

  Args:
    reward: `[B, n]` of n samples of each prompt; NaN where there is none, as
      when a verifier failed: it gets zero and counts in no mean.

  Raises:
    ValueError: n is below 2.

  References:
    Liu et al. 2025 (Dr.GRPO), arXiv:2503.20783.
  """
  _samples(reward)
  return _centred(reward, ~jnp.isnan(reward))[0]


def leave_one_out(reward: types.Array) -> types.Array:
  """Returns RLOO's advantages `[B, n]`: less the mean of the other samples.

      A_i = r_i - 1 / (n - 1) sum_{j != i} r_j

  The baseline does not depend on the sample, so the gradient is unbiased.

  Args:
    reward: `[B, n]`; NaN where there is none, see `centred`.

  Raises:
    ValueError: n is below 2.

  References:
    Kool et al. 2019; Ahmadian et al. 2024 (RLOO), arXiv:2402.14740.
  """
  _samples(reward)
  apart, count = _centred(reward, ~jnp.isnan(reward))
  return apart * (count / jnp.maximum(count - 1, 1))


def group_normalized(
  reward: types.Array, eps: float | types.Array = 1e-4
) -> types.Array:
  """Returns GRPO's advantages `[B, n]`: centred, in standard deviations.

      A_i = (r_i - mean r) / (std r + eps)

  Args:
    reward: `[B, n]`; NaN where there is none, see `centred`.
    eps: added to the standard deviation; groups of equal rewards get zero.

  Raises:
    ValueError: n is below 2.

  References:
    Shao et al. 2024 (GRPO), arXiv:2402.03300.

  Notes:
    The paper does not say which standard deviation; released trainers take
    the sample's, with n - 1, and so does this.
  """
  _samples(reward)
  apart, count = _centred(reward, ~jnp.isnan(reward))
  variance = jnp.sum(apart**2, -1, keepdims=True) / jnp.maximum(count - 1, 1)
  # Where all are equal the root would have no gradient.
  spread = jnp.where(variance > 0, variance, 1.0) ** 0.5
  return apart / (jnp.where(variance > 0, spread, 0.0) + eps)


@precision.highest
def rewards_normalized(
  rewards: types.Array,
  weights: types.ArrayLike,
  eps: float | types.Array = 1e-4,
) -> types.Array:
  """Returns GDPO's advantages `[B, n]`: each reward normalised, then summed.

  A reward of small spread counts as much as one of large spread, which a sum
  that is normalised afterwards would drown.

  Args:
    rewards: `[B, n, R]` of R rewards.
    weights: `[R]`.
    eps: see `group_normalized`.

  References:
    Liu et al. 2026 (GDPO), arXiv:2601.05242.
  """
  chex.assert_rank(rewards, 3)
  each = jax.vmap(lambda r: group_normalized(r, eps), in_axes=-1, out_axes=-1)
  return each(rewards) @ jnp.asarray(weights)


def first_turn(second: types.Array, first: types.Array) -> types.Array:
  """Returns advantages `[B, m]` of second turns over the first turns' mean.

  A baseline of second turns would leave nothing to learn once a critique
  makes all of them right; this one asks how much better than unaided.

  Args:
    second: `[B, m]` rewards of answers written with a critique; NaN where
      there is none, which gets zero.
    first: `[B, n]` rewards of answers written without; NaN where there is
      none, which counts in no mean.

  References:
    Chen et al. 2026 (RLTF-SD), arXiv:2602.02482.
  """
  chex.assert_rank([second, first], 2)
  there = ~jnp.isnan(first)
  known = jnp.where(there, first, 0.0)
  count = jnp.maximum(there.sum(-1, keepdims=True), 1)
  apart = second - known.sum(-1, keepdims=True) / count
  return jnp.where(jnp.isnan(second), 0.0, apart)


def joint(reward: types.Array, there: types.Array | None = None) -> types.Array:
  """Returns Critique-GRPO's advantages `[B, n + k]`: less the joint mean.

  Args:
    reward: `[B, n + k]` of initial texts and refinements.
    there: `[B, n + k]` 1 for a text, 0 for padding, which gets 0 and counts
      in no mean; all are there, if None.

  References:
    Zhang et al. 2025 (Critique-GRPO), arXiv:2506.03106.
  """
  chex.assert_rank(reward, 2)
  if there is None:
    return centred(reward)
  chex.assert_equal_shape([reward, there])
  return _centred(reward, there > 0)[0]


def _centred(reward, there):
  """Returns rewards less the mean of those there, else 0, and their number."""
  count = there.sum(-1, keepdims=True)
  # From the smallest: equal rewards are 0 before their mean is taken.
  least = jnp.min(jnp.where(there, reward, jnp.inf), -1, keepdims=True)
  known = jnp.where(there, reward - least, 0.0)
  mean = known.sum(-1, keepdims=True) / jnp.maximum(count, 1)
  return jnp.where(there, known - mean, 0.0), count


# ----------------------------------------------------------------- surrogates


def surrogate(
  logprob: types.Array,
  old_logprob: types.Array,
  advantage: types.Array,
  mask: types.Array,
  *,
  kind: str = 'clipped',
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual: float = 3.0,
  gamma: float = 0.1,
) -> types.Array:
  """Returns the objective of every token, `[..., T]`, to be maximised.

  With rho = pi / pi_old and s = pi / (pi + gamma):

      clipped         min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A)
      dual            the same, and at least dual A where A < 0
      plain           rho A
      shaped          s A; its gradient is gamma s^2 / pi A d log pi
      shaped_clipped  min(s A, clip(s, 1 - clip_low, 1 + clip_high) A)
      probability     pi A, the shaped kind's limit for large gamma, times it
      log             A log pi

  Args:
    logprob: `[..., T]` of the tokens under the policy that is trained.
    old_logprob: `[..., T]` under the policy that wrote them; the shaped kinds,
      `probability` and `log` do not read it.
    advantage: `[..., T]`, or `[..., 1]` where it is one of the whole text.
    mask: `[..., T]` 1 for a token of the answer, 0 for others, whose
      objective and gradient are 0 whatever they hold.
    kind: one of `SURROGATES`.
    clip_low: how far the ratio may fall, in (0, 1].
    clip_high: how far it may rise.
    dual: limit on the ratio where the advantage is negative, above 1.
    gamma: of the shaped ratio, in (0, 1).

  Raises:
    ValueError: unknown kind.

  References:
    Schulman et al. 2017 (PPO), arXiv:1707.06347; two limits: Yu et al. 2025
    (DAPO), arXiv:2503.14476; dual: Ye et al. 2020, arXiv:1912.09729; shaped:
    Yan et al. 2025 (LUFFY), arXiv:2504.14945, and Zhang et al. 2025
    (Critique-GRPO), arXiv:2506.03106.

  Notes:
    Critique-GRPO's equation clips the shaped ratio, its code does not. A
    shaped ratio is below 1 - clip_low for all but likely tokens, so that the
    clipped form teaches nothing from wrong refinements.
  """
  if kind not in SURROGATES:
    raise ValueError(f'surrogate {kind!r}: one of {SURROGATES}')
  chex.assert_equal_shape([logprob, old_logprob, mask])
  chex.assert_is_broadcastable(advantage.shape, logprob.shape)
  real = mask > 0
  # Masked before the exponential: 0 times infinity would be NaN.
  advantage = jnp.where(real, advantage, 0.0)
  logprob = jnp.where(real, logprob, 0.0)
  if kind == 'log':
    return advantage * logprob
  if kind == 'probability':
    return advantage * jnp.exp(logprob)
  if kind in ('shaped', 'shaped_clipped'):
    # pi / (pi + gamma), which does not overflow.
    ratio = jax.nn.sigmoid(logprob - jnp.log(gamma))
  else:
    gap = logprob - jnp.where(real, old_logprob, 0.0)
    ratio = jnp.exp(jnp.clip(gap, -_LOG_RATIO, _LOG_RATIO))
  if kind in ('plain', 'shaped'):
    return ratio * advantage
  clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  found = jnp.minimum(ratio * advantage, clipped * advantage)
  if kind == 'dual':
    floor = jnp.maximum(found, dual * advantage)
    return jnp.where(advantage < 0, floor, found)
  return found


def summed(
  objective: types.Array,
  mask: types.Array,
  *,
  by: str = 'sum',
  length: float | None = None,
) -> tuple[types.Array, types.Array]:
  """Returns each text's total and count `[...]`; sum / sum is to be maximised.

      sum         sum over the text's tokens, 1
      text_mean   their mean, 1: GRPO's 1 / |o|
      token_mean  sum over tokens, tokens: DAPO's mean over all tokens
      constant    sum / length, 1: Dr.GRPO's

  Totals and counts are summed over whatever texts there are, on any number of
  devices and batches, before the one is divided by the other.

  Args:
    objective: `[..., T]` of every token, 0 where masked.
    mask: `[..., T]`.
    by: one of `SUMS`.
    length: of `constant`, tokens.

  Raises:
    ValueError: unknown sum, or `constant` without a length.
  """
  chex.assert_equal_shape([objective, mask])
  total, count = objective.sum(-1), mask.sum(-1)
  one = jnp.ones_like(total)
  if by == 'sum':
    return total, one
  if by == 'text_mean':
    return total / jnp.maximum(count, 1), one
  if by == 'token_mean':
    return total, count
  if by == 'constant':
    if length is None:
      raise ValueError('a constant sum divides by `length` tokens: give it')
    return total / length, one
  raise ValueError(f'sum {by!r}: one of {SUMS}')


# ----------------------------------------------------------- KL and entropy


def kl_estimate(
  logprob: types.Array, reference_logprob: types.Array, kind: str = 'k3'
) -> types.Array:
  """Returns an estimate of KL(pi | pi_ref) from samples of pi, `[..., T]`.

  With d = log pi_ref - log pi, of a token that pi drew:

  | kind | | as a value | its gradient, as a loss |
  |---|---|---|---|
  | k1 | -d | unbiased | zero on average: put it into the reward |
  | k2 | d^2 / 2 | biased, small variance | that of KL(pi, pi_ref) |
  | k3 | exp(d) - 1 - d | unbiased, >= 0 | that of KL(pi_ref, pi) |

  Args:
    logprob: `[..., T]` of sampled tokens under pi; -inf, which no sampler
      draws, is read as -10,000 nats, here and in the next.
    reference_logprob: `[..., T]` under pi_ref.
    kind: one of `KL_ESTIMATES`.

  Raises:
    ValueError: unknown kind.

  References:
    Schulman 2020, Approximating KL divergence.
  """
  chex.assert_equal_shape([logprob, reference_logprob])
  d = jnp.maximum(reference_logprob, _NEVER) - jnp.maximum(logprob, _NEVER)
  if kind == 'k1':
    return -d
  if kind == 'k2':
    return d**2 / 2
  if kind == 'k3':
    # As a ratio, it is a fault beyond; and never negative, but by rounding.
    d = jnp.minimum(d, _LOG_RATIO)
    return jnp.maximum(jnp.expm1(d) - d, 0.0)
  raise ValueError(f'estimate {kind!r}: one of {KL_ESTIMATES}')


def entropy(logits: types.Array) -> types.Array:
  """Returns the entropy `[...]` of the next token, nats.

  Args:
    logits: `[..., V]`; -inf for tokens that cannot be drawn.
  """
  # Before the softmax: where a logit is infinite its gradient would be NaN.
  drawn = logits > -jnp.inf
  logprob = jax.nn.log_softmax(jnp.where(drawn, logits, _NEVER), -1)
  term = jnp.where(drawn, jnp.exp(logprob) * logprob, 0.0)
  return -term.sum(-1)


def _samples(reward):
  """Returns n, which has to leave something to compare with."""
  chex.assert_rank(reward, 2)
  n = reward.shape[1]
  if n < 2:
    raise ValueError(
      f'{n} sample a prompt: an advantage compares samples, give at least 2'
    )
  return n
