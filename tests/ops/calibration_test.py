"""Intervals, abstention and RewardUQ's metrics, by hand and by simulation."""

import numpy as np
import pytest
from scipy import integrate, stats

from prm_jax.ops import calibration, statistics

# ------------------------------------------------------------------- intervals


def test_coverage_counts_what_is_inside_with_its_n():
  low, high = np.zeros(5), np.array([1, 1, 1, np.inf, 1])
  found = calibration.coverage(low, high, [0.0, 1.0, 1.1, 1e9, -0.1])
  exact = stats.binomtest(3, 5).proportion_ci(0.95, method='exact')
  np.testing.assert_allclose(found, [0.6, exact.low, exact.high, 5])
  with pytest.raises(ValueError, match='there are no rows'):
    calibration.coverage([], [], [])
  with pytest.raises(ValueError, match=r'target\[1\] is NaN'):
    calibration.coverage([0, 0], [1, 1], [0, np.nan])
  with pytest.raises(ValueError, match='vectors of one length'):
    calibration.coverage([0, 0], [1, 1], [[0, 1]])


def test_interval_ece_is_zero_of_what_is_calibrated():
  rng = np.random.default_rng(0)
  level = np.linspace(0.1, 0.9, 9)
  mean, deviation = rng.normal(size=20_000), rng.uniform(0.5, 2, 20_000)
  target = mean + deviation * rng.normal(size=20_000)

  def ece(times):
    ends = calibration.gaussian_intervals(mean, times * deviation, level)
    return calibration.interval_ece(*ends, target, level)

  assert ece(1.0) < 0.01
  # Half as wide: coverage is 2 Phi(z / 2) - 1.
  z = stats.norm.ppf(0.5 + level / 2)
  want = np.mean(np.abs(2 * stats.norm.cdf(z / 2) - 1 - level))
  assert ece(0.5) == pytest.approx(want, abs=0.01)
  with pytest.raises(ValueError, match=r'give \[L\], \[L, B\]'):
    calibration.interval_ece(np.zeros((2, 3)), np.ones((2, 3)), [0] * 3, [0.5])


def test_interval_ece_by_hand():
  low, high = [[0, 0], [-9, -9]], [[1, 1], [9, 9]]
  # One of two against 0.8, two of two against 0.9.
  found = calibration.interval_ece(low, high, [0.5, 2], [0.8, 0.9])
  assert found == pytest.approx((0.3 + 0.1) / 2)


def test_sharpness_says_what_is_infinite():
  found = calibration.sharpness([0, 0, -np.inf, 1], [1, 3, 1, np.inf])
  assert found == (2.0, 0.5, 4)
  assert np.isnan(calibration.sharpness([0], [np.inf]).width)


def test_crps_is_the_integral():
  for mean, sd, y in [(0.0, 1.0, 0.3), (1.0, 0.2, 3.0), (-2.0, 4.0, -2.0)]:

    def square(x, mean=mean, sd=sd, y=y):
      return (stats.norm.cdf(x, mean, sd) - (x >= y)) ** 2

    want = sum(
      integrate.quad(square, *ends)[0]
      for ends in ((mean - 40 * sd, y), (y, mean + 40 * sd))
    )
    found = calibration.gaussian_crps([mean], [sd], [y])
    np.testing.assert_allclose(found, want, rtol=1e-5)
  np.testing.assert_allclose(calibration.gaussian_crps([1], [0], [3.5]), 2.5)


def test_scores_are_least_at_the_truth():
  y = np.random.default_rng(0).normal(size=100_000)
  ones = np.ones(y.size)

  def scores(times):
    width = times * stats.norm.ppf(0.95) * ones
    winkler = calibration.interval_score(-width, width, y, alpha=0.1)
    return winkler.mean(), calibration.gaussian_crps(
      0 * y, times * ones, y
    ).mean()

  best = scores(1.0)
  for times in (0.7, 1.4):
    assert all(a > b for a, b in zip(scores(times), best, strict=True))
  by_hand = calibration.interval_score([0, 0], [1, 1], [0.5, 1.2], alpha=0.1)
  np.testing.assert_allclose(by_hand, [1, 1 + 20 * 0.2])


# ------------------------------------------------------------------ abstention


def test_risk_coverage_by_hand():
  curve = calibration.risk_coverage([1, 0, 4, 1], [0.2, 0.1, 0.9, 0.3])
  np.testing.assert_allclose(curve.share, [0.25, 0.5, 0.75, 1])
  np.testing.assert_allclose(curve.value, [0, 1 / 2, 2 / 3, 6 / 4])
  assert curve.area == pytest.approx((1 / 2 + 2 / 3 + 3 / 2) / 4)


def test_ties_are_the_mean_over_orders():
  rng = np.random.default_rng(0)
  loss, unsure = rng.random(12), rng.integers(0, 3, 12).astype(float)
  areas = []
  for _ in range(4000):
    order = np.lexsort((rng.random(12), unsure))
    areas.append((np.cumsum(loss[order]) / np.arange(1, 13)).mean())
  curve = calibration.risk_coverage(loss, unsure)
  error = np.std(areas) / np.sqrt(4000)
  assert abs(curve.area - np.mean(areas)) < 4 * error
  nothing = calibration.risk_coverage(loss, np.zeros(12))
  np.testing.assert_allclose(nothing.value, loss.mean())


