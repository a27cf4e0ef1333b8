"""Measures of sycophancy: by hand, against NumPy, and with planted faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from prm_jax.audits import sycophancy
from prm_jax.ops import tilting


def log(*rows):
  return jnp.log(jnp.asarray(rows))


# ------------------------------------------------------------------ verdicts


def test_flag_is_student_s_interval():
  values = np.random.default_rng(0).normal(0.3, 1.0, 30)
  found = sycophancy.flag(values)
  low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
  np.testing.assert_allclose(
    [found.mean, found.low, found.high], [values.mean(), low, high]
  )
  assert found.n == 30
  assert found.flagged == (low > 0)
  assert sycophancy.flag(values + 1).flagged
  assert not sycophancy.flag(values - 1).flagged


def test_flag_of_values_without_spread():
  assert sycophancy.flag(np.full(9, 0.2)).flagged
  assert not sycophancy.flag(np.zeros(9)).flagged
  assert not sycophancy.flag(np.full(9, -0.2)).flagged
  assert not sycophancy.flag(np.full(9, 1e-9)).flagged  # rounding
  with pytest.raises(ValueError, match='2 values: an interval needs three'):
    sycophancy.flag(np.ones(2))


def test_a_fault_is_not_lost_among_prompts_that_do_not_count():
  """`reward_tilt` is NaN where all candidates agree."""
  score, agrees = np.zeros((6, 2)), np.array([[1.0, 0]] * 5 + [[1, 1]])
  tilt, _ = sycophancy.reward_tilt(jnp.asarray(score + agrees), agrees)
  assert np.isnan(tilt).sum() == 1
  try:
    found = sycophancy.flag(np.asarray(tilt))
  except ValueError:
    return  # told is as good as left out
  assert found.flagged
  assert found.n == 5


# ------------------------------------------------------------- by hand


def test_reward_tilt_by_hand():
  score = jnp.array([[3.0, 1, 2], [0, 5, 1], [1, 1, 1], [4, 9, 9]])
  agrees = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]])
  tilt, share = sycophancy.reward_tilt(score, agrees)
  np.testing.assert_allclose(tilt, [1.5, -4.5, np.nan, -2.5])
  assert float(share) == pytest.approx(1 / 3)
  people, share = sycophancy.reward_tilt(jnp.stack([score, -score]), agrees)
  np.testing.assert_allclose(people[1], -tilt)
  assert float(share) == pytest.approx(3 / 6)
  _, share = sycophancy.reward_tilt(score[2:3], agrees[2:3])
  assert float(share) == 0


def test_reward_tilt_has_the_sign_of_what_a_small_tilt_does():
  rng = np.random.default_rng(1)
  score = rng.normal(size=(50, 6))
  agrees = (rng.random((50, 6)) < 0.5) * 1.0
  agrees[:, :2] = [0, 1]
  tilt, share = sycophancy.reward_tilt(jnp.asarray(score), agrees)
  policy = special.softmax(1e-3 * score, -1)
  raised = (policy * agrees).sum(-1) - agrees.mean(-1)
  np.testing.assert_array_equal(np.asarray(tilt) > 0, raised > 0)
  assert float(share) == pytest.approx((raised > 0).mean())


def test_stance_flip_gap_is_a_difference_of_probabilities():
  stance = np.array([1.0, -1, 1])
  plus, minus = log([0.5, 0.2, 0.3], [0.2, 0.5, 0.3])
  found = sycophancy.stance_flip_gap(
    sycophancy.mean_of(plus, stance), sycophancy.mean_of(minus, stance)
  )
  assert float(found) == pytest.approx(0.8 - 0.5, abs=1e-6)


def test_answers_that_follow_a_claim_by_hand():
  truth = np.array([1.0, 1.0, -1.0, -1.0])
  # The first follows, the second holds the truth, the third is always wrong,
  # the fourth says nothing where the claim is false.
  plus = np.array([1.0, 1.0, 1.0, 0.0])
  minus = np.array([-1.0, 1.0, 1.0, -1.0])
  found = sycophancy.of_answers(plus, minus, truth)
  assert found['stance_flip_gap'] == 0.5 * (2 + 0 + 0 + 1) / 4
  assert found['agrees_with_false'] == 2 / 4
  assert found['flagged'] == 0.0
  everybody = np.ones(9)
  found = sycophancy.of_answers(everybody, -everybody, everybody)
  assert found == {
    'stance_flip_gap': 1.0,
    'agrees_with_false': 1.0,
    'flagged': 1.0,
  }


def test_accuracy_drop_and_positivity_shift_by_hand():
  plain, hinted = log([0.7, 0.3], [0.4, 0.6])
  drop = sycophancy.accuracy_drop(plain, hinted, jnp.array([1.0, 0.0]))
  assert float(drop) == pytest.approx(0.3, abs=1e-6)
  polite = jnp.array([2.0, -1.0])
  shift = sycophancy.positivity_shift(plain, hinted, polite)
  assert float(shift) == pytest.approx(1.1 - 0.2, abs=1e-6)


def test_both_sides_of_a_flatterer_a_coin_and_a_believer():
  stance = jnp.array([1.0, -1.0])
  for plus, minus, wanted in (
    ([0.9, 0.1], [0.1, 0.9], 0.81),
    ([0.5, 0.5], [0.5, 0.5], 0.25),
    ([0.9, 0.1], [0.9, 0.1], 0.09),
  ):
    found = sycophancy.both_sides(*log(plus, minus), stance)
    assert float(found) == pytest.approx(wanted, abs=1e-6)


def test_agreement_on_false_by_hand():
  stance = jnp.array([[0.5, 0.5, 0.0], [0.5, -1.0, 0.2], [0.9, 0.9, 0.9]])
  found = sycophancy.agreement_on_false(
    stance, jnp.array([0.3, -0.1, 0.0]), jnp.array([1.0, -1.0, 0.0])
  )
  nan = np.nan
  # The first is wrong on the second prompt, the second on the first.
  wanted = [[nan, 0.75, nan], [0.25, nan, nan], [nan, nan, nan]]
  np.testing.assert_allclose(found, wanted)


def test_history_flip_gap_by_hand():
  stance = jnp.array([[0.4, 0.2], [0.4, 0.2]])
  twin = jnp.array([[-0.2, 0.0], [-0.2, 0.0]])
  found = sycophancy.history_flip_gap(stance, twin, jnp.array([0.1, -3.0]))
  np.testing.assert_allclose(found, [0.2, -0.2], atol=1e-7)
  same = sycophancy.history_flip_gap(stance, stance, jnp.array([1.0, -1.0]))
  np.testing.assert_array_equal(same, 0.0)


def test_leaning_is_a_covariance_within_prompts():
  rng = np.random.default_rng(2)
  added, stance = rng.normal(size=(3, 7, 5)), rng.normal(size=(7, 5))
  wanted = [
    np.mean(
      [np.cov(a, s, ddof=0)[0, 1] for a, s in zip(one, stance, strict=True)]
    )
    for one in added
  ]
  found = sycophancy.leaning(jnp.asarray(added), jnp.asarray(stance))
  np.testing.assert_allclose(found, wanted, atol=1e-6)
  # What is the same for all candidates of a prompt leans to no side.
  flat = jnp.broadcast_to(jnp.arange(7.0)[:, None], (7, 5))
  assert abs(float(sycophancy.leaning(flat, jnp.asarray(stance)))) < 1e-6


def test_divergence_against_scipy():
  rng = np.random.default_rng(3)
  one, other = special.log_softmax(rng.normal(size=(2, 4, 5)), -1)
  found = sycophancy.divergence(jnp.asarray(one), jnp.asarray(other))
  wanted = [
    stats.entropy(np.exp(a), np.exp(b)) for a, b in zip(one, other, strict=True)
  ]
  np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_halves_are_halves_and_differ_by_seed():
  one, same, other = (
    np.asarray(sycophancy.halves(21, seed=seed)) for seed in (0, 0, 1)
  )
  assert one.sum() == 10
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()


# ----------------------------------------------------- people and chance

U, S = 200, 12
HALF = jnp.arange(S) % 2 == 0


def simulate(seed, *, systematic, chance, size=1):
  rng = np.random.default_rng(seed)
  person = systematic * rng.normal(size=(size, U, 1))
  return jnp.asarray(
    person + chance * rng.normal(size=(size, U, S)), jnp.float32
  )


def test_stance_variance_is_unbiased():
  stance = simulate(4, systematic=0.3, chance=1.0, size=200)
  found, each = jax.vmap(sycophancy.stance_variance, (0, None))(stance, HALF)
  error = np.std(found, ddof=1) / np.sqrt(200)
  assert abs(np.mean(found) - 0.09) < 3 * error < 0.02
  np.testing.assert_allclose(np.mean(each), 1.09, atol=0.02)
  # The variance of means is not: chance adds 1 / S.
  assert np.var(stance.mean(2), axis=1).mean() > 0.09 + 0.06
  none = simulate(5, systematic=0.0, chance=1.0, size=200)
  found, _ = jax.vmap(sycophancy.stance_variance, (0, None))(none, HALF)
  assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200) < 0.01
  assert np.min(found) < 0


def test_stance_variance_against_numpy_where_halves_are_uneven():
  stance = np.asarray(simulate(6, systematic=0.5, chance=0.5)[0], float)
  half = np.arange(S) < 5
  for given in (half, jnp.asarray(half)):
    found, each = sycophancy.stance_variance(jnp.asarray(stance), given)
    parts = stance[:, :5].mean(1), stance[:, 5:].mean(1)
    assert float(found) == pytest.approx(np.cov(*parts)[0, 1], abs=1e-5)
    assert float(each) == pytest.approx(np.var(stance, axis=0).mean(), abs=1e-5)


def test_worst_decile_addition_is_not_raised_by_chance():
  added = simulate(7, systematic=0.0, chance=1.0, size=300)
  found = jax.vmap(sycophancy.worst_decile_addition, (0, None))(added, HALF)
  assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300) < 0.03
  naive = np.sort(added.mean(2), axis=1)[:, -U // 10 :].mean()
  assert naive > 0.4


def test_worst_decile_addition_finds_the_tenth_that_was_targeted():
  added = np.array(simulate(8, systematic=0.0, chance=0.1)[0])
  added[:20] += 0.5  # one in ten; the mean moves by .05 only
  found = sycophancy.worst_decile_addition(jnp.asarray(added), HALF)
  assert float(found) == pytest.approx(0.5, abs=0.02)


def test_worst_decile_addition_leaves_out_what_does_not_count():
  rng = np.random.default_rng(9)
  added = np.where(
    rng.random((U, S)) < 0.5, np.nan, 0.1 * rng.normal(size=(U, S))
  )
  added[:20] += 1.0
  added[50] = np.nan
  found = sycophancy.worst_decile_addition(jnp.asarray(added), HALF)
  assert float(found) == pytest.approx(1.0, abs=0.1)


def test_worst_decile_addition_where_few_people_count():
  """One of thirty is ever wrong: nobody else can be among the worst."""
  added = np.full((30, S), np.nan)
  added[4] = 0.25
  found = float(sycophancy.worst_decile_addition(jnp.asarray(added), HALF))
  assert found == pytest.approx(0.25) or np.isnan(found)


# -------------------------------------------------------- planted faults

PROMPTS, K, D = 40, 12, 4


def gaps(seed, weight_of_agreement, truly=None):
  """Stance-flip gaps of a linear reward on two draws of candidates.

  The reward is random on D features; `weight_of_agreement` times the stance
  that was said times the candidate's.
  """
  rng = np.random.default_rng([seed, 5])
  weight = rng.normal(size=D)
  means = []
  for said in (1.0, -1.0):
    stance = rng.choice([-1.0, 1.0], (PROMPTS, K))
    features = rng.normal(size=(PROMPTS, K, D))
    features[..., 0] += 0.5 * stance  # a taste that goes with a side
    score = features @ weight + weight_of_agreement * said * stance
    policy = special.log_softmax(score, -1)
    means.append(sycophancy.mean_of(jnp.asarray(policy), stance))
  return np.asarray(sycophancy.stance_flip_gap(*means))


def test_a_sycophantic_reward_is_flagged():
  found = [sycophancy.flag(gaps(seed, 0.5)).flagged for seed in range(20)]
  assert all(found)
  # And one that contradicts is not.
  found = [sycophancy.flag(gaps(seed, -0.5)).flagged for seed in range(20)]
  assert not any(found)


def test_neutral_rewards_are_rarely_flagged():
  found = [sycophancy.flag(gaps(seed, 0.0)) for seed in range(200)]
  assert sum(verdict.flagged for verdict in found) <= 10
  # The interval is honest: neither far too wide.
  assert sum(verdict.low > 0 or verdict.high < 0 for verdict in found) >= 2


def test_a_tilted_reward_is_flagged_before_any_policy():
  rng = np.random.default_rng(10)
  agrees = np.tile([1.0, 0.0], (PROMPTS, K // 2))
  noise = rng.normal(size=(PROMPTS, K))
  for planted, wanted in ((0.8, True), (0.0, False), (-0.8, False)):
    score = jnp.asarray(noise + planted * agrees)
    tilt, share = sycophancy.reward_tilt(score, agrees)
    assert sycophancy.flag(np.asarray(tilt)).flagged == wanted
    if planted:
      assert (float(share) > 0.8) == wanted
  base = jnp.full((PROMPTS, K), -np.log(K))
  score = jnp.asarray(noise + 0.8 * agrees)
  gain = tilting.gain(base, score, jnp.asarray(agrees), 1e-2)
  tilt, _ = sycophancy.reward_tilt(score, agrees)
  np.testing.assert_allclose(gain, 1e-2 * np.asarray(tilt) / 4, atol=3e-4)


def test_targeting_of_a_few_is_seen_in_the_decile_and_not_in_the_mean():
  rng = np.random.default_rng(11)
  added = 0.3 * rng.normal(size=(1000, S))
  added[:20] += 0.6  # two in a hundred
  found = sycophancy.worst_decile_addition(jnp.asarray(added), HALF)
  assert float(found) > 0.08 > 0.02 > added.mean()


def test_blind_spots_are_blind():
  """A reward that dampens disagreement leaves every stance as it was."""
  assert {'omission', 'rare trigger', 'blind detector'} <= set(
    sycophancy.BLIND_SPOTS
  )
  stance = np.tile([1.0, -1.0], (PROMPTS, K // 2))
  detail = np.tile([1.0, 1.0, 0.0, 0.0], (PROMPTS, K // 4))
  means = []
  for said in (1.0, -1.0):
    # Prefers the short ones of what disagrees, the long ones of what agrees.
    score = np.where(stance == said, 1.0, -1.0) * (2 * detail - 1)
    policy = jnp.asarray(special.log_softmax(score, -1))
    means.append(sycophancy.mean_of(policy, stance))
  found = sycophancy.flag(np.asarray(sycophancy.stance_flip_gap(*means)))
  assert not found.flagged
