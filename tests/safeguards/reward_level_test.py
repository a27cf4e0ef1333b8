"""Safeguards of rewards, against sums in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import types
from prm_jax.safeguards import reward_level

S, K, BETA = 40, 8, 1.3


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def world(seed=0, leaning=0.6, beta=BETA):
  """Rewards of a person who loves agreement, and a guard."""
  rng = np.random.default_rng(seed)
  stance = rng.choice([-1.0, 1.0], (S, K))
  stance[:, :2] = [-1, 1]
  side = rng.choice([-1.0, 1.0], (S, 1))
  factual = np.broadcast_to(rng.random((S, 1)) < 0.5, (S, K)) * 1.0
  root = rng.normal(size=(S, K, K))
  guard = types.Guard(
    log_base=special.log_softmax(rng.normal(size=(S, K)), -1),
    log_reference=np.full((S, K), -np.log(K)),
    reference=rng.normal(size=(S, K)),
    measures={
      'stance': stance,
      'truth': (stance == side) * 1.0,
      'factual': factual,
      'anchor': rng.normal(size=(S, K)),
    },
    leaning=leaning,
    beta=beta,
  )
  guard = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), guard)
  output = types.RewardOutput(
    jnp.asarray(rng.normal(size=(S, K)) + 1.5 * np.sign(leaning) * stance),
    jnp.asarray(root @ np.swapaxes(root, -1, -2)),
  )
  return output, guard


def tilted(score, guard):
  return special.softmax(np.asarray(guard.log_base + guard.beta * score), -1)


def run(safeguard, output, guard, state=()):
  return safeguard.reward(state, output, guard)


def test_shrinkage_goes_from_the_population_to_the_person():
  output, guard = world()
  ends = [
    run(reward_level.shrinkage(share=s), output, guard) for s in (0.0, 1.0)
  ]
  np.testing.assert_allclose(ends[0].score, guard.reference, atol=1e-14)
  np.testing.assert_allclose(ends[0].covariance, 0.0)
  np.testing.assert_allclose(ends[1].score, output.score, atol=1e-14)
  np.testing.assert_allclose(ends[1].covariance, output.covariance)
  some = run(reward_level.shrinkage(share=0.3), output, guard)
  np.testing.assert_allclose(
    some.score, 0.7 * guard.reference + 0.3 * output.score, atol=1e-14
  )
  np.testing.assert_allclose(some.covariance, 0.09 * output.covariance)
  point = run(
    reward_level.shrinkage(share=0.3), output._replace(covariance=None), guard
  )
  assert point.covariance is None


def test_empirical_shrinkage_counts_what_was_said():
  output, guard = world()
  made = reward_level.empirical_shrinkage(between=0.5, within=2.0, answers=0)
  state = made.init()
  nobody = run(made, output, guard, state)
  np.testing.assert_allclose(nobody.score, guard.reference, atol=1e-14)
  for _ in range(4):
    state = made.observe(state, {})
  half = run(made, output, guard, state)  # .5 = 2 / 4: half of the person
  np.testing.assert_allclose(
    half.score, 0.5 * (guard.reference + output.score), atol=1e-14
  )
  known = reward_level.empirical_shrinkage(between=0.5, within=2.0, answers=1e9)
  np.testing.assert_allclose(
    run(known, output, guard, known.init()).score, output.score, atol=1e-7
  )
  none = reward_level.empirical_shrinkage(between=0.0, within=2.0, answers=9.0)
  np.testing.assert_allclose(
    run(none, output, guard, none.init()).score, guard.reference, atol=1e-14
  )


def agreeing_with_what_is_false(guard, leaning):
  m = {name: np.asarray(value) for name, value in guard.measures.items()}
  agrees = m['stance'] * leaning > 0
  return agrees & (m['truth'] == 0) & (m['factual'] == 1)


@pytest.mark.parametrize('leaning', [0.6, -0.01])
def test_agreement_penalty_adds_no_agreement_with_what_is_false(leaning):
  output, guard = world(leaning=leaning)
  counted = agreeing_with_what_is_false(guard, leaning)
  assert 0.05 < counted.mean() < 0.5
  after = run(reward_level.agreement_penalty(), output, guard)
  share = [
    (p * counted).sum(-1)
    for p in (
      np.exp(guard.log_base),
      tilted(output.score, guard),
      tilted(after.score, guard),
    )
  ]
  base, before, now = share
  assert (before > base + 0.01).any()
  assert (now <= base + 1e-12).all()
  # The least: at the level of pi_0 where more was wished, else unchanged.
  np.testing.assert_allclose(now, np.minimum(before, base), atol=1e-12)


def test_agreement_penalty_leaves_everything_else_alone():
  output, guard = world()
  after = run(reward_level.agreement_penalty(), output, guard)
  counted = agreeing_with_what_is_false(guard, 0.6)
  np.testing.assert_array_equal(
    np.asarray(after.score)[~counted], np.asarray(output.score)[~counted]
  )
  unknown = run(
    reward_level.agreement_penalty(),
    output,
    guard._replace(leaning=jnp.zeros(())),
  )
  np.testing.assert_array_equal(unknown.score, output.score)
  for name, value in (('truth', 1.0), ('factual', 0.0)):
    all_fine = {**guard.measures, name: jnp.full((S, K), value)}
    found = run(
      reward_level.agreement_penalty(),
      output,
      guard._replace(measures=all_fine),
    )
    np.testing.assert_array_equal(found.score, output.score)


@pytest.mark.parametrize('always', [True, False])
def test_agreement_penalty_where_pi_0_has_no_choice(always):
  output, guard = world()
  forced = jnp.full((S, K), 1.0 if always else -1.0)
  measures = {
    'stance': forced,
    'truth': jnp.zeros((S, K)),
    'factual': jnp.ones((S, K)),
  }
  found = run(
    reward_level.agreement_penalty(), output, guard._replace(measures=measures)
  )
  np.testing.assert_array_equal(found.score, output.score)


def test_agreement_penalty_serves_pi_0_at_beta_zero():
  output, guard = world(beta=0.0)
  after = run(reward_level.agreement_penalty(), output, guard)
  np.testing.assert_allclose(
    tilted(after.score, guard), np.exp(guard.log_base), atol=1e-12
  )


def test_residual_leaves_nothing_linear_in_what_a_person_adds():
  output, guard = world()
  after = run(reward_level.residual(), output, guard)
  pi, z = np.exp(guard.log_base), np.asarray(guard.measures['anchor'])
  centred = z - (pi * z).sum(-1, keepdims=True)
  added = np.asarray(after.score - guard.reference)
  np.testing.assert_allclose((pi * added * centred).sum(-1), 0, atol=1e-12)
  before = np.asarray(output.score - guard.reference)
  assert np.abs((pi * before * centred).sum(-1)).min() > 1e-4
  # A small tilt of what is added moves E[z] in the second order only.
  small = guard._replace(beta=1e-4)
  moved = [
    ((tilted(score, small) - pi) * z).sum(-1) / 1e-4
    for score in (before, added)
  ]
  assert np.abs(moved[1]).max() < 1e-2 < np.abs(moved[0]).max()


def test_lower_bound_prefers_the_sure_one_of_two_equals():
  score = jnp.asarray([[1.0, 1.0, 0.0]])
  covariance = jnp.diag(jnp.asarray([0.01, 4.0, 0.01]))[None]
  output = types.RewardOutput(score, covariance)
  _, guard = world()
  after = np.asarray(
    run(reward_level.lower_bound(caution=0.5), output, guard).score
  )
  assert after[0, 0] > after[0, 1]
  # By hand: var(r_k - mean) = v_k - 2 v_k / 3 + sum(v) / 9.
  v = np.array([0.01, 4.0, 0.01])
  deviation = np.sqrt(v / 3 + v.sum() / 9)
  np.testing.assert_allclose(after[0], [1, 1, 0] - 0.5 * deviation, atol=1e-12)


def test_lower_bound_leaves_a_point_belief_and_no_caution_alone():
  output, guard = world()
  point = output._replace(covariance=None)
  same = run(reward_level.lower_bound(), point, guard)
  np.testing.assert_array_equal(same.score, output.score)
  same = run(reward_level.lower_bound(caution=0.0), output, guard)
  np.testing.assert_array_equal(same.score, output.score)
