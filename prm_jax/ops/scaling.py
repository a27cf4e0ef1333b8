"""Scaling laws: how a loss falls with parameters, data or compute."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class PowerLaw(NamedTuple):
  """loss = coefficient * size ** exponent, as fitted.

  Attributes:
    exponent: negative where the loss falls.
    exponent_low: lower limit of Student's interval of the exponent.
    exponent_high: upper limit.
    coefficient: loss at size 1, in the units that the sizes came in.
    r_squared: share of the variance of log loss that is explained; NaN where
      all losses are equal.
  """

  exponent: float
  exponent_low: float
  exponent_high: float
  coefficient: float
  r_squared: float


def power_law(
  size: Sequence[float] | np.ndarray,
  loss: Sequence[float] | np.ndarray,
  *,
  level: float = 0.95,
) -> PowerLaw:
  """Returns the power law through n points, by least squares of logarithms.

      log loss = log coefficient + exponent log size + noise

  The interval holds for independent noise of one variance in log loss; there
  is no irreducible loss in it.

  Args:
    size: `[n]` parameters, tokens or FLOPs, > 0.
    loss: `[n]` > 0.
    level: of the exponent's interval, in (0, 1).

  Raises:
    ValueError: not two vectors of n >= 3 pairs, a value that has no finite
      logarithm, sizes that are all equal, or a level that is none.

  References:
    Kaplan et al. 2020, arXiv:2001.08361, for laws of this form.
  """
  x, y = np.asarray(size, float), np.asarray(loss, float)
  if x.shape != y.shape or x.ndim != 1:
    raise ValueError(f'{x.shape} and {y.shape}: give two vectors of pairs')
  n = len(x)
  if n < 3:
    raise ValueError(f'{n} points leave no residual: train 3 sizes or more')
  for name, values in (('size', x), ('loss', y)):
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
      raise ValueError(
        f'{name} {values[bad][0]} has no logarithm: leave the point out'
      )
  if np.ptp(x) == 0:
    raise ValueError('all sizes are equal: train at least two sizes')
  if not 0 < level < 1:
    raise ValueError(f'level={level}: give a share between 0 and 1')
  x, y = np.log(x), np.log(y)
  dx, dy = x - x.mean(), y - y.mean()
  exponent = float(dx @ dy / (dx @ dx))
  residual = dy - exponent * dx
  error = np.sqrt(residual @ residual / (n - 2) / (dx @ dx))
  width = float(stats.t.ppf(0.5 + 0.5 * level, n - 2) * error)
  flat = np.ptp(y) == 0
  return PowerLaw(
    exponent=exponent,
    exponent_low=exponent - width,
    exponent_high=exponent + width,
    coefficient=float(np.exp(y.mean() - exponent * x.mean())),
    r_squared=np.nan if flat else float(1 - residual @ residual / (dy @ dy)),
  )


def frontier(
  compute: Sequence[float] | np.ndarray, loss: Sequence[float] | np.ndarray
) -> np.ndarray:
  """Returns indices of the points on the lower envelope, by rising compute.

  A point is on it if its loss is lower than that of every other point with
  less or equal compute; of points that agree in both the first is taken.

  Args:
    compute: `[n]` FLOPs, of all runs and of all stages of a run.
    loss: `[n]`.

  Raises:
    ValueError: not two vectors of pairs, or a value that is NaN.
  """
  x, y = np.asarray(compute, float), np.asarray(loss, float)
  if x.shape != y.shape or x.ndim != 1:
    raise ValueError(f'{x.shape} and {y.shape}: give two vectors of pairs')
  if np.isnan(x).any() or np.isnan(y).any():
    raise ValueError('a point is NaN: leave runs that diverged out')
  order = np.lexsort((y, x))  # stable, by compute and then by loss
  sorted_loss = y[order]
  best = np.minimum.accumulate(np.append(np.inf, sorted_loss))[:-1]
  return order[sorted_loss < best]
