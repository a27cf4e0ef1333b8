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
