"""Intervals over few runs: closed forms, coverage, and SciPy."""

import numpy as np
import pytest
from scipy import stats

from prm_jax.ops import intervals


def test_mean_is_students_interval():
  values = np.array([1.0, 2.0, 4.0, 4.0, 9.0])
  found = intervals.mean(values)
  want = stats.ttest_1samp(values, 0).confidence_interval(0.95)
  np.testing.assert_allclose(found, [4.0, want.low, want.high])
  np.testing.assert_allclose(intervals.mean([*values, np.nan]), found)
  assert np.isnan(intervals.mean([3.0]).low)
  assert np.isnan(intervals.mean([]).value)


def test_ratio_holds_what_is_not_rejected():
  rng = np.random.default_rng(0)
  b = 2 + 0.3 * rng.standard_normal(6)
  a = 0.5 * b + 0.1 * rng.standard_normal(6)
  found = intervals.ratio(a, b)
  assert found.value == pytest.approx(a.mean() / b.mean())
  for limit in (found.low, found.high):
    p = stats.ttest_1samp(a - limit * b, 0).pvalue
    assert p == pytest.approx(0.05, abs=1e-9)
  middle = 0.5 * (found.low + found.high)
  assert stats.ttest_1samp(a - middle * b, 0).pvalue > 0.05


def test_ratio_covers():
  rng = np.random.default_rng(1)
  truth, covered, runs = 0.15, 0, 2000
  for _ in range(runs):
    b = 1 + 0.3 * rng.standard_normal(5)
    a = truth * 1 + 0.2 * (b - 1) + 0.1 * rng.standard_normal(5)
    found = intervals.ratio(a, b)
    covered += found.low <= truth <= found.high
  assert 0.93 < covered / runs < 0.97


def test_ratio_over_what_may_be_zero_is_unbounded():
  found = intervals.ratio([0.1, 0.2, 0.1], [0.5, -0.6, 0.05])
  assert found.low == -np.inf
  assert found.high == np.inf
  with pytest.raises(ValueError, match='pairs'):
    intervals.ratio([1.0], [1.0, 2.0])


def test_share_is_scipys_exact_interval():
  for count, n in ((0, 20), (5, 200), (200, 200)):
    want = stats.binomtest(count, n).proportion_ci(0.95, method='exact')
    np.testing.assert_allclose(
      intervals.share(count, n), [count / n, want.low, want.high], atol=1e-12
    )


# ------------------------------------------------------- two things at once


def test_crossed_by_hand():
  """Three people and two debates, one cell without judgements."""
  first = np.array([0, 0, 1, 2, 2, 2])
  second = np.array(['x', 'y', 'x', 'y', 'x', 'y'])
  total = np.array([3.0, 1.0, 0.0, 2.0, 5.0, 1.0])
  count = np.array([4.0, 2.0, 3.0, 2.0, 6.0, 2.0])
  found = intervals.crossed(total, count, intervals.crossing(first, second))
  mean = 12 / 19
  r = total - mean * count
  A = (r[[0, 1]].sum() ** 2 + r[2] ** 2 + r[3:].sum() ** 2) * 3 / 2
  B = (r[[0, 2, 4]].sum() ** 2 + r[[1, 3, 5]].sum() ** 2) * 2
  E = r[0] ** 2 + r[1] ** 2 + r[2] ** 2 + r[4] ** 2 + (r[3] + r[5]) ** 2
  V = max(A, B, A + B - E)
  degrees = max(V**2 / (A**2 / 2 + B**2), 1)
  error = np.sqrt(V) / 19
  np.testing.assert_allclose(found.value, mean)
  np.testing.assert_allclose(found.standard_error, error)
  np.testing.assert_allclose(found.degrees, degrees)
  low = mean - stats.t.ppf(0.975, degrees) * error
  np.testing.assert_allclose(found.low, low)
  assert (found.first, found.second) == (3, 2)


