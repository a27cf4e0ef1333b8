"""Intervals over few independent repetitions, such as seeds of a simulation.

A percentile bootstrap of five values is too narrow; these are Student's, and
Fieller's for ratios.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
  """A value with its two-sided 95 % interval; NaN or infinite if unknown."""

  value: float
  low: float
  high: float


def mean(values: Sequence[float] | np.ndarray) -> Interval:
  """Returns the mean of n values with Student's interval.

  NaN are left out; without a second value the limits are NaN.

  Args:
    values: `[n]`, of paired differences where runs are paired.
  """
  known = np.asarray(values, float)
  known = known[~np.isnan(known)]
  n = len(known)
  if not n:
    return Interval(np.nan, np.nan, np.nan)
  value = float(known.mean())
  if n < 2:
    return Interval(value, np.nan, np.nan)
  width = float(_quantile(n) * known.std(ddof=1) / np.sqrt(n))
  return Interval(value, value - width, value + width)


def ratio(
  numerator: Sequence[float] | np.ndarray,
  denominator: Sequence[float] | np.ndarray,
) -> Interval:
  """Returns the ratio of two paired means with Fieller's interval.

  All R for which mean(a - R b) = 0 is not rejected:

      (mean a - R mean b)^2 <= t^2 Var(a - R b) / n

  Where the denominator's mean is not shown to differ from zero no finite
  interval exists, and the limits are infinite.

  Args:
    numerator: a `[n]`.
    denominator: b `[n]`, of the same runs.

  Raises:
    ValueError: they are not pairs.

  References:
    Fieller 1954, Some problems in interval estimation.
  """
  a, b = np.asarray(numerator, float), np.asarray(denominator, float)
  if a.shape != b.shape or a.ndim != 1:
    raise ValueError(f'{a.shape} and {b.shape}: give two vectors of pairs')
  n = len(a)
  value = float(a.mean() / b.mean()) if n and b.mean() else float('nan')
  if n < 2:
    return Interval(value, np.nan, np.nan)
  covariance = np.cov(a, b) * _quantile(n) ** 2 / n
  # A R^2 - 2 B R + C <= 0
  A = b.mean() ** 2 - covariance[1, 1]
  B = a.mean() * b.mean() - covariance[0, 1]
  C = a.mean() ** 2 - covariance[0, 0]
  if A <= 0:
    return Interval(value, -np.inf, np.inf)
  root = np.sqrt(max(B**2 - A * C, 0.0))
  return Interval(value, float((B - root) / A), float((B + root) / A))


def share(count: int, n: int) -> Interval:
  """Returns a share with the interval of Clopper and Pearson.

  Args:
    count: how many of n.
    n: at least 1.
  """
  low = stats.beta.ppf(0.025, count, n - count + 1) if count else 0.0
  high = stats.beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
  return Interval(count / n, float(low), float(high))


def _quantile(n: int) -> float:
  return float(stats.t.ppf(0.975, n - 1))
