"""Policy gradients: advantages, a clipped surrogate, an estimate of KL.

Texts of one prompt are a group of n samples, `[B, n]`.
"""

import chex
import jax.numpy as jnp

from prm_jax import types


def leave_one_out(reward: types.Array) -> types.Array:
  """Returns RLOO's advantages `[B, n]`: less the mean of the other samples.

      A_i = r_i - 1 / (n - 1) sum_{j != i} r_j

  The baseline does not depend on the sample, so the gradient is unbiased.

  Args:
    reward: `[B, n]` of n samples of each prompt.

  Raises:
    ValueError: n is below 2.

  References:
    Kool et al. 2019; Ahmadian et al. 2024 (RLOO), arXiv:2402.14740.
  """
  n = _samples(reward)
  return (reward - reward.mean(-1, keepdims=True)) * (n / (n - 1))


def group_normalized(
  reward: types.Array, eps: float | types.Array = 1e-4
) -> types.Array:
  """Returns GRPO's advantages `[B, n]`: centred, in standard deviations.

      A_i = (r_i - mean r) / (std r + eps)

  Args:
    reward: `[B, n]` of n samples of each prompt.
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
  centred = reward - reward.mean(-1, keepdims=True)
  return centred / (reward.std(-1, ddof=1, keepdims=True) + eps)


def surrogate(
  logprob: types.Array,
  old_logprob: types.Array,
  advantage: types.Array,
  mask: types.Array,
  *,
  clip_low: float,
  clip_high: float,
) -> types.Array:
  """Returns PPO's objective of every token, `[..., T]`, to be maximised.

      min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A),  rho = pi / pi_old

  Args:
    logprob: `[..., T]` of the tokens under the policy that is trained.
    old_logprob: `[..., T]` under the policy that wrote them.
    advantage: `[..., T]`, or `[..., 1]` where it is one of the whole text.
    mask: `[..., T]` 1 for a token of the answer, 0 for others, whose
      objective and gradient are 0 whatever they hold.
    clip_low: how far the ratio may fall, in (0, 1]; 0.2 as published.
    clip_high: how far it may rise; 0.2 as published.

  References:
    Schulman et al. 2017 (PPO), arXiv:1707.06347; two limits as in Yu et al.
    2025 (DAPO), arXiv:2503.14476.
  """
  chex.assert_equal_shape([logprob, old_logprob, mask])
  chex.assert_is_broadcastable(advantage.shape, logprob.shape)
  real = mask > 0
  # Masked before the exponential: 0 times infinity would be NaN.
  ratio = jnp.exp(jnp.where(real, logprob - old_logprob, 0.0))
  advantage = jnp.where(real, advantage, 0.0)
  clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  return jnp.minimum(ratio * advantage, clipped * advantage)


def kl_estimate(
  logprob: types.Array, reference_logprob: types.Array
) -> types.Array:
  """Returns Schulman's k3 estimate of KL(pi | pi_ref), `[..., T]`, >= 0.

      k3 = exp(d) - 1 - d,  d = log pi_ref - log pi

  Its mean over samples of pi is the divergence, in nats.

  Args:
    logprob: `[..., T]` of sampled tokens under pi.
    reference_logprob: `[..., T]` under pi_ref.

  References:
    Schulman 2020, Approximating KL divergence.
  """
  chex.assert_equal_shape([logprob, reference_logprob])
  d = reference_logprob - logprob
  # Never negative, but by rounding.
  return jnp.maximum(jnp.expm1(d) - d, 0.0)


def _samples(reward):
  """Returns n, which has to leave something to compare with."""
  chex.assert_rank(reward, 2)
  n = reward.shape[1]
  if n < 2:
    raise ValueError(
      f'{n} sample a prompt: an advantage compares samples, give at least 2'
    )
  return n