def test_a_balanced_layout_is_the_analysis_of_variance():
  rng = np.random.default_rng(0)
  R, C = 80, 60
  y = rng.normal(size=(R, 1)) + rng.normal(size=(1, C))
  y = y + rng.normal(size=(R, C))
  first, second = np.indices((R, C)).reshape(2, -1)
  found = intervals.crossed(
    y.ravel(), np.ones(R * C), intervals.crossing(first, second)
  )
  row = C * np.var(y.mean(1), ddof=1)
  column = R * np.var(y.mean(0), ddof=1)
  rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
  within = np.sum(rest**2) / ((R - 1) * (C - 1))
  error = np.sqrt((row + column - within) / (R * C))
  np.testing.assert_allclose(found.standard_error, error, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize('sizes', [(300, 14), (60, 13), (50, 100), (300, 5)])
@pytest.mark.parametrize('effects', [(1, 1), (1, 0), (0, 1), (0.3, 0.3)])
def test_crossed_intervals_hold_the_mean_as_often_as_they_say(sizes, effects):
  R, C = sizes
  rng = np.random.default_rng(1)
  first, second = np.indices((R, C)).reshape(2, -1)
  ones, held = np.ones(R * C), 0
  shared = intervals.crossing(first, second)
  for _ in range(2000):
    y = effects[0] * rng.normal(size=(R, 1))
    y = y + effects[1] * rng.normal(size=(1, C)) + rng.normal(size=(R, C))
    found = intervals.crossed(y.ravel(), ones, shared)
    held += found.low <= 0 <= found.high
  assert 0.93 <= held / 2000 <= 0.97


@pytest.mark.parametrize('effects', [(1, 1), (0, 1), (1, 0)])
def test_rows_of_two_second_units_hold_the_mean_as_often(effects):
  """People judge pairs of jokes; a joke is in many pairs."""
  people, jokes, each = 100, 40, 30
  rng = np.random.default_rng(2)
  person = np.repeat(np.arange(people), each)
  pair = np.array([rng.permutation(jokes)[:2] for _ in person])
  shared = intervals.crossing(person, pair)
  ones, held = np.ones(len(person)), 0
  for _ in range(1000):
    y = effects[0] * rng.normal(size=people)[person] + rng.normal(
      size=ones.size
    )
    y += effects[1] * rng.normal(size=jokes)[pair].sum(1)
    found = intervals.crossed(y, ones, shared)
    held += found.low <= 0 <= found.high
  assert 0.93 <= held / 1000 <= 0.97


def test_rows_of_two_second_units_are_counted_once():
  """Against the double sum over rows that share a person or a joke."""
  rng = np.random.default_rng(3)
  n = 60
  person = rng.integers(0, 7, n)
  pair = rng.integers(0, 8, (n, 2))  # some of one joke alone
  total, count = rng.normal(size=n), rng.uniform(0.5, 2, n)
  found = intervals.crossed(total, count, intervals.crossing(person, pair))
  r = total - total.sum() / count.sum() * count
  same = person[:, None] == person
  meets = (pair[:, None, :, None] == pair[None, :, None, :]).any((2, 3))
  A = (same * np.outer(r, r)).sum() * 7 / 6
  B = (meets * np.outer(r, r)).sum() * 8 * 7 / (6**2 - 7)
  E = ((same & meets) * np.outer(r, r)).sum()
  V = max(A, max(B, 0), A + max(B, 0) - E)
  np.testing.assert_allclose(found.standard_error, np.sqrt(V) / count.sum())
  turned = intervals.crossing(person, pair[:, ::-1])
  assert intervals.crossed(total, count, turned) == found


def test_one_of_either_or_no_variation_has_no_interval():
  ones = np.ones(4)
  square = intervals.crossing([0, 0, 1, 1], [0, 1, 0, 1])
  for first, second in (([0] * 4, range(4)), (range(4), [0] * 4)):
    found = intervals.crossed(ones, ones, intervals.crossing(first, second))
    assert found.value == 1
    assert np.isnan([found.low, found.high, found.smallest_detectable]).all()
  found = intervals.crossed(ones, ones, square)
  assert np.isnan(found.low)
  with pytest.raises(ValueError, match='nothing to count'):
    intervals.crossed(ones, 0 * ones, square)
  with pytest.raises(ValueError, match='one value a row'):
    intervals.crossed(ones, np.ones(3), square)
  with pytest.raises(ValueError, match=r'give \[n\]'):
    intervals.crossing([0, 1], [0])
