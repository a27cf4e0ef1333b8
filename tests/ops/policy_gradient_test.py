import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import policy_gradient


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_leave_one_out_is_less_the_mean_of_the_others(rng):
  reward = rng.normal(size=(3, 5))
  expected = np.zeros_like(reward)
  for b in range(3):
    for i in range(5):
      expected[b, i] = reward[b, i] - np.delete(reward[b], i).mean()
  found = policy_gradient.leave_one_out(jnp.asarray(reward))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found.sum(1), 0.0, atol=1e-5)


def test_group_normalized_is_in_standard_deviations(rng):
  reward = rng.normal(3.0, 5.0, size=(3, 5))
  expected = np.stack(
    [(r - r.mean()) / (np.std(r, ddof=1) + 0.1) for r in reward]
  )
  found = policy_gradient.group_normalized(jnp.asarray(reward), 0.1)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
  'advantage',
  [policy_gradient.leave_one_out, policy_gradient.group_normalized],
)
def test_equal_rewards_teach_nothing_and_one_sample_is_refused(advantage):
  np.testing.assert_array_equal(advantage(jnp.full((2, 4), 0.5)), 0.0)
  with pytest.raises(ValueError, match='give at least 2'):
    advantage(jnp.ones((2, 1)))
  with pytest.raises(AssertionError):
    advantage(jnp.ones(4))


def test_surrogate_by_hand(rng):
  shape = (2, 3, 4)
  logprob, old = rng.normal(-1, 0.4, size=(2, *shape))
  advantage = rng.normal(size=(2, 3, 1))
  mask = (rng.random(shape) < 0.7).astype(float)
  ratio = np.exp(logprob - old)
  expected = np.where(
    advantage > 0,
    np.minimum(ratio, 1.3) * advantage,
    np.maximum(ratio, 0.9) * advantage,
  )
  found = policy_gradient.surrogate(
    jnp.asarray(logprob), jnp.asarray(old), jnp.asarray(advantage),
    jnp.asarray(mask), clip_low=0.1, clip_high=0.3,
  )  # fmt: skip
  np.testing.assert_allclose(found, expected * mask, rtol=1e-5, atol=1e-6)


def test_surrogate_of_the_writer_has_the_policy_gradient(rng):
  logprob = jnp.asarray(rng.normal(-1, 0.4, size=(2, 4)))
  advantage = jnp.asarray(rng.normal(size=(2, 4)))

  def total(moved):
    return policy_gradient.surrogate(
      moved, logprob, advantage, jnp.ones((2, 4)), clip_low=0.2, clip_high=0.2
    ).sum()

  np.testing.assert_allclose(jax.grad(total)(logprob), advantage, rtol=1e-5)


def test_padding_has_no_gradient_whatever_it_holds():
  logprob = jnp.array([-1.0, 500.0, jnp.inf])
  old = jnp.array([-1.0, 0.0, -jnp.inf])
  mask = jnp.array([1.0, 0.0, 0.0])

  def total(moved):
    return policy_gradient.surrogate(
      moved, old, jnp.array([2.0]), mask, clip_low=0.2, clip_high=0.2
    ).sum()

  assert float(total(logprob)) == 2.0
  np.testing.assert_array_equal(jax.grad(total)(logprob), [2.0, 0.0, 0.0])


def test_kl_estimate_is_never_negative_and_right_on_average(rng):
  p, q = (jnp.asarray(rng.dirichlet(np.ones(6))) for _ in range(2))
  found = policy_gradient.kl_estimate(jnp.log(p), jnp.log(q))
  np.testing.assert_allclose(found, q / p - 1 - np.log(q / p), rtol=1e-4)
  np.testing.assert_allclose(
    jnp.sum(p * found), np.sum(p * np.log(p / q)), rtol=1e-4
  )
  near = jnp.asarray(rng.normal(-1, 1, size=10_000), jnp.float32)
  shift = jnp.asarray(10.0 ** rng.uniform(-9, 0, 10_000), jnp.float32)
  for other in (near, near + shift, near - shift):
    assert float(policy_gradient.kl_estimate(near, other).min()) >= 0
