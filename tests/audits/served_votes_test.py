"""What a server shows of votes: by hand, and against the ops it stands on."""

import numpy as np
import pytest

from prm_jax.audits import served_votes
from prm_jax.ops import decoding, tilting


def pools():
  """Three people with 3, 1 and 4 kept votes; rows in no order."""
  person = np.array([5, 2, 5, 9, 9, 5, 9, 9, 7])
  statement = np.array([0, 3, 1, 0, 1, 2, 2, 3, 0])
  agrees = np.array([1, 1, 0, 0, 1, 1, 0, 1, 1], bool)
  return served_votes.pools(person, statement, agrees, np.array([2, 5, 9]))


def scores(some):
  rng = np.random.default_rng(0)
  return rng.normal(size=some.there.shape)


def test_pools_hold_kept_votes_by_person():
  some = pools()
  assert some.there.sum(1).tolist() == [1, 3, 4]  # person 7 is not measured
  assert some.statement[1, :3].tolist() == [0, 1, 2]
  assert some.agrees[1, :3].tolist() == [True, False, True]
  np.testing.assert_allclose(some.random.sum(1), 1)
  with pytest.raises(ValueError, match='no kept vote'):
    served_votes.pools(
      some.person[:1], np.zeros(1, int), np.ones(1, bool), np.array([2, 3])
    )


def test_the_best_of_some_draws_and_the_tilt_are_those_of_ops():
  some = pools()
  score = scores(some)
  best = served_votes.best_of(some, 3)(score)
  tilt = served_votes.tilted(some, 0.7)(score)
  for u, count in enumerate(some.there.sum(1)):
    chance = np.full(count, 1 / count)
    np.testing.assert_allclose(
      best[u, :count],
      decoding.best_of_n(chance, score[u, :count], 3),
      atol=1e-6,
    )
    log_policy = decoding.tilted(np.log(chance), score[u, :count], 0.7)
    np.testing.assert_allclose(tilt[u, :count], np.exp(log_policy), atol=1e-6)
    assert not best[u, count:].any()
  # Best of 1 is chance.
  np.testing.assert_allclose(served_votes.best_of(some, 1)(score), some.random)


def test_a_tilt_is_served_at_the_divergence_that_is_asked_for():
  some = pools()
  score = scores(some)
  made = served_votes.at_divergence(
    some, lambda beta: served_votes.tilted(some, beta)(score), 0.3
  )
  assert served_votes.divergence(some, made) == pytest.approx(0.3, abs=1e-4)
  assert served_votes.divergence(some, some.random) == pytest.approx(0)


def test_prices_hold_a_mean():
  some = pools()
  score, feature = scores(some), scores(some)[::-1] * some.there
  serve = served_votes.tilted(some, 1.0)
  target = 0.5 * some.mean(some.random, feature)
  price = served_votes.held(serve, score, feature, target)
  policy = serve(score + price[:, None] * feature)
  there = some.there.sum(1) > 1  # who has one statement is served it
  reached = (feature.min(1) < target) & (target < feature.max(1)) & there
  assert reached.any()
  np.testing.assert_allclose(
    some.mean(policy, feature)[reached], target[reached], atol=1e-5
  )
  # What `tilting.match` finds, and one price for everybody holds the sum.
  matched = served_votes.matched_tilt(some, score, feature, target, 1.0)
  np.testing.assert_allclose(matched[reached], policy[reached], atol=1e-4)
  wanted = float(some.mean(serve(score), feature).mean() - 0.05)
  one = served_votes.priced(serve, score, feature, wanted)
  found = some.mean(serve(score + one * feature), feature).mean()
  assert found == pytest.approx(wanted, abs=1e-5)


def test_the_least_penalty_is_that_of_ops():
  some = pools()
  score = scores(some)
  own = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0]], bool)
  found = served_votes.penalty(some, score, own, 2.0)
  for u in (1, 2):
    count = some.there[u].sum()
    wanted = tilting.minimal_correction(
      np.log(np.full(count, 1 / count)),
      score[u, :count],
      own[u, :count].astype(float),
      2.0,
    )
    assert found[u] == pytest.approx(float(wanted), abs=1e-4)


def test_measures_by_hand():
  some = pools()
  side = np.zeros(10, int)
  side[[2, 5, 9]] = 1, -1, 1
  stances = served_votes.Stances(
    side,
    of=np.array([1, -1, -1, 1]),
    partisan=np.array([1, 1, 0, 1], bool),
    straddling=np.array([0, 1, 0, 0], bool),
    position=1.0 * side,
    loading=np.array([2.0, -1.0, -1.0, 1.0]),
  )
  counts = served_votes.counted(some, stances)
  agreement, own, straddling = served_votes.means(some.random, counts)
  assert agreement == pytest.approx((1 + 2 / 3 + 2 / 4) / 3)
  # Own: statement 3 of the first; 1 of {0, 1} of the second; 0 and 3 of
  # {0, 1, 3} of the third.
  assert own == pytest.approx((1 + 1 / 3 + 2 / 4) / (1 + 2 / 3 + 3 / 4))
  assert straddling == pytest.approx((1 / 3) / (1 / 3 + 1 / 4))
  first = np.zeros_like(some.random)
  first[:, 0] = 1
  np.testing.assert_allclose(
    served_votes.shift(some, first, stances.loading), [0, 2 - 0, 2 - 1 / 4]
  )


def test_variance_does_not_tell_whose_stance_is_served_and_correlation_does():
  position = np.array([-1.0, 0.0, 1.0])
  weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
  own, swapped = position, position[[2, 1, 0]]
  for served, sign in ((own, 1), (swapped, -1)):
    variance, correlation = served_votes.variance_and_correlation(
      served, position, weights
    )
    np.testing.assert_allclose(variance, [2 / 3, 8 / 9])
    np.testing.assert_allclose(correlation, sign)
  _, nothing = served_votes.variance_and_correlation(
    np.zeros(3), position, weights
  )
  assert np.isnan(nothing).all()
