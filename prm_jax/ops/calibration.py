"""Whether uncertainty is what it says: intervals, rankings and abstention.

In float64 on the host, as all statistics. Calibration of a pair's probability
itself (ECE, reliability) stands in `ops/statistics.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from prm_jax import types
from prm_jax.ops import intervals, margins

_BINS = 20  # of RewardUQ's bounds, of equal width between 0 and 1


class Coverage(NamedTuple):
  """The share of targets inside their intervals, with its 95 % interval.

  Attributes:
    value: share of n.
    low, high: limits of Clopper and Pearson, for rows that are independent:
      they are too narrow where rows share a person, see `intervals.crossed`.
    n: rows.
  """

  value: float
  low: float
  high: float
  n: int


class Curve(NamedTuple):
  """What is left of a loss, or an accuracy, by how many rows are kept.

  Attributes:
    share: `[B]` of rows kept, the surest first: 1 / B, 2 / B, ... 1.
    value: `[B]` mean over those. Rows that are equally sure have the mean over
      all orders of them.
    area: mean of `value`, the area under the curve.
  """

  share: np.ndarray
  value: np.ndarray
  area: float


class Sharpness(NamedTuple):
  """How wide intervals are, whatever they cover.

  Attributes:
    width: mean of the finite ones, NaN if there are none.
    infinite: share that are not.
    n: rows.
  """

  width: float
  infinite: float
  n: int


# ------------------------------------------------------------------- intervals


def coverage(
  low: types.ArrayLike, high: types.ArrayLike, target: types.ArrayLike
) -> Coverage:
  """Returns the share of targets in [low, high], and of how many rows.

  Args:
    low: `[B]`, may be -inf.
    high: `[B]`, may be inf.
    target: `[B]`.

  Raises:
    ValueError: there are no rows, lengths differ, or something is NaN.

  Examples:
    >>> found = coverage([0, 0, 0, 0], [1, 1, 1, 1], [0.5, 1.0, 2.0, 0.2])
    >>> found.value, found.n
    (0.75, 4)
  """
  low, high, target = _rows(low=low, high=high, target=target)
  held = (low <= target) & (target <= high)
  n = len(held)
  return Coverage(*intervals.share(int(held.sum()), n), n)


def gaussian_intervals(
  mean: types.ArrayLike, deviation: types.ArrayLike, level: types.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
  """Returns central intervals of Gaussians, lower and upper ends `[L, B]`.

  Args:
    mean: `[B]`.
    deviation: `[B]` standard deviation, not below 0.
    level: `[L]` what they are to cover, in (0, 1).
  """
  mean, deviation = _rows(mean=mean, deviation=deviation)
  level = np.asarray(level, np.float64)
  width = special.ndtri(0.5 + 0.5 * level)[:, None] * deviation
  return mean - width, mean + width


def interval_ece(
  low: types.ArrayLike,
  high: types.ArrayLike,
  target: types.ArrayLike,
  level: types.ArrayLike,
) -> float:
  """Returns how far coverage is from what intervals are to cover, on average.

      sum_l |coverage_l - level_l| / L

  Args:
    low: `[L, B]` lower ends at each level.
    high: `[L, B]` upper ends.
    target: `[B]`.
    level: `[L]` nominal coverage, in [0, 1].

  References:
    Kuleshov, Fenner and Ermon 2018, arXiv:1807.00263.

  Notes:
    Absolute and not squared differences, all levels alike, as an expected
    calibration error has them.
  """
  level = np.asarray(level, np.float64)
  low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
  if (
    level.ndim != 1
    or not level.size
    or not (len(low) == len(high) == len(level))
  ):
    raise ValueError(
      f'level {level.shape}, low {low.shape} and high {high.shape}: give [L], '
      '[L, B] and [L, B]'
    )
  found = [coverage(a, b, target).value for a, b in zip(low, high, strict=True)]
  return float(np.mean(np.abs(np.array(found) - level)))


def sharpness(low: types.ArrayLike, high: types.ArrayLike) -> Sharpness:
  """Returns the mean width of intervals, and the share that are infinite.

  Args:
    low: `[B]`, may be -inf.
    high: `[B]`, may be inf.
  """
  low, high = _rows(low=low, high=high)
  finite = np.isfinite(low) & np.isfinite(high)
  width = float((high - low)[finite].mean()) if finite.any() else float('nan')
  return Sharpness(width, float(1 - finite.mean()), len(low))


def interval_score(
  low: types.ArrayLike,
  high: types.ArrayLike,
  target: types.ArrayLike,
  *,
  alpha: float,
) -> np.ndarray:
  """Returns width and what misses cost, `[B]`; the smaller the better.

      (high - low) + 2 / alpha (low - y)_+ + 2 / alpha (y - high)_+

  Its expectation is least at the quantiles alpha / 2 and 1 - alpha / 2.

  Args:
    low: `[B]`.
    high: `[B]`.
    target: `[B]` y.
    alpha: share that may be missed, in (0, 1).

  References:
    Gneiting and Raftery 2007, Strictly proper scoring rules.
  """
  low, high, target = _rows(low=low, high=high, target=target)
  missed = np.maximum(low - target, 0) + np.maximum(target - high, 0)
  return high - low + 2 / alpha * missed


def gaussian_crps(
  mean: types.ArrayLike, deviation: types.ArrayLike, target: types.ArrayLike
) -> np.ndarray:
  """Returns the continuous ranked probability score of Gaussians, `[B]`.

      sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)),  z = (y - mean) / sd

  In the target's unit, the smaller the better; of a point it is |y - mean|.

  Args:
    mean: `[B]`.
    deviation: `[B]` standard deviation sd, not below 0.
    target: `[B]` y.

  References:
    Gneiting and Raftery 2007, Strictly proper scoring rules.
  """
  mean, deviation, target = _rows(mean=mean, deviation=deviation, target=target)
  point = deviation == 0
  z = (target - mean) / np.where(point, 1.0, deviation)
  value = z * (2 * special.ndtr(z) - 1) + 2 * stats.norm.pdf(z)
  value = deviation * (value - 1 / np.sqrt(np.pi))
  return np.where(point, np.abs(target - mean), value)


# ------------------------------------------------------------------ abstention


def risk_coverage(loss: types.ArrayLike, uncertainty: types.ArrayLike) -> Curve:
  """Returns the mean loss of the rows kept, the surest first.

  Args:
    loss: `[B]` of every row.
    uncertainty: `[B]` larger where less sure; only its order matters.

  References:
    El-Yaniv and Wiener 2010; Geifman, Uziel and El-Yaniv 2019,
    arXiv:1805.08206 (the area, AURC).

  Examples:
    >>> curve = risk_coverage([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.3])
    >>> curve.value.round(3).tolist()
    [0.0, 0.0, 0.333, 0.5]
  """
  loss, uncertainty = _rows(loss=loss, uncertainty=uncertainty)
  _, group = np.unique(uncertainty, return_inverse=True)
  mean = np.bincount(group, loss) / np.bincount(group)
  kept = np.arange(1, len(loss) + 1)
  value = np.cumsum(mean[np.sort(group)]) / kept
  return Curve(kept / len(loss), value, float(value.mean()))


def excess_area(loss: types.ArrayLike, uncertainty: types.ArrayLike) -> float:
  """Returns by how much the area under the risk-coverage curve is too large.

  Against the order that knows every loss; 0 is as good as can be.

  Args:
    loss: `[B]` of every row.
    uncertainty: `[B]` larger where less sure.

  References:
    Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206 (E-AURC).
  """
  return risk_coverage(loss, uncertainty).area - risk_coverage(loss, loss).area


def selective_accuracy(
  probability: types.ArrayLike,
  label: types.ArrayLike,
  uncertainty: types.ArrayLike | None = None,
) -> Curve:
  """Returns the accuracy of the rows kept, the surest first.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.
    uncertainty: `[B]` larger where less sure, such as a margin's variance;
      how near the probability is to 1/2, if None.
  """
  margin = margins.margin(probability, label)
  if uncertainty is None:
    uncertainty = -np.abs(margin)
  return risk_coverage(margins.correct(margin), uncertainty)


# -------------------------------------------------------------------- rankings


class Confidence(NamedTuple):
  """How often pairs are judged right or wrong, surely or not; they sum to 1.

  Attributes:
    sure_right: the preferred answer's lower end is above the other's upper.
    sure_wrong: its upper end is below the other's lower.
    unsure_right: right by the scores alone.
    unsure_wrong: the rest; equal scores are wrong.
  """

  sure_right: float
  sure_wrong: float
  unsure_right: float
  unsure_wrong: float


def confidence(
  score: types.ArrayLike,
  low: types.ArrayLike,
  high: types.ArrayLike,
  label: types.ArrayLike,
) -> Confidence:
  """Returns how often intervals of two answers are apart, and rightly so.

  Args:
    score: `[B, 2]` of both answers.
    low: `[B, 2]` lower ends.
    high: `[B, 2]` upper ends.
    label: `[B]` 1 where the first is preferred, else 0.

  Raises:
    ValueError: there are no pairs, shapes differ, a label is neither, or a
      score is outside its interval.

  References:
    Yang et al. 2026 (RewardUQ), arXiv:2602.24040; `metrics.py` of its code.
  """
  score, low, high = (_chosen_first(x, label) for x in (score, low, high))
  if not (score.shape == low.shape == high.shape):
    raise ValueError('score, low and high are of the same pairs')
  if not ((low <= score) & (score <= high)).all():
    raise ValueError('every score lies in its interval, and is a number')
  right = float(np.mean(score[:, 0] > score[:, 1]))
  sure_right = float(np.mean(low[:, 0] > high[:, 1]))
  sure_wrong = float(np.mean(high[:, 0] < low[:, 1]))
  return Confidence(
    sure_right, sure_wrong, right - sure_right, 1 - right - sure_wrong
  )


def ranking_score(found: Confidence, *, balance: float = 0.2) -> float:
  """Returns RewardUQ's ranking score of methods, in [-1, 1].

      sure_right / ((1 - b) right + b) - sure_wrong / ((1 - b) wrong + b)

  with b the balance and right, wrong = 1 - right the shares by the scores
  alone; a part of 0 / 0 is 0. At b = 1 it is what is surely right less what is
  surely wrong; at b = 0 of what is right how much is sure, less the same of
  what is wrong, whatever the accuracy is.

  Args:
    found: of `confidence`.
    balance: b in [0, 1].

  References:
    Yang et al. 2026 (RewardUQ), arXiv:2602.24040.

  Notes:
    As in the released code, which reports b = 0, 0.01, 0.2 and 1 and has no
    default; which of them the paper ranks by was not found. Intervals are of
    single scores and not of the margin: what both answers share counts twice.
  """
  right = found.sure_right + found.unsure_right
  wrong = found.sure_wrong + found.unsure_wrong

  def part(sure, share):
    below = (1 - balance) * share + balance
    return sure / below if below > 0 else 0.0

  return part(found.sure_right, right) - part(found.sure_wrong, wrong)


def bound_ece(
  low: types.ArrayLike,
  high: types.ArrayLike,
  label: types.ArrayLike,
  *,
  bins: int = _BINS,
) -> float:
  """Returns by how much probabilities leave their bounds, on average.

      sum_b n_b / n (mean_b(low) - mean_b(y))_+

  over bins b of equal width of the lower bound, every pair in both orders, as
  (low, y) and (1 - high, 1 - y): the same of the upper bounds is the same
  number. Bounds that are too wide cost nothing; see `sharpness`. Where all lean
  to one side, one order's errors may hide the other's in a bin.

  Args:
    low: `[B]` lower bound of the probability that the first is preferred.
    high: `[B]` upper bound.
    label: `[B]` y, 1 or 0.
    bins: how many.

  References:
    Yang et al. 2026 (RewardUQ), arXiv:2602.24040; `elce` of its code.
  """
  # Both are probabilities, with strict labels.
  margins.margin(low, label)
  margins.margin(high, label)
  low, high, label = _rows(low=low, high=high, label=label)
  if not (low <= high).all():
    raise ValueError('a lower bound is above its upper bound')
  bound = np.concatenate([low, 1 - high])
  y = np.concatenate([label, 1 - label])
  place = np.minimum((bound * bins).astype(np.int64), bins - 1)
  excess = np.bincount(place, bound - y, bins)
  return float(np.maximum(excess, 0).sum() / len(bound))


# ------------------------------------------------------------------------ rows


def _chosen_first(values, label):
  """Returns `[B, 2]` with the preferred answer first."""
  values, y = np.asarray(values, np.float64), np.asarray(label)
  if values.ndim != 2 or values.shape != (len(y), 2) or not len(y):
    raise ValueError(f'{values.shape} of {y.shape} labels: give [B, 2] and [B]')
  if not np.isin(y, (0, 1)).all():
    raise ValueError('drop rows whose label is not 0 or 1')
  return np.where((y == 1)[:, None], values, values[:, ::-1])


def _rows(**columns: types.ArrayLike) -> Sequence[np.ndarray]:
  """Returns vectors of one length in float64, after checking them."""
  found = {k: np.asarray(v, np.float64) for k, v in columns.items()}
  shapes = {k: v.shape for k, v in found.items()}
  if len(set(shapes.values())) > 1 or any(v.ndim != 1 for v in found.values()):
    raise ValueError(f'{shapes}: give vectors of one length')
  if not all(v.size for v in found.values()):
    raise ValueError('there are no rows')
  for name, column in found.items():
    if np.isnan(column).any():
      raise ValueError(f'{name}[{np.flatnonzero(np.isnan(column))[0]}] is NaN')
  return tuple(found.values())
