"""Strengths of n candidates from comparisons of pairs, in float64.

Pairs are `[C, 2]`, two different candidates as shown; outcomes `[C]` are the
probability that the first is better: 1, 0, 0.5 for a tie, NaN for a judgement
that is invalid, which counts nowhere.
"""

from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.sparse import csgraph

_STEPS = 200  # of Newton's method
_SMALL = 1e-10  # a step, in logits, after which it stops


class Strengths(NamedTuple):
  """Strengths in logits, around a mean of 0.

  Attributes:
    value: `[n]`, with mean 0 over all candidates, or over each component where
      there is no ridge.
    error: `[n]` standard error of the value; inf where nothing tells it.
    covariance: `[n, n]` of the values: a difference of two that one component
      has, or with a ridge of any two, has the variance c_ii + c_jj - 2 c_ij.
    component: `[n]` int. Only candidates of one component were compared with
      one another, if over others; without a ridge, values of two components
      say nothing about who is better.
  """

  value: np.ndarray
  error: np.ndarray
  covariance: np.ndarray
  component: np.ndarray


def told(
  pairs: np.ndarray, outcome: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the pairs `[C', 2]` and outcomes `[C']` that are valid.

  Args:
    pairs: `[C, 2]` int, from 0 to n - 1.
    outcome: `[C]` probability that the first is better, or NaN.
    n: number of candidates.

  Raises:
    ValueError: shapes do not fit, a candidate is not there or compared with
      itself, or an outcome is no probability.
  """
  pairs = np.asarray(pairs, int).reshape(-1, 2)
  outcome = np.asarray(outcome, float)
  if outcome.shape != (len(pairs),):
    raise ValueError(f'{len(pairs)} pairs, outcomes {outcome.shape}')
  if np.any((pairs < 0) | (pairs >= n) | (pairs == pairs[:, ::-1])):
    raise ValueError(f'pairs are of two different candidates of {n}')
  if np.any((outcome < 0) | (outcome > 1)):
    raise ValueError('outcomes are probabilities, NaN where invalid')
  valid = ~np.isnan(outcome)
  return pairs[valid], outcome[valid]


def counts(pairs: np.ndarray, outcome: np.ndarray, n: int) -> np.ndarray:
  """Returns how many valid comparisons each candidate had, `[n]`.

  Args:
    pairs: `[C, 2]` int.
    outcome: `[C]` probability that the first is better, or NaN.
    n: number of candidates.
  """
  return np.bincount(told(pairs, outcome, n)[0].ravel(), minlength=n)


def win_rate(pairs: np.ndarray, outcome: np.ndarray, n: int) -> np.ndarray:
  """Returns each candidate's share of wins `[n]`, ties half; NaN if none.

  Args:
    pairs: `[C, 2]` int.
    outcome: `[C]` probability that the first is better, or NaN.
    n: number of candidates.
  """
  pairs, outcome = told(pairs, outcome, n)
  won = np.bincount(pairs[:, 0], outcome, n)
  won += np.bincount(pairs[:, 1], 1.0 - outcome, n)
  count = np.bincount(pairs.ravel(), minlength=n)
  return np.divide(won, count, out=np.full(n, np.nan), where=count > 0)


def elo(
  pairs: np.ndarray,
  outcome: np.ndarray,
  n: int,
  *,
  k: float = 32.0,
  scale: float = 400.0,
) -> np.ndarray:
  """Returns Elo ratings `[n]`, from 0, after comparisons in the order given.

      r_i += k (y - 1 / (1 + 10^((r_j - r_i) / scale))), and r_j as much less

  The last comparisons count most; `bradley_terry` does not depend on their
  order.

  Args:
    pairs: `[C, 2]` int.
    outcome: `[C]` y, probability that the first is better, or NaN.
    n: number of candidates.
    k: points that a sure thing which fails moves.
    scale: points by which one is better whose odds are 10 to 1.

  References:
    Elo 1978, The rating of chess players; of answers, Guo et al. 2025 (RRM),
    arXiv:2505.14674.

  Notes:
    k and scale are those of chess; those of RRM's ratings were not found.
  """
  rating = np.zeros(n)
  for (i, j), y in zip(*told(pairs, outcome, n), strict=True):
    odds = np.log(10.0) * (rating[i] - rating[j]) / scale
    moved = k * (y - special.expit(odds))
    rating[i] += moved
    rating[j] -= moved
  return rating


def bradley_terry(
  pairs: np.ndarray, outcome: np.ndarray, n: int, *, ridge: float = 0.0
) -> Strengths:
  """Returns the most likely strengths, with their standard errors.

      max over s of sum y log sigma(s_i - s_j) + (1 - y) log sigma(s_j - s_i)
                    - ridge / 2 |s|^2

  by Newton's method. Errors are those of the curvature at the maximum, each
  comparison being independent; a soft outcome counts as one comparison.

  Args:
    pairs: `[C, 2]` int.
    outcome: `[C]` y, probability that the first is better, or NaN.
    n: number of candidates.
    ridge: >= 0, the precision of a normal prior around 0, per logit squared.
      It makes every value finite, and compares those of different components.

  Raises:
    ValueError: without a ridge, some candidates of a component never lost
      to the others, so that no finite strengths are most likely; or the ridge
      is negative.

  References:
    Bradley and Terry 1952; when a maximum exists: Ford 1957, Solution of a
    ranking problem from binary comparisons.
  """
  if ridge < 0:
    raise ValueError(f'ridge {ridge}: not below 0')
  pairs, outcome = told(pairs, outcome, n)
  component = _components(pairs, outcome, n, finite=ridge == 0)
  group = component if ridge == 0 else np.zeros(n, int)
  same = group[:, None] == group
  level = same / same.sum(1)  # averages over a group
  value = np.zeros(n)
  for _ in range(_STEPS):
    gradient, curvature = _derivatives(value, pairs, outcome, ridge)
    step = np.linalg.solve(curvature + level, gradient)
    now = _objective(value, pairs, outcome, ridge)
    while _objective(value + step, pairs, outcome, ridge) < now - 1e-9 * abs(
      now
    ):
      step /= 2
    value = value + step
    if np.max(np.abs(step), initial=0.0) < _SMALL:
      break
  else:
    raise ValueError(f'no maximum within {_STEPS} steps')
  curvature = _derivatives(value, pairs, outcome, ridge)[1]
  centring = np.eye(n) - level
  covariance = centring @ np.linalg.solve(curvature + level, centring)
  error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
  if ridge == 0:
    error = np.where(same.sum(1) == 1, np.inf, error)
  return Strengths(value - level @ value, error, covariance, component)


def _objective(
  value: np.ndarray, pairs: np.ndarray, outcome: np.ndarray, ridge: float
) -> float:
  d = value[pairs[:, 0]] - value[pairs[:, 1]]
  nll = outcome * np.logaddexp(0, -d) + (1 - outcome) * np.logaddexp(0, d)
  return float(-nll.sum() - 0.5 * ridge * value @ value)


def _derivatives(
  value: np.ndarray, pairs: np.ndarray, outcome: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the gradient `[n]` and minus the second derivatives `[n, n]`."""
  n, (i, j) = len(value), pairs.T
  p = special.expit(value[i] - value[j])
  gradient = np.bincount(i, outcome - p, n) - np.bincount(j, outcome - p, n)
  between = np.zeros((n, n))
  np.add.at(between, (i, j), p * (1 - p))
  between += between.T
  curvature = np.diag(between.sum(1) + ridge) - between
  return gradient - ridge * value, curvature


def _components(
  pairs: np.ndarray, outcome: np.ndarray, n: int, *, finite: bool
) -> np.ndarray:
  """Returns the component of each `[n]`; refuses one without a maximum."""
  beat = np.zeros((n, n), bool)
  (i, j), some = pairs.T, outcome > 0
  beat[i[some], j[some]] = True
  some = outcome < 1
  beat[j[some], i[some]] = True
  number, component = csgraph.connected_components(beat, connection='weak')
  if not finite:
    return component
  if csgraph.connected_components(beat, connection='strong')[0] != number:
    raise ValueError(
      'some candidates never lost to others that they were compared with: '
      'no finite strengths are most likely without a ridge'
    )
  return component
