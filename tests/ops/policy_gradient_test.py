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
  [
    policy_gradient.centred,
    policy_gradient.leave_one_out,
    policy_gradient.group_normalized,
  ],
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
    jnp.asarray(logprob),
    jnp.asarray(old),
    jnp.asarray(advantage),
    jnp.asarray(mask),
    clip_low=0.1,
    clip_high=0.3,
  )
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


def test_identities_of_group_advantages(rng):
  reward = jnp.asarray(rng.normal(size=(4, 8)))
  dr, rloo = policy_gradient.centred(reward), policy_gradient.leave_one_out
  np.testing.assert_allclose(rloo(reward), dr * 8 / 7, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(dr.sum(1), 0.0, atol=1e-5)
  moved = 3.0 * reward + 7.0
  np.testing.assert_allclose(
    policy_gradient.group_normalized(moved, 0.0),
    policy_gradient.group_normalized(reward, 0.0),
    rtol=1e-3,
    atol=1e-4,
  )
  np.testing.assert_allclose(
    policy_gradient.centred(reward + 7.0), dr, atol=1e-5
  )


def test_rewards_are_normalised_before_they_are_summed(rng):
  rewards = rng.normal(size=(3, 6, 2)) * [1.0, 100.0]
  expected = sum(
    weight * (r - r.mean(1, keepdims=True)) / r.std(1, ddof=1, keepdims=True)
    for weight, r in zip((0.7, 2.0), np.moveaxis(rewards, 2, 0), strict=True)
  )
  found = policy_gradient.rewards_normalized(
    jnp.asarray(rewards), [0.7, 2.0], 0.0
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_first_turn_baseline_teaches_where_all_second_turns_are_right():
  first, second = jnp.array([[0.0, 0.0, 1.0, 0.0]]), jnp.ones((1, 3))
  np.testing.assert_allclose(
    policy_gradient.first_turn(second, first), [[0.75] * 3]
  )
  np.testing.assert_array_equal(policy_gradient.centred(second), 0.0)


def test_one_right_refinement_of_eight():
  reward = jnp.zeros((1, 8)).at[0, 7].set(1.0)
  found = policy_gradient.joint(reward)
  np.testing.assert_allclose(found, [[-1 / 8] * 7 + [7 / 8]])
  there = jnp.ones((1, 8)).at[0, 3].set(0.0)
  found = policy_gradient.joint(reward.at[0, 3].set(jnp.nan), there)
  expected = np.full(8, -1 / 7)
  expected[[3, 7]] = 0.0, 6 / 7
  np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def objective(kind, **options):
  def of(logprob, old, advantage):
    return policy_gradient.surrogate(
      logprob, old, advantage, jnp.ones_like(logprob), kind=kind, **options
    )

  return of


def test_shaped_ratio_and_its_gradient(rng):
  gamma = 0.1
  pi = jnp.asarray(rng.uniform(1e-4, 1.0, size=16))
  one = jnp.ones(16)
  of = objective('shaped', gamma=gamma)
  # The writer's probabilities are not read.
  np.testing.assert_allclose(
    of(jnp.log(pi), jnp.log(pi) * jnp.nan, one), pi / (pi + gamma), rtol=1e-5
  )
  gradient = jax.grad(lambda x: of(x, one, one).sum())
  np.testing.assert_allclose(
    gradient(jnp.log(pi)), gamma * pi / (pi + gamma) ** 2, rtol=1e-4
  )
  ends = gradient(jnp.log(jnp.full(16, gamma).at[0].set(1.0)))
  np.testing.assert_allclose(ends[1:], 1 / 4, rtol=1e-5)
  np.testing.assert_allclose(ends[0], gamma / (1 + gamma) ** 2, rtol=1e-5)


def test_clipping_a_shaped_ratio_forgets_wrong_refinements():
  logprob, old = jnp.log(jnp.array([0.3, 0.9])), jnp.zeros(2)
  wrong = -jnp.ones(2)

  def gradient(kind):
    of = objective(kind)
    return jax.grad(lambda x: of(x, old, wrong).sum())(logprob)

  # 0.3 / 0.4 < 0.8 is clipped, 0.9 / 1.0 is not.
  np.testing.assert_allclose(
    gradient('shaped_clipped'), [0.0, -0.09], atol=1e-6
  )
  assert (gradient('shaped') < 0).all()
  # A right one is never clipped: the ratio is below 1.
  right = -wrong
  np.testing.assert_array_equal(
    objective('shaped')(logprob, old, right),
    objective('shaped_clipped')(logprob, old, right),
  )


def test_plain_dual_and_log_by_hand():
  logprob, old = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.1, 0.4]))
  advantage = jnp.array([-2.0, 1.0])
  np.testing.assert_allclose(
    objective('plain')(logprob, old, advantage), [-10.0, 1.25], rtol=1e-5
  )
  np.testing.assert_allclose(
    objective('dual', dual=3.0)(logprob, old, advantage), [-6.0, 1.2], rtol=1e-5
  )
  np.testing.assert_allclose(
    objective('log')(logprob, old, advantage), advantage * np.log(0.5)
  )
  np.testing.assert_allclose(
    objective('probability')(logprob, old, advantage), [-1.0, 0.5], rtol=1e-6
  )
  with pytest.raises(ValueError, match='one of'):
    objective('ppo')(logprob, old, advantage)


