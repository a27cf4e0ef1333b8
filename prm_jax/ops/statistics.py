"""What is reported of predictions: metrics and intervals over people.

Everything starts from `Run`s: the predictions of one seed, a row a judgement.
Every metric depends on a row only through its margin
`(probability - 1/2) (2 label - 1)`, so that exchanging the two answers and
the label changes nothing. Where rows say what they are about besides a person
(`Run.units`: debates, jokes, prompts), intervals are over new people and new
ones of these at once (`intervals.crossed`), for metrics that are not sums to
first order, and the worst decile's over people alone; where they do not,
intervals are percentile intervals of a bootstrap over people. `resampled` says
which. Several runs of the same people are averaged first: sums of a person
over the runs in which they occur, and metrics that are not sums (AUC,
calibration error, worst decile) over runs.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.ops import intervals, margins, resampled

METRICS = (
  'accuracy',
  'auc',
  'nll',
  'ece',
  'macro_accuracy',
  'worst_decile_accuracy',
)
_ROUNDING = 1e-12  # replicates that differ by less are the same


class Units(NamedTuple):
  """What rows are about, besides whose they are.

  Attributes:
    name: what these are called, such as 'debates'.
    of: `[B]` of every row, or `[B, 2]` where a row is about two of them.
  """

  name: str
  of: types.ArrayLike


class Run(NamedTuple):
  """Predictions of one seed.

  Attributes:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0; ties are dropped by the caller.
    person: `[B]` who judged; the same key is the same person in every run.
    units: what is generalised over besides people; None: people alone.
  """

  probability: types.ArrayLike
  label: types.ArrayLike
  person: types.ArrayLike
  units: Units | None = None

  def take(self, rows: np.ndarray) -> 'Run':
    """Returns some rows, by number or mask."""
    units = self.units
    if units is not None:
      units = units._replace(of=np.asarray(units.of)[rows])
    probability, label, person = (np.asarray(leaf)[rows] for leaf in self[:3])
    return Run(probability, label, person, units)


class _Rows(NamedTuple):
  """Runs, checked.

  Attributes:
    people: keys `[U]`.
    position: per run, rows into them `[B]`.
    margin: per run, `[B]`.
    shared: which rows of all runs share a person or a unit; None: people alone.
    resampled: what intervals are over, in words.
  """

  people: np.ndarray
  position: list[np.ndarray]
  margin: list[np.ndarray]
  shared: intervals.Crossing | None
  resampled: str

  @property
  def weight(self) -> np.ndarray:
    """Returns 1 / (runs in which the row's person occurs), of all rows."""
    occurs = sum(
      (np.bincount(p, minlength=len(self.people)) > 0).astype(float)
      for p in self.position
    )
    return 1 / np.asarray(occurs)[np.concatenate(self.position)]


def accuracy(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the share of rows predicted right; 1/2 for a probability of 1/2.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.
  """
  return float(margins.correct(margins.margin(probability, label)).mean())


def auc(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the symmetrised area under the ROC curve, ties counting half.

  Every pair enters in both orders, as (p, y) and (1 - p, 1 - y): the chance
  that the margin of a random row exceeds the negated margin of another,
  `P(m_i > -m_j) + P(m_i = -m_j) / 2`.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.
  """
  return float(margins.wins(margins.margin(probability, label)).mean())


def nll(probability: types.ArrayLike, label: types.ArrayLike) -> float:
  """Returns the mean negative log-likelihood in nats.

  Args:
    probability: `[B]`, clipped to `[1e-7, 1 - 1e-7]`.
    label: `[B]` 1 or 0.
  """
  return float(margins.nll(margins.margin(probability, label)).mean())


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
  return float(margins.ece_rows(margins.margin(probability, label)).mean())


def summarize(
  runs: Sequence[Run], *, replicates: int = 1000, seed: int = 0
) -> dict[str, Any]:
  """Returns every metric with its 95 % interval over what is resampled.

  The worst decile is chosen on a random half of everybody's pairs and
  measured on the other half, so that chance in the choice does not lower it;
  the mean of 20 such splits is reported, over people with at least 20 pairs.

  Args:
    runs: predictions of one or several seeds.
    replicates: bootstrap replicates R.
    seed: of the bootstrap and of the half splits.

  Returns:
    `METRICS`, each with `_low` and `_high`, NaN for one person alone and where
    nothing varies; `resampled` in words, `people`, `units` where those are
    resampled too, `coverage` where either is fewer than 12, `pairs` (a run, on
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
    resampled.half_accuracies(rng, index, margins.correct(margin), people)
    for index, margin in zip(rows.position, rows.margin, strict=True)
  ]
  point = _evaluate(rows, halves, np.ones((1, people)))
  point['auc'] = np.array(
    [np.mean([margins.wins(m).mean() for m in rows.margin])]
  )
  crossed = _crossed_metrics(rows)
  names = [name for name in METRICS if name not in crossed]
  chunks = [
    _evaluate(rows, halves, weights, names)
    for weights in resampled.person_weights(rng, people, replicates)
  ]
  summary: dict[str, Any] = {}
  for name in METRICS:
    value = float(point[name][0])
    if name in crossed:
      # A symmetric interval may leave what the metric can be.
      low, high = np.clip(
        (crossed[name].low, crossed[name].high),
        0.0,
        np.inf if name == 'nll' else 1.0,
      ).tolist()
    else:
      replicate = np.concatenate([chunk[name] for chunk in chunks])
      if name == 'ece':
        # Noise adds to absolute gaps, and resampling adds it a second time.
        replicate = np.maximum(0, replicate - np.nanmean(replicate) + value)
      low, high = _over_people(replicate, people)
    summary |= {name: value, f'{name}_low': low, f'{name}_high': high}
  eligible = min(half.people.shape[1] for half in halves)
  return summary | {
    **_counts(rows),
    'seeds': len(runs),
    'worst_decile_people': eligible
    if eligible >= resampled.WORST_PEOPLE
    else 0,
  }


def paired_gain(
  personal: Sequence[Run],
  baseline: Sequence[Run],
  *,
  replicates: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Returns the accuracy gained over a baseline on the same rows.

  `smallest_detectable_gain = (q_0.975 + q_0.8) SE`: a gain of this size is
  found by a two-sided test at 5 % in 80 of 100 repetitions with new people,
  and new units; q are quantiles of the normal distribution or Student's.

  Args:
    personal: predictions of one or several seeds.
    baseline: the same rows, in the same order, predicted by the baseline.
    replicates: bootstrap replicates R.
    seed: of the bootstrap.

  Returns:
    `gain` (rows pooled) and `macro_gain` (people weigh the same) with `_low`
    and `_high`, NaN for one person alone and where nothing varies, and so are
    the next two; `standard_error` of the gain, `smallest_detectable_gain`,
    `resampled`, `people`, `units`, `pairs` (a run, on average) and `seeds`.

  Raises:
    ValueError: the two do not hold the same rows.
  """
  rows, gained = _gained(personal, baseline)
  counts = {**_counts(rows), 'seeds': len(personal)}
  if rows.shared is not None:
    every = np.concatenate(gained)
    found = {
      'gain': intervals.crossed(*_pooled(rows, every), rows.shared),
      'macro_gain': intervals.crossed(*_by_person(rows, every), rows.shared),
    }
    summary: dict[str, Any] = {}
    for name, one in found.items():
      low, high = np.clip((one.low, one.high), -1.0, 1.0).tolist()
      summary |= {name: one.value, f'{name}_low': low, f'{name}_high': high}
    return summary | {
      'standard_error': found['gain'].standard_error,
      'smallest_detectable_gain': found['gain'].smallest_detectable,
      **counts,
    }
  return (
    _bootstrapped_gain(_person_sums(rows, [gained]), replicates, seed) | counts
  )


def _bootstrapped_gain(
  sums: np.ndarray, replicates: int, seed: int
) -> dict[str, float]:
  """Returns gains with intervals over people, from their sums `[U, 2]`."""
  rng = np.random.default_rng(seed)
  point = _gains(sums, np.ones((1, len(sums))))
  chunks = [
    _gains(sums, weights)
    for weights in resampled.person_weights(rng, len(sums), replicates)
  ]
  replicate = {
    name: np.concatenate([chunk[name] for chunk in chunks]) for name in point
  }
  summary: dict[str, float] = {}
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
  }


def person_gain(
  personal: Sequence[Run], baseline: Sequence[Run]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the person keys and the accuracy gained for each, both `[U]`.

  Args:
    personal: predictions of one or several seeds.
    baseline: the same rows, in the same order, predicted by the baseline.
  """
  rows, gained = _gained(personal, baseline)
  sums = _person_sums(rows, [gained])
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
  place = margins.confidence_bin(margin)
  pairs, confidence, correct = (
    np.bincount(place, values, margins.CALIBRATION_BINS)
    for values in (None, 0.5 + np.abs(margin), margins.correct(margin))
  )
  edges = np.linspace(0.5, 1, margins.CALIBRATION_BINS + 1)
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


def _rows(runs: Sequence[Run]) -> _Rows:
  if not runs:
    raise ValueError('There are no runs to compute statistics of.')
  margin = [margins.margin(run.probability, run.label) for run in runs]
  person = [np.asarray(run.person) for run in runs]
  for number, (m, who) in enumerate(zip(margin, person, strict=True)):
    if m.shape != who.shape:
      raise ValueError(
        f'Run {number} has {m.size} probabilities, but person has the shape '
        f'{who.shape}; give one person a row.'
      )
  people, position = np.unique(np.concatenate(person), return_inverse=True)
  ends = np.cumsum([m.size for m in margin])[:-1]
  units = [run.units for run in runs if run.units is not None]
  if not units:
    return _Rows(people, np.split(position, ends), margin, None, 'people')
  if len(units) < len(runs) or len({found.name for found in units}) > 1:
    raise ValueError(
      'Runs that are averaged are of the same units, or of none.'
    )
  of = np.concatenate([np.asarray(found.of) for found in units])
  shared = intervals.crossing(position, of)
  over = f'people and {units[0].name}'
  return _Rows(people, np.split(position, ends), margin, shared, over)


def _counts(rows: _Rows) -> dict[str, Any]:
  """Returns what intervals are over, and how many there are of it."""
  pairs = round(sum(m.size for m in rows.margin) / len(rows.margin))
  known: dict[str, Any] = {
    'resampled': rows.resampled,
    'people': len(rows.people),
  }
  if rows.shared is not None:
    known['units'] = rows.shared.second[1]
    if min(len(rows.people), known['units']) < intervals.FEW:
      known['coverage'] = intervals.FEW_COVERAGE
  return known | {'pairs': pairs}


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


# ------------------------------------------------------------------ two ways


def _crossed_metrics(rows: _Rows) -> dict[str, intervals.Crossed]:
  """Returns the metrics that are means of rows, if units are resampled too."""
  if rows.shared is None:
    return {}
  right = margins.correct(np.concatenate(rows.margin))
  loss = margins.nll(np.concatenate(rows.margin))
  sums = {
    'accuracy': _pooled(rows, right),
    'nll': _pooled(rows, loss),
    'macro_accuracy': _by_person(rows, right),
    'auc': _by_run([margins.auc_rows(m) for m in rows.margin]),
    'ece': _by_run([margins.ece_rows(m) for m in rows.margin]),
  }
  return {
    name: intervals.crossed(*value, rows.shared) for name, value in sums.items()
  }


def _pooled(rows: _Rows, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns totals and counts of the mean over rows of `values` `[B]`."""
  weight = rows.weight
  return weight * values, weight


def _by_person(
  rows: _Rows, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns totals and counts of the mean over people, who weigh the same."""
  position, weight = np.concatenate(rows.position), rows.weight
  weight = weight / np.bincount(position, weight)[position]
  return weight * values, weight


def _by_run(values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Returns totals and counts of the mean over runs of means over rows.

  That runs differ from each other is nothing that people or units do.
  """
  count = np.concatenate([np.full(v.size, 1 / v.size) for v in values])
  mean = np.mean([v.mean() for v in values])
  return count * np.concatenate([v - v.mean() + mean for v in values]), count


# ----------------------------------------------------------------- bootstrap


def _evaluate(
  rows: _Rows,
  halves: list[resampled.Halves],
  weights: np.ndarray,
  names: Sequence[str] = METRICS,
) -> dict[str, np.ndarray]:
  """Returns metrics under each row of `weights` `[R, U]`, `[R]` each."""
  correct = [margins.correct(margin) for margin in rows.margin]
  sums = _person_sums(rows, [correct, [margins.nll(m) for m in rows.margin]])
  pairs, right, loss = resampled.weighted(weights, sums).T
  macro = resampled.weighted(weights, (sums[:, 1] / sums[:, 0])[:, None])[:, 0]
  runs = list(zip(rows.position, rows.margin, strict=True))
  over_runs: dict[str, Callable[[], list[np.ndarray]]] = {
    'auc': lambda: [resampled.binned_auc(*run, weights) for run in runs],
    'ece': lambda: [resampled.weighted_ece(*run, weights) for run in runs],
    'worst_decile_accuracy': lambda: [
      resampled.worst_decile(h, weights) for h in halves
    ],
  }
  found = {
    'accuracy': right / pairs,
    'nll': loss / pairs,
    'macro_accuracy': macro / weights.sum(axis=1),
  }
  return found | {
    name: np.mean(over_runs[name](), axis=0)
    for name in names
    if name in over_runs
  }


def _gained(
  personal: Sequence[Run], baseline: Sequence[Run]
) -> tuple[_Rows, list[np.ndarray]]:
  """Returns the rows, and per run how much was gained on each `[B]`."""
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
  rows = _rows(personal)
  return rows, [
    margins.correct(one)
    - margins.correct(margins.margin(other.probability, other.label))
    for one, other in zip(rows.margin, baseline, strict=True)
  ]


def _gains(sums: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
  pairs, gained = resampled.weighted(weights, sums).T
  macro = resampled.weighted(weights, (sums[:, 1] / sums[:, 0])[:, None])[:, 0]
  return {'gain': gained / pairs, 'macro_gain': macro / weights.sum(axis=1)}
