"""What is reported of predictions: metrics and intervals over people.

Everything starts from `Run`s: the predictions of one seed, a row a judgement.
Every metric depends on a row only through its margin
`(probability - 1/2) (2 label - 1)`, so that exchanging the two answers and
the label changes nothing. Intervals are percentile intervals of a bootstrap
over people, because people are what is generalised over. Several runs of the
same people are averaged before people are resampled: sums of a person over
the runs in which they occur, and metrics that are not sums (AUC, calibration
error, worst decile) over runs, under the same resampled people.
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from prm_jax import types

METRICS = (
  'accuracy',
  'auc',
  'nll',
  'ece',
  'macro_accuracy',
  'worst_decile_accuracy',
)
CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in the NLL
CALIBRATION_BINS = 15  # of equal width, over confidences from 1/2 to 1
RANK_BINS = 512  # of |margin|, for the AUC of a replicate
HALF_SPLITS = 20
WORST_SHARE = 0.1
WORST_PAIRS = 20  # a person with fewer pairs has no worst-decile accuracy
WORST_PEOPLE = 10  # with fewer people there is no worst decile
_ROUNDING = 1e-12  # replicates that differ by less are the same
_CHUNK = 2**25  # numbers in the largest temporary array


class Run(NamedTuple):
  """Predictions of one seed.

  Attributes:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0; ties are dropped by the caller.
    person: `[B]` who judged; the same key is the same person in every run.
  """

  probability: types.ArrayLike
  label: types.ArrayLike
  person: types.ArrayLike


class _Rows(NamedTuple):
  """Runs, checked: person keys `[U]`, and per run rows into them `[B]`."""

  people: np.ndarray
  position: list[np.ndarray]
  margin: list[np.ndarray]


class _Halves(NamedTuple):
  """Random halves of eligible people's pairs, one a row.

  Attributes:
    people: `[S, E]` indices, from the worst to the best on the first half.
    measured: `[S, E]` their accuracy on the second half.
  """

  people: np.ndarray
  measured: np.ndarray


def accuracy(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the share of rows predicted right; 1/2 for a probability of 1/2.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.
  """
  return float(_correct(_margin(probability, label)).mean())