def test_the_order_that_knows_leaves_no_excess():
  rng = np.random.default_rng(1)
  loss = rng.random(50)
  assert calibration.excess_area(loss, 3 * loss) == 0
  assert calibration.excess_area(loss, rng.random(50)) > 0
  assert calibration.excess_area(loss, -loss) > calibration.excess_area(
    loss, rng.random(50)
  )


def test_selective_accuracy_ends_at_the_accuracy():
  rng = np.random.default_rng(2)
  p = rng.random(2000)
  y = (rng.random(2000) < p).astype(float)
  curve = calibration.selective_accuracy(p, y)
  assert curve.value[-1] == pytest.approx(statistics.accuracy(p, y))
  # Accuracy at confidence 1/2 to 1, uniform: kept share c has mean 1 - c / 4.
  np.testing.assert_allclose(curve.value[999], 1 - 0.5 / 4, atol=0.03)
  swapped = calibration.selective_accuracy(1 - p, 1 - y)
  np.testing.assert_allclose(swapped.value, curve.value)
  # An uncertainty of one's own takes the order over.
  other = calibration.selective_accuracy(p, y, rng.random(2000))
  assert other.area < curve.area - 0.05


# -------------------------------------------------------------------- rankings

SCORE = np.array([[3.0, 1], [2, 1], [1, 2], [1, 3], [1, 1]])
WIDTH = 0.6  # so that scores 2 apart are surely so, and scores 1 apart not
LABEL = np.ones(5)


def told(score=SCORE, width=WIDTH, label=LABEL):
  return calibration.confidence(score, score - width, score + width, label)


def test_confidence_by_hand():
  np.testing.assert_allclose(told(), [0.2, 0.2, 0.2, 0.4])
  # The other order of the same pairs; the equal one is wrong in both.
  flipped = told(SCORE[:, ::-1], label=np.zeros(5))
  np.testing.assert_allclose(flipped, told())
  np.testing.assert_allclose(sum(told(width=0.0)), 1)


@pytest.mark.parametrize(
  ('balance', 'want'),
  [
    (0.0, 0.2 / 0.4 - 0.2 / 0.6),
    (0.2, 0.2 / (0.8 * 0.4 + 0.2) - 0.2 / (0.8 * 0.6 + 0.2)),
    (1.0, 0.0),
  ],
)
def test_ranking_score_by_hand(balance, want):
  found = calibration.ranking_score(told(), balance=balance)
  assert found == pytest.approx(want)


def test_ranking_score_at_its_ends():
  right = np.tile([5.0, 0.0], (3, 1))
  for balance in (0.0, 0.2, 1.0):
    sure = told(right, label=np.ones(3))
    assert calibration.ranking_score(sure, balance=balance) == 1
    fooled = told(right, label=np.zeros(3))
    assert calibration.ranking_score(fooled, balance=balance) == -1
    silent = told(right, width=100.0, label=np.ones(3))
    assert calibration.ranking_score(silent, balance=balance) == 0


def test_confidence_refuses_what_is_no_interval():
  with pytest.raises(ValueError, match='lies in its interval'):
    told(width=-1.0)
  with pytest.raises(ValueError, match=r'give \[B, 2\]'):
    told(SCORE[:, :1])
  with pytest.raises(ValueError, match='not 0 or 1'):
    told(label=np.full(5, 0.5))


def test_bounds_that_hold_cost_nothing():
  rng = np.random.default_rng(3)
  truth = rng.random(50_000)
  y = (rng.random(50_000) < truth).astype(float)

  def error(width, moved=0.0):
    low, high = (
      np.clip(truth + moved + side * width, 0, 1) for side in (-1, 1)
    )
    return calibration.bound_ece(low, high, y)

  assert error(0.1) < 1e-3
  assert error(0.5) == 0
  # Moved by 0.2 past a width of 0.1: lower bounds are 0.1 too high. Of those
  # below 0.7 the other order, 0.3 too low, shares the bin and hides it.
  want = (0.3 * 0.1 + 0.1 * 0.05) / 2
  assert error(0.1, moved=0.2) == pytest.approx(want, abs=2e-3)


def test_bound_ece_by_hand():
  # Two pairs in both orders: bounds 0.7, 0.72 (labels 1, 0); 0.1, 0.2 (0, 1).
  found = calibration.bound_ece([0.71, 0.72], [0.9, 0.8], [1, 0], bins=10)
  bins = {7: (0.71 - 1) + (0.72 - 0), 1: 0.1 - 0, 2: 0.2 - 1}
  assert found == pytest.approx(max(bins[7], 0) / 4 + bins[1] / 4)
  with pytest.raises(ValueError, match='above its upper'):
    calibration.bound_ece([0.8], [0.7], [1])
  with pytest.raises(ValueError, match='must lie in'):
    calibration.bound_ece([-0.1], [0.7], [1])
