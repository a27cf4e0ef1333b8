"""Returns of texts with a critic: rewards of tokens, advantages, its loss.

Tokens are `[..., T]`, in order; masked ones are none of the text, and may lie
behind it alone.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops.heads import choices

CHOICE_REWARDS = ('log', 'right')


def choice_reward(
  margin: types.Array, label: types.Array, *, kind: str = 'log'
) -> types.Array:
  """Returns what a reward model earns by a choice that was made, `[...]`.

      log     y log sigma(d) + (1 - y) log sigma(-d), at most 0
      right   y where d > 0, 1 - y where d < 0, and 1/2 where d = 0

  Args:
    margin: `[...]` d, score of the first answer minus the second.
    label: `[...]` y, the probability that the first is preferred.
    kind: one of `CHOICE_REWARDS`.

  Raises:
    ValueError: unknown kind.

  References:
    log: Nam et al. 2025 (PLUS), arXiv:2507.13579.

  Notes:
    With `log` an overconfident model is best served by saying nothing; with
    `right` how sure it is does not matter.
  """
  chex.assert_equal_shape([margin, label])
  if kind == 'log':
    return -choices.bradley_terry(margin, label)
  if kind == 'right':
    sign = jnp.sign(margin)
    return 0.5 * (1.0 + sign * (2.0 * label - 1.0))
  raise ValueError(f'reward {kind!r}: one of {CHOICE_REWARDS}')


def token_rewards(
  reward: types.Array,
  gap: types.Array,
  mask: types.Array,
  *,
  kl_weight: float = 0.0,
  limit: float | None = None,
) -> types.Array:
  """Returns rewards of tokens `[..., T]`: a text's at its last, less KL's.

      r_t = -kl_weight (log pi - log pi_ref)(t) + [t is the last] reward

  Args:
    reward: `[...]` of the whole text.
    gap: `[..., T]` log pi - log pi_ref of every token, the estimate k1.
    mask: `[..., T]` 1 for a token of the text.
    kl_weight: beta.
    limit: the text's reward is clipped to +- this; not if None.

  References:
    Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155.
  """
  chex.assert_equal_shape([gap, mask])
  chex.assert_shape(reward, mask.shape[:-1])
  real = mask > 0
  if limit is not None:
    reward = jnp.clip(reward, -limit, limit)
  after = jnp.cumsum(real[..., ::-1], -1)[..., ::-1]
  last = real & (after == 1)
  token = jnp.where(real, -kl_weight * gap, 0.0)
  return token + jnp.where(last, reward[..., None], 0.0)


def generalized_advantages(
  reward: types.Array,
  value: types.Array,
  mask: types.Array,
  *,
  discount: float = 1.0,
  decay: float = 0.95,
) -> tuple[types.Array, types.Array]:
  """Returns GAE's advantages and the critic's targets, both `[..., T]`.

      A_t = delta_t + discount decay A_{t + 1}
      delta_t = r_t + discount V_{t + 1} - V_t,    target_t = A_t + V_t

  with A and V zero behind the last token. Masked tokens have zeros.

  Args:
    reward: `[..., T]` of tokens.
    value: `[..., T]` V, what the critic expected before each token.
    mask: `[..., T]` 1 for a token of the text.
    discount: gamma.
    decay: lambda; 1 is the return less V, 0 the error of one step.

  References:
    Schulman et al. 2016 (GAE), arXiv:1506.02438.
  """
  chex.assert_equal_shape([reward, value, mask])
  real = mask > 0
  reward, value = (jnp.where(real, leaf, 0.0) for leaf in (reward, value))

  def step(after, now):
    advantage, later = after
    r, v, there = now
    found = r + discount * (later + decay * advantage) - v
    found = jnp.where(there, found, 0.0)
    return (found, jnp.where(there, v, 0.0)), found

  zeros = jnp.zeros(reward.shape[:-1], reward.dtype)
  tokens = tuple(jnp.moveaxis(leaf, -1, 0) for leaf in (reward, value, real))
  _, found = jax.lax.scan(step, (zeros, zeros), tokens, reverse=True)
  advantage = jnp.moveaxis(found, 0, -1)
  return advantage, advantage + value


def value_loss(
  value: types.Array,
  old_value: types.Array,
  target: types.Array,
  *,
  clip: float = 0.2,
) -> types.Array:
  """Returns the critic's loss `[...]`, the worse of two.

      max((V - target)^2, (clip(V, V_old +- clip) - target)^2) / 2

  Args:
    value: `[...]` V.
    old_value: `[...]` when the text was written.
    target: `[...]`.
    clip: how far V may move for its own good.

  References:
    Schulman et al. 2017 (PPO), arXiv:1707.06347; clipped as in its code.
  """
  chex.assert_equal_shape([value, old_value, target])
  near = jnp.clip(value, old_value - clip, old_value + clip)
  worse = jnp.maximum((value - target) ** 2, (near - target) ** 2)
  return 0.5 * worse