def auc(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the symmetrised area under the ROC curve, ties counting half.

  Every pair enters in both orders, as (p, y) and (1 - p, 1 - y): the chance
  that the margin of a random row exceeds the negated margin of another,
  `P(m_i > -m_j) + P(m_i = -m_j) / 2`.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.
  """
  return _exact_auc(_margin(probability, label))


def nll(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the mean negative log-likelihood in nats.

  Args:
    probability: `[B]`, clipped to `[1e-7, 1 - 1e-7]`.
    label: `[B]` 1 or 0.
  """
  return float(_nll(_margin(probability, label)).mean())


def ece(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the expected calibration error of the confidence max(p, 1 - p).

  `sum_b |sum_{i in b} (confidence_i - correct_i)| / B` over 15 bins b of
  equal width between 1/2 and 1.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.

  References:
    Guo et al. 2017, arXiv:1706.04599.
  """
  margin = _margin(probability, label)
  gap = 0.5 + np.abs(margin) - _correct(margin)
  sums = np.bincount(_confidence_bin(margin), gap, CALIBRATION_BINS)
  return float(np.abs(sums).sum() / margin.size)


def summarize(
  runs: Sequence[Run], *, replicates: int = 1000, seed: int = 0
) -> dict[str, float | int]:
  """Returns every metric with its 95 % interval over people.

  The worst decile is chosen on a random half of everybody's pairs and
  measured on the other half, so that chance in the choice does not lower it;
  the mean of 20 such splits is reported, over people with at least 20 pairs.

  Args:
    runs: predictions of one or several seeds.
    replicates: bootstrap replicates R.
    seed: of the bootstrap and of the half splits.

  Returns:
    `METRICS`, each with `_low` and `_high`, NaN for one person alone and where
    nothing varies; `people`, `pairs` (a run, on
    average), `seeds`, and `worst_decile_people`: how many people the worst
    decile is taken of, 0 and a value of NaN if fewer than 10.

  Raises:
    ValueError: there are no rows, or a row is not a probability with a strict
      label.
  """
  rng = np.random.default_rng(seed)
  rows = _rows(runs)
  people = len(rows.people)
  halves = [
    _half_accuracies(rng, index, _correct(margin), people)
    for index, margin in zip(rows.position, rows.margin, strict=True)
  ]
  point = _evaluate(rows, halves, np.ones((1, people)))
  point['auc'] = np.array([np.mean([_exact_auc(m) for m in rows.margin])])
  chunks = [
    _evaluate(rows, halves, weights)
    for weights in _person_weights(rng, people, replicates)
  ]
  summary: dict[str, float | int] = {}
  for name in METRICS:
    value = float(point[name][0])
    replicate = np.concatenate([chunk[name] for chunk in chunks])
    if name == 'ece':
      # Noise adds to absolute gaps, and resampling adds it a second time.
      replicate = np.maximum(0, replicate - np.nanmean(replicate) + value)
    low, high = _over_people(replicate, people)
    summary |= {
      name: value,
      f'{name}_low': low,
      f'{name}_high': high,
    }
  eligible = min(half.people.shape[1] for half in halves)
  return summary | {
    'people': people,
    'pairs': _pairs(rows),
    'seeds': len(runs),
    'worst_decile_people': eligible if eligible >= WORST_PEOPLE else 0,
  }


def paired_gain(
  personal: Sequence[Run],
  baseline: Sequence[Run],
  *,
  replicates: int = 1000,
  seed: int = 0,
) -> dict[str, float | int]:
  """Returns the accuracy gained over a baseline on the same rows.

  `smallest_detectable_gain = (z_0.975 + z_0.8) SE`: a gain of this size is
  found by a two-sided test at 5 % in 80 of 100 repetitions with new people.

  Args:
    personal: predictions of one or several seeds.
    baseline: the same rows, in the same order, predicted by the baseline.
    replicates: bootstrap replicates R.
    seed: of the bootstrap.

  Returns:
    `gain` (rows pooled) and `macro_gain` (people weigh the same) with `_low`
    and `_high`, NaN for one person alone and where nothing varies, and so are
    the next two; `standard_error` of the gain, `smallest_detectable_gain`,
    `people`, `pairs` (a run, on average) and `seeds`.

  Raises:
    ValueError: the two do not hold the same rows.
  """
  rng = np.random.default_rng(seed)
  rows, sums = _gain_sums(personal, baseline)
  point = _gains(sums, np.ones((1, len(sums))))
  chunks = [
    _gains(sums, weights)
    for weights in _person_weights(rng, len(sums), replicates)
  ]
  replicate = {
    name: np.concatenate([chunk[name] for chunk in chunks]) for name in point
  }
  summary: dict[str, float | int] = {}
  for name, value in point.items():
    low, high = _over_people(replicate[name], len(sums))
    summary |= {name: float(value[0]), f'{name}_low': low, f'{name}_high': high}
  error = float(replicate['gain'].std(ddof=1))
  if np.isnan(summary['gain_low']):
    error = float('nan')
  normal = NormalDist()
  return summary | {
    'standard_error': error,
    'smallest_detectable_gain': error
    * (normal.inv_cdf(0.975) + normal.inv_cdf(0.8)),
    'people': len(rows.people),
    'pairs': _pairs(rows),
    'seeds': len(personal),
  }


def person_gain(
  personal: Sequence[Run], baseline: Sequence[Run]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the person keys and the accuracy gained for each, both `[U]`.

  Args:
    personal: predictions of one or several seeds.
    baseline: the same rows, in the same order, predicted by the baseline.
  """
  rows, sums = _gain_sums(personal, baseline)
  return rows.people, sums[:, 1] / sums[:, 0]


def calibration(runs: Sequence[Run]) -> list[dict[str, float]]:
  """Returns a row for each confidence bin that is not empty, runs pooled.

  Args:
    runs: predictions of one or several seeds.

  Returns:
    Rows of `bin_low`, `bin_high`, mean `confidence`, `accuracy` and `pairs`
    (a run, on average).
  """
  margin = np.concatenate(_rows(runs).margin)
  place = _confidence_bin(margin)
  pairs, confidence, correct = (
    np.bincount(place, values, CALIBRATION_BINS)
    for values in (None, 0.5 + np.abs(margin), _correct(margin))
  )
  edges = np.linspace(0.5, 1, CALIBRATION_BINS + 1)
  return [
    {
      'bin_low': float(edges[b]),
      'bin_high': float(edges[b + 1]),
      'confidence': float(confidence[b] / pairs[b]),
      'accuracy': float(correct[b] / pairs[b]),
      'pairs': float(pairs[b] / len(runs)),
    }
    for b in np.flatnonzero(pairs)
  ]


def bootstrap_weights(
  group: np.ndarray, replicates: int, *, resample_groups: bool, seed: int = 0
) -> np.ndarray:
  """Returns weights `[R, n]` of a bootstrap, each row with mean 1.

  Args:
    group: `[n]` of every person: the simulated seed they belong to.
    replicates: R.
    resample_groups: draw groups first and people within them, as is right
      where everybody of a group shares something drawn; else people alone.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  n = len(group)
  if not resample_groups:
    share = np.full(n, 1 / n)
    return rng.multinomial(n, share, replicates).astype(float)
  names, group = np.unique(group, return_inverse=True)
  size = np.bincount(group)
  G = len(names)
  weights = np.zeros((replicates, n))
  times = rng.multinomial(G, np.full(G, 1 / G), replicates)
  for g in range(G):
    share = np.full(size[g], 1 / size[g])
    drawn = rng.multinomial(times[:, g] * size[g], share)
    weights[:, group == g] = drawn
  return weights / weights.mean(1, keepdims=True)


def _over_people(replicates: np.ndarray, people: int) -> tuple[float, float]:
  """Returns an interval, or NaN: one person, or no variation, tells nothing."""
  known = replicates[~np.isnan(replicates)]
  if people < 2 or not known.size or np.ptp(known) < _ROUNDING:
    return float('nan'), float('nan')
  return interval(replicates)


def interval(values: np.ndarray) -> tuple[float, float]:
  """Returns the 2.5 and 97.5 percentiles of `[R]`, leaving out NaN."""
  values = values[~np.isnan(values)]
  if not values.size:
    return float('nan'), float('nan')
  low, high = np.percentile(values, (2.5, 97.5))
  return float(low), float(high)


# ---------------------------------------------------------------------- rows


def _margin(probability: types.ArrayLike, label: types.ArrayLike) -> np.ndarray:
  """Returns (p - 1/2) (2 y - 1), `[B]`, after checking both."""
  p = np.asarray(probability, np.float64)
  y = np.asarray(label, np.float64)
  if p.ndim != 1 or p.shape != y.shape:
    raise ValueError(
      f'probability {p.shape} and label {y.shape} must be two vectors of the '
      'same length.'
    )
  if not p.size:
    raise ValueError('There are no rows to compute statistics of.')
  if (bad := np.flatnonzero(~((p >= 0) & (p <= 1)))).size:
    raise ValueError(
      f'probability[{bad[0]}] is {p[bad[0]]}; it must lie in [0, 1].'
    )
  if (bad := np.flatnonzero((y != 0) & (y != 1))).size:
    raise ValueError(
      f'label[{bad[0]}] is {y[bad[0]]}; drop rows whose label is not 0 or 1.'
    )
  return (p - 0.5) * (2 * y - 1)


def _correct(margin: np.ndarray) -> np.ndarray:
  """Returns 1 where right, 0 where wrong, 1/2 where undecided, `[B]`."""
  return 0.5 + 0.5 * np.sign(margin)


def _nll(margin: np.ndarray) -> np.ndarray:
  return -np.log(np.clip(0.5 + margin, CLIP, 1 - CLIP))


def _confidence_bin(margin: np.ndarray) -> np.ndarray:
  place = np.abs(margin) * (2 * CALIBRATION_BINS)
  return np.minimum(place.astype(np.int64), CALIBRATION_BINS - 1)


def _rows(runs: Sequence[Run]) -> _Rows:
  if not runs:
    raise ValueError('There are no runs to compute statistics of.')
  margin = [_margin(run.probability, run.label) for run in runs]
  person = [np.asarray(run.person) for run in runs]
  for number, (m, who) in enumerate(zip(margin, person, strict=True)):
    if m.shape != who.shape:
      raise ValueError(
        f'Run {number} has {m.size} probabilities, but person has the shape '
        f'{who.shape}; give one person a row.'
      )
  people, position = np.unique(np.concatenate(person), return_inverse=True)
  ends = np.cumsum([m.size for m in margin])[:-1]
  return _Rows(people, np.split(position, ends), margin)


def _pairs(rows: _Rows) -> int:
  return round(sum(m.size for m in rows.margin) / len(rows.margin))


def _person_sums(rows: _Rows, columns: list[list[np.ndarray]]) -> np.ndarray:
  """Returns rows and columns summed by person, averaged over runs `[U, C]`.

  Args:
    rows: of every run.
    columns: C - 1 lists of one array `[B]` a run; a count comes first.
  """
  people = len(rows.people)
  total = np.zeros((people, 1 + len(columns)))
  occurs = np.zeros((people, 1))
  for run, index in enumerate(rows.position):
    pairs = np.bincount(index, minlength=people)
    sums = [np.bincount(index, column[run], people) for column in columns]
    total += np.stack([pairs, *sums], axis=1)
    occurs += pairs[:, None] > 0
  return total / occurs


# ----------------------------------------------------------------- bootstrap


def _person_weights(
  rng: np.random.Generator, people: int, replicates: int
) -> Iterator[np.ndarray]:
  """Yields how often each person is drawn, float32 `[<=R, U]`."""
  size = max(1, _CHUNK // people)
  for start in range(0, replicates, size):
    count = min(size, replicates - start)
    drawn = rng.integers(people, size=(count, people))
    drawn += people * np.arange(count)[:, None]
    flat = np.bincount(drawn.ravel(), minlength=count * people)
    yield flat.reshape(count, people).astype(np.float32)


def _evaluate(
  rows: _Rows, halves: list[_Halves], weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns every metric under each row of `weights` `[R, U]`, `[R]`."""
  correct = [_correct(margin) for margin in rows.margin]
  sums = _person_sums(rows, [correct, [_nll(m) for m in rows.margin]])
  pairs, right, loss = _weighted(weights, sums).T
  macro = _weighted(weights, (sums[:, 1] / sums[:, 0])[:, None])[:, 0]
  runs = list(zip(rows.position, rows.margin, strict=True))
  over_runs = {
    'auc': [_binned_auc(*run, weights) for run in runs],
    'ece': [_weighted_ece(*run, weights) for run in runs],
    'worst_decile_accuracy': [_worst_decile(half, weights) for half in halves],
  }
  return {
    'accuracy': right / pairs,
    'nll': loss / pairs,
    'macro_accuracy': macro / weights.sum(axis=1),
    **{name: np.mean(values, axis=0) for name, values in over_runs.items()},
  }


def _gain_sums(
  personal: Sequence[Run], baseline: Sequence[Run]
) -> tuple[_Rows, np.ndarray]:
  """Returns the rows, and by person pairs and pairs gained `[U, 2]`."""
  if len(personal) != len(baseline):
    raise ValueError(
      f'{len(personal)} personal runs cannot be paired with {len(baseline)} '
      'baseline runs; give one baseline run for each.'
    )
  for number, (one, other) in enumerate(zip(personal, baseline, strict=True)):
    for field in ('label', 'person'):
      if not np.array_equal(getattr(one, field), getattr(other, field)):
        raise ValueError(
          f'Run {number}: the column {field!r} of personal and baseline '
          'differs; both must hold the same rows in the same order.'
        )
  rows, base = _rows(personal), _rows(baseline)
  gained = [
    _correct(one) - _correct(other)
    for one, other in zip(rows.margin, base.margin, strict=True)
  ]
  return rows, _person_sums(rows, [gained])


def _gains(sums: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
  pairs, gained = _weighted(weights, sums).T
  macro = _weighted(weights, (sums[:, 1] / sums[:, 0])[:, None])[:, 0]
  return {
    'gain': gained / pairs,
    'macro_gain': macro / weights.sum(axis=1),
  }


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Returns weights @ values, `[R, C]`, in the precision of the weights."""
  return (weights @ values.astype(weights.dtype)).astype(np.float64)


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
  """Returns total / count, NaN where the count is 0."""
  nothing = np.full(np.shape(total), np.nan)
  return np.divide(total, count, out=nothing, where=count > 0)


def _weighted_ece(
  index: np.ndarray, margin: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  people = weights.shape[1]
  gap = 0.5 + np.abs(margin) - _correct(margin)
  place = index * CALIBRATION_BINS + _confidence_bin(margin)
  sums = np.bincount(place, gap, people * CALIBRATION_BINS)
  sums = _weighted(weights, sums.reshape(people, CALIBRATION_BINS))
  pairs = np.bincount(index, minlength=people)[:, None]
  return _ratio(np.abs(sums).sum(axis=1), _weighted(weights, pairs)[:, 0])


def _exact_auc(margin: np.ndarray) -> float:
  negated = np.sort(-margin)
  below = np.searchsorted(negated, margin, 'left')
  not_above = np.searchsorted(negated, margin, 'right')
  return float((below + not_above).mean() / (2 * margin.size))


def _binned_auc(
  index: np.ndarray, margin: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  """Returns the AUC `[R]` from histograms of margins by person.

  Bins are ranks of |margin|, so that negating a margin mirrors its bin; two
  rows in one bin count as a tie.
  """
  people = weights.shape[1]
  size = np.abs(margin)
  grid = np.linspace(0, 1, RANK_BINS + 1)
  # Edges are values that occur: few distinct values get a bin each.
  edges = np.unique(np.quantile(size, grid, method='inverted_cdf'))
  bins = 2 * edges.size + 1
  rank = 1 + np.searchsorted(edges, size, 'left')
  place = edges.size + np.sign(margin).astype(np.int64) * rank
  order = np.argsort(index, kind='stable')
  index, place = index[order], place[order]
  histogram = np.zeros((len(weights), bins), weights.dtype)
  step = max(1, _CHUNK // bins)
  for start in range(0, people, step):
    count = min(step, people - start)
    begin, end = np.searchsorted(index, (start, start + count))
    flat = (index[begin:end] - start) * bins + place[begin:end]
    by_person = np.bincount(flat, minlength=count * bins).reshape(count, bins)
    histogram += weights[:, start : start + count] @ by_person.astype(
      weights.dtype
    )
  positive = histogram.astype(np.float64)
  negative = positive[:, ::-1]
  below = np.cumsum(negative, axis=1) - negative / 2
  wins = np.einsum('rb,rb->r', positive, below)
  return _ratio(wins, positive.sum(axis=1) ** 2)


# -------------------------------------------------------------- worst decile


def _half_accuracies(
  rng: np.random.Generator, index: np.ndarray, correct: np.ndarray, people: int
) -> _Halves:
  """Returns random halves of everybody's pairs, people ordered on the first."""
  pairs = np.bincount(index, minlength=people)
  start = np.cumsum(pairs) - pairs
  eligible = np.flatnonzero(pairs >= WORST_PAIRS)
  first_size = pairs // 2
  order = np.empty((HALF_SPLITS, eligible.size), np.int64)
  measured = np.empty((HALF_SPLITS, eligible.size))
  for split in range(HALF_SPLITS):
    shuffled = np.argsort(index + rng.random(index.size))
    who = index[shuffled]
    first = np.arange(who.size) - start[who] < first_size[who]
    right = correct[shuffled]
    chosen, other = (
      np.bincount(who[half], right[half], people)[eligible]
      for half in (first, ~first)
    )
    # Equal accuracies are ordered by chance, not by who comes first.
    tie = rng.random(eligible.size)
    worst_first = np.lexsort((tie, chosen / first_size[eligible]))
    order[split] = eligible[worst_first]
    accuracy_left = other / (pairs - first_size)[eligible]
    measured[split] = accuracy_left[worst_first]
  return _Halves(order, measured)


def _worst_decile(halves: _Halves, weights: np.ndarray) -> np.ndarray:
  """Returns the mean accuracy `[R]` of the worst tenth of the weight."""
  eligible = halves.people.shape[1]
  if eligible < WORST_PEOPLE:
    return np.full(len(weights), np.nan)
  limit = WORST_SHARE * weights[:, halves.people[0]].sum(axis=1, keepdims=True)
  # A tenth of the weight never reaches far beyond a tenth of the people.
  reach = eligible // 4 + 20
  total = np.zeros(len(weights))
  for people, measured in zip(halves.people, halves.measured, strict=True):
    weight = weights[:, people[:reach]]
    before = np.cumsum(weight, axis=1) - weight
    taken = np.clip(limit - before, 0, weight)
    total += _ratio(taken @ measured[:reach], taken.sum(axis=1))
  return total / HALF_SPLITS