def test_an_exploding_ratio_has_a_finite_gradient_where_it_is_clipped():
  logprob, old = jnp.array([0.0]), jnp.array([-400.0])
  for kind, advantage in (('clipped', 1.0), ('dual', -1.0), ('shaped', -1.0)):
    of = objective(kind)
    value, gradient = jax.value_and_grad(
      lambda x, of=of, a=advantage: of(x, old, jnp.array([a])).sum()
    )(logprob)
    assert np.isfinite(value), kind
    assert np.isfinite(gradient).all(), kind


def test_sums_over_tokens(rng):
  value, mask = rng.normal(size=(3, 4)), np.ones((3, 4))
  mask[0, 1:], mask[1, 2:] = 0, 0
  value = value * mask
  tokens = np.array([1, 2, 4])

  def found(by, **options):
    total, count = policy_gradient.summed(
      jnp.asarray(value), jnp.asarray(mask), by=by, **options
    )
    return float(total.sum() / count.sum())

  total = value.sum(1)
  np.testing.assert_allclose(found('sum'), total.mean(), rtol=1e-5)
  mean = (total / tokens).mean()
  np.testing.assert_allclose(found('text_mean'), mean, rtol=1e-5)
  np.testing.assert_allclose(found('token_mean'), value.sum() / 7, rtol=1e-5)
  found_ = found('constant', length=4)
  np.testing.assert_allclose(found_, total.mean() / 4, rtol=1e-5)
  with pytest.raises(ValueError, match='give it'):
    found('constant')
  with pytest.raises(ValueError, match='one of'):
    found('mean')


def test_gradients_of_kl_estimates_as_losses(rng):
  """k1's is zero, k2's is the reverse divergence's, k3's the forward's."""
  logits = jnp.asarray(rng.normal(size=5))
  reference = jax.nn.log_softmax(jnp.asarray(rng.normal(size=5)))

  def expected_gradient(kind):
    # Over all tokens, weighed by a frozen policy: samples are no function.
    weight = jax.nn.softmax(logits)

    def loss(logits):
      logprob = jax.nn.log_softmax(logits)
      return jnp.sum(
        weight * policy_gradient.kl_estimate(logprob, reference, kind)
      )

    return jax.grad(loss)(logits)

  def kl(p, q):
    return jnp.sum(jnp.exp(p) * (p - q))

  reverse = jax.grad(lambda x: kl(jax.nn.log_softmax(x), reference))(logits)
  forward = jax.grad(lambda x: kl(reference, jax.nn.log_softmax(x)))(logits)
  np.testing.assert_allclose(expected_gradient('k1'), 0.0, atol=1e-6)
  np.testing.assert_allclose(expected_gradient('k2'), reverse, atol=1e-6)
  np.testing.assert_allclose(expected_gradient('k3'), forward, atol=1e-6)
  with pytest.raises(ValueError, match='one of'):
    policy_gradient.kl_estimate(logits, reference, 'k4')


