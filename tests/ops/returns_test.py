import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import returns


def test_rewards_of_choices_by_hand():
  margin = jnp.array([2.0, -1.0, 0.0, 3.0])
  label = jnp.array([1.0, 1.0, 0.0, 0.25])
  log = np.log(1 / (1 + np.exp(-np.array([2.0, -1.0, 0.0, 3.0, -3.0]))))
  expected = [log[0], log[1], log[2], 0.25 * log[3] + 0.75 * log[4]]
  np.testing.assert_allclose(
    returns.choice_reward(margin, label), expected, rtol=1e-5
  )
  found = returns.choice_reward(margin, label, kind='right')
  np.testing.assert_allclose(found, [1.0, 0.0, 0.5, 0.25])
  with pytest.raises(ValueError, match="'wrong': one of"):
    returns.choice_reward(margin, label, kind='wrong')


def test_rewards_of_tokens_by_hand():
  mask = jnp.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
  gap = jnp.array([[0.5, -1.0, 2.0], [4.0, np.nan, 1.0], [1.0, 1.0, 1.0]])
  found = returns.token_rewards(
    jnp.array([20.0, -3.0, 5.0]), gap, mask, kl_weight=0.1, limit=10.0
  )
  expected = [[-0.05, 0.1, 9.8], [-3.4, 0, 0], [0, 0, 0]]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_advantages_are_sums_of_errors():
  rng = np.random.default_rng(0)
  reward, value = rng.normal(size=(2, 3, 5))
  length = np.array([5, 3, 1])
  mask = np.arange(5) < length[:, None]
  discount, decay = 0.9, 0.8
  expected = np.zeros((3, 5))
  for b, n in enumerate(length):
    ahead = np.append(value[b, 1:n], 0.0)
    error = reward[b, :n] + discount * ahead - value[b, :n]
    for t in range(n):
      power = (discount * decay) ** np.arange(n - t)
      expected[b, t] = (power * error[t:]).sum()
  arrays = [jnp.asarray(np.where(mask, x, np.nan)) for x in (reward, value)]
  run = jax.jit(returns.generalized_advantages)
  found, target = run(
    *arrays, jnp.asarray(mask), discount=discount, decay=decay
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(target, expected + mask * value, atol=1e-5)
  # With lambda 1 and no discount they are what is still earned, less V.
  found, target = run(*arrays, jnp.asarray(mask), discount=1.0, decay=1.0)
  earned = np.cumsum(np.where(mask, reward, 0.0)[:, ::-1], 1)[:, ::-1]
  np.testing.assert_allclose(target, mask * earned, atol=1e-5)


def test_a_critic_that_moved_far_is_not_rewarded_for_it():
  value = jnp.array([1.0, 0.1, -1.0])
  old = jnp.zeros(3)
  loss, slope = (
    returns.value_loss(value, old, jnp.ones(3), clip=0.2),
    jax.grad(lambda v: returns.value_loss(v, old, jnp.ones(3), clip=0.2).sum())(
      value
    ),
  )
  # Right, but 1 away: as from 0.2. Within the clip: as it is. Wrong: as it is.
  np.testing.assert_allclose(loss, [0.32, 0.405, 2.0], rtol=1e-5)
  np.testing.assert_allclose(slope, [0.0, -0.9, -2.0], rtol=1e-5)
