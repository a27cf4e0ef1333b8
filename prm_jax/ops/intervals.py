"""Intervals over few independent repetitions, such as seeds of a simulation.

A percentile bootstrap of five values is too narrow; these are Student's, and
Fieller's for ratios. `crossed` is for what is generalised over in two ways at
once, such as people and debates.
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


class Crossed(NamedTuple):
  """A mean with its two-sided 95 % interval over two things at once.

  Attributes:
    value, low, high: the limits are NaN where either thing is there once.
    standard_error: of the value.
    degrees: of freedom of Student's distribution.
    smallest_detectable: a mean of this size is found by a two-sided test at
      5 % in 80 of 100 repetitions.
    first, second: how many there are of either.
  """

  value: float
  low: float
  high: float
  standard_error: float
  degrees: float
  smallest_detectable: float
  first: int
  second: int


def crossed(
  total: np.ndarray,
  count: np.ndarray,
  first: np.ndarray,
  second: np.ndarray,
) -> Crossed:
  """Returns sum(total) / sum(count) over new units of two kinds at once.

  With residuals r of the cells of one first and one second unit, R firsts and
  C seconds:

      A = R / (R - 1) sum_i (sum_j r_ij)^2,  B likewise,  E = sum_ij r_ij^2
      V = max(A, B, A + B - E) / sum(count)^2

  and Student's quantile with V^2 / (A^2 / (R - 1) + B^2 / (C - 1)) degrees of
  freedom, in the same units, and no fewer than the smaller of R and C leaves.

  Args:
    total: `[n]` sum of what is averaged in each row, such as rows gained.
    count: `[n]` how many there are in it.
    first: `[n]` whose it is, such as a person.
    second: `[n]` of what it is, such as a debate.

  Raises:
    ValueError: lengths differ, or there is nothing to count.

  References:
    Cameron, Gelbach and Miller 2011; Satterthwaite 1946.

  Notes:
    Of 2,000 simulated sets each of 300 x 14, 60 x 13 and 50 x 100 units the
    interval holds the mean in 93.8 to 95.8 of 100 where either effect or both
    are there, and in 96.4 to 98 where neither is. A bootstrap of one kind
    alone is too narrow wherever the other has an effect.
  """
  total, count = np.asarray(total, float), np.asarray(count, float)
  if not len(total) == len(count) == len(first) == len(second):
    raise ValueError('total, count, first and second have one value a row each')
  if not count.sum() > 0:
    raise ValueError('there is nothing to count')
  value = total.sum() / count.sum()
  residual = total - value * count
  _, row = np.unique(first, return_inverse=True)
  _, column = np.unique(second, return_inverse=True)
  R, C = int(row.max()) + 1, int(column.max()) + 1
  nan = float('nan')
  if min(R, C) < 2:
    return Crossed(float(value), nan, nan, nan, nan, nan, R, C)
  _, cell = np.unique(row.astype(np.int64) * C + column, return_inverse=True)
  A = np.sum(np.bincount(row, residual) ** 2) * R / (R - 1)
  B = np.sum(np.bincount(column, residual) ** 2) * C / (C - 1)
  E = np.sum(np.bincount(cell, residual) ** 2)
  variance = float(max(A, B, A + B - E))
  if variance <= 1e-24 * count.sum() ** 2:  # nothing varies
    return Crossed(float(value), nan, nan, nan, nan, nan, R, C)
  degrees = float(variance**2 / (A**2 / (R - 1) + B**2 / (C - 1)))
  degrees = max(degrees, min(R, C) - 1.0)
  error = float(np.sqrt(variance) / count.sum())
  width = float(stats.t.ppf(0.975, degrees)) * error
  seen = width + float(stats.t.ppf(0.8, degrees)) * error
  return Crossed(
    float(value), value - width, value + width, error, degrees, seen, R, C
  )


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