def test_k1_is_right_on_average_and_k3_varies_less_near_by(rng):
  p = jax.nn.log_softmax(jnp.asarray(rng.normal(size=6)))
  q = jax.nn.log_softmax(p + 0.05 * jnp.asarray(rng.normal(size=6)))
  k1, k3 = (policy_gradient.kl_estimate(p, q, kind) for kind in ('k1', 'k3'))
  weight = np.exp(p)
  truth = np.sum(weight * (p - q))
  np.testing.assert_allclose(np.sum(weight * k1), truth, atol=1e-7)

  def variance(value):
    return np.sum(weight * (value - np.sum(weight * value)) ** 2)

  assert variance(k3) < 0.01 * variance(k1)


def test_entropy():
  logits = jnp.log(jnp.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
  np.testing.assert_allclose(
    policy_gradient.entropy(logits), [np.log(2), 0.0], atol=1e-6
  )


# ----------------------------------------------------------- edges of float32


@pytest.mark.parametrize('value', [0.2, -7.0, 100.1, 1000.1, 10000.1, 3e6])
@pytest.mark.parametrize('n', [2, 7, 12, 16])
def test_equal_rewards_teach_nothing_at_any_size(value, n):
  reward = jnp.full((1, n), value, jnp.float32)
  there = jnp.ones((1, n)).at[0, 0].set(0)
  for advantage in (
    policy_gradient.centred(reward),
    policy_gradient.leave_one_out(reward),
    policy_gradient.group_normalized(reward),
    policy_gradient.rewards_normalized(reward[..., None], jnp.ones(1)),
    policy_gradient.joint(reward, there),
  ):
    np.testing.assert_array_equal(advantage, 0.0)


def test_a_reward_that_is_missing_is_left_out_of_its_group():
  reward = jnp.array(
    [[1.0, jnp.nan, 0.0, 5.0], [jnp.nan, 2.0, jnp.nan, jnp.nan]]
  )
  kept = jnp.array([[1.0, 0.0, 5.0]])
  for advantage in (
    policy_gradient.centred,
    policy_gradient.leave_one_out,
    policy_gradient.group_normalized,
  ):
    found = advantage(reward)
    np.testing.assert_allclose(
      found[0, jnp.array([0, 2, 3])], advantage(kept)[0], rtol=1e-6
    )
    assert found[0, 1] == 0
    np.testing.assert_array_equal(found[1], 0.0)  # nothing to compare with
  second = jnp.array([[3.0, jnp.nan]])
  found = policy_gradient.first_turn(second, reward[:1])
  np.testing.assert_allclose(found, [[1.0, 0.0]])


def test_a_group_s_spread_has_a_gradient_where_there_is_none():
  def total(reward):
    return policy_gradient.group_normalized(reward).sum()

  assert np.isfinite(jax.grad(total)(jnp.full((1, 4), 2.0))).all()


@pytest.mark.parametrize('kind', policy_gradient.KL_ESTIMATES)
def test_estimates_are_finite_where_a_token_cannot_be_drawn(kind):
  never = -jnp.inf
  now = jnp.array([-1.0, -120.0, never, never, -1.0])
  reference = jnp.array([-1.2, -3.0, -1.0, never, never])

  def total(logprob):
    return policy_gradient.kl_estimate(logprob, reference, kind).sum()

  each = policy_gradient.kl_estimate(now, reference, kind)
  assert np.isfinite(each).all()
  assert each[3] == 0
  assert np.isfinite(jax.grad(total)(now)).all()


def test_the_entropy_has_a_gradient_where_a_token_cannot_be_drawn():
  logits = jnp.array([0.3, 0.1, -jnp.inf])
  value, slope = jax.value_and_grad(policy_gradient.entropy)(logits)
  want, its = jax.value_and_grad(policy_gradient.entropy)(logits[:2])
  np.testing.assert_allclose(value, want, rtol=1e-6)
  np.testing.assert_allclose(slope, [*its, 0.0], atol=1e-6)
