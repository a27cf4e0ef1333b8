"""From each person's curve to the tables of results.json."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.ops import statistics

# People of these data share a simulated world with those of their seed.
_REAL = ('jester',)


class Cell(NamedTuple):
  """One setting, asked by every acquisition.

  Attributes:
    data, features, method, seed: of the setting.
    arrays: `correct|A` and `regret|A` `[U, T + 1]` by acquisition A;
      `[U, 1]` for the aggregate.
  """

  data: str
  features: str
  method: str
  seed: int
  arrays: Mapping[str, np.ndarray]


class Curves(NamedTuple):
  """All people of one data set and method, under one acquisition.

  Attributes:
    correct: `[U, T + 1]`; regret: `[U, T + 1]`; seed: `[U]`.
  """

  correct: np.ndarray
  regret: np.ndarray
  seed: np.ndarray


def grouped(cells: Sequence[Cell]) -> dict[tuple[str, str, str], list[Cell]]:
  """Returns cells by data, features and method."""
  groups: dict[tuple[str, str, str], list[Cell]] = {}
  for cell in cells:
    key = (cell.data, cell.features, cell.method)
    groups.setdefault(key, []).append(cell)
  return groups


def curves(cells: Sequence[Cell], acquire: str) -> Curves:
  """Returns everybody's curves, cells put together."""
  found = [
    (
      cell.arrays[f'correct|{acquire}'],
      cell.arrays[f'regret|{acquire}'],
      np.full(len(cell.arrays[f'correct|{acquire}']), cell.seed),
    )
    for cell in cells
  ]
  return Curves(
    *(np.concatenate(column) for column in zip(*found, strict=True))
  )


def _acquisitions(cells: Sequence[Cell]) -> list[str]:
  names = [key.split('|')[1] for key in cells[0].arrays if 'correct|' in key]
  return names


def _weights(data: str, seed: np.ndarray, replicates: int) -> np.ndarray:
  return statistics.bootstrap_weights(
    seed, replicates, resample_groups=data not in _REAL
  )


def curve(
  cells: Sequence[Cell], answers: Sequence[int], replicates: int
) -> list[dict[str, Any]]:
  """Returns accuracy and regret by number of answers.

  Args:
    cells: all settings.
    answers: numbers of answers to show.
    replicates: of the bootstrap: over people and, where people are simulated,
      over seeds.
  """
  rows = []
  for (data, features, method), members in grouped(cells).items():
    for acquire in _acquisitions(members):
      known = curves(members, acquire)
      weights = _weights(data, known.seed, replicates)
      fixed = acquire == 'aggregate'
      for t in [0] if fixed else answers:
        if t >= known.correct.shape[1]:
          continue
        rows.append(
          {
            'data': data,
            'features': features,
            'method': acquire if fixed else method,
            'acquisition': 'none' if fixed else acquire,
            'answers': t,
            'people': len(known.seed),
            'seeds': len(np.unique(known.seed)),
            **mean('accuracy', known.correct[:, t], weights),
            **mean('regret', known.regret[:, t], weights),
          }
        )
  # The aggregate is the same beside every method.
  return list({str(row): row for row in rows}.values())


def mean(
  name: str, values: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
  """Returns a mean over people `[U]` and its interval; NaN is left out."""
  known = np.isfinite(values)
  values, weights = values[known], weights[:, known]
  low, high = statistics.interval(weights @ values / weights.sum(1))
  return {
    name: float(values.mean()),
    f'{name}_low': low,
    f'{name}_high': high,
  }


def answers_needed(
  cells: Sequence[Cell], targets: Sequence[float], replicates: int
) -> list[dict[str, Any]]:
  """Returns how many answers reach an accuracy, and against random.

  Between two numbers of answers the mean curve is a line; a target that the
  mean never reaches counts as one answer more than were asked, so that a
  share of random's is then an upper bound, and `random_answers` is null.
  """
  rows = []
  for (data, features, method), members in grouped(cells).items():
    random = curves(members, 'random')
    weights = _weights(data, random.seed, replicates)
    for acquire in _acquisitions(members):
      if acquire == 'aggregate':
        continue
      known = curves(members, acquire)
      for target in targets:
        mine = first_reach(known.correct.mean(0)[None], target)
        theirs = first_reach(random.correct.mean(0)[None], target)
        if mine[0] > known.correct.shape[1] - 1:
          continue
        share = 1 / weights.sum(1, keepdims=True)
        drawn = first_reach(share * (weights @ known.correct), target)
        other = first_reach(share * (weights @ random.correct), target)
        low, high = statistics.interval(drawn)
        ratio_low, ratio_high = statistics.interval(drawn / other)
        rows.append(
          {
            'data': data,
            'features': features,
            'method': method,
            'acquisition': acquire,
            'target': target,
            'answers': float(mine[0]),
            'answers_low': low,
            'answers_high': high,
            'random_answers': (
              float(theirs[0]) if theirs[0] < random.correct.shape[1] else None
            ),
            'share_of_random': float(mine[0] / theirs[0]),
            'share_of_random_low': ratio_low,
            'share_of_random_high': ratio_high,
            'people': len(known.seed),
            'seeds': len(np.unique(known.seed)),
          }
        )
  return rows


def first_reach(curve: np.ndarray, target: float) -> np.ndarray:
  """Returns where curves `[R, T + 1]` first reach a target, `[R]`.

  T + 1 where they never do.
  """
  reached = curve >= target
  place = reached.argmax(1)
  before = np.maximum(place - 1, 0)
  rows = np.arange(len(curve))
  low, high = curve[rows, before], curve[rows, place]
  with np.errstate(divide='ignore', invalid='ignore'):
    part = np.where(place > 0, (target - low) / (high - low), 0.0)
  return np.where(reached.any(1), before + part, curve.shape[1])


def answer(tables: Mapping[str, list[dict[str, Any]]]) -> list[str]:
  """Returns what the tables say, in plain sentences."""
  sentences = [
    'How many answers does a good reward for one person take, and does it '
    'matter which questions are asked?'
  ]
  sentences += _after_ten(tables['curve'])
  reached = [
    row
    for row in tables['answers_needed']
    if row['acquisition'] != 'random' and row['random_answers'] is not None
  ]
  # The highest target that random questions reach as well.
  highest = {
    (row['data'], row['method'], row['acquisition']): row for row in reached
  }
  for row in highest.values():
    sentences.append(
      f'{row["data"]}, {row["method"]}: {row["acquisition"]} reaches '
      f'{row["target"]:.0%} after {row["answers"]:.1f} answers, '
      f'{row["share_of_random"]:.2f} '
      f'[{row["share_of_random_low"]:.2f}, {row["share_of_random_high"]:.2f}] '
      'of what random questions need.'
    )
  return sentences


def _after_ten(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
  groups: dict[tuple[str, str], list[str]] = {}
  for row in rows:
    if row['answers'] == 10:
      groups.setdefault((row['data'], row['method']), []).append(
        f'{row["acquisition"]} {100 * row["accuracy"]:.1f} % '
        f'[{100 * row["accuracy_low"]:.1f}, {100 * row["accuracy_high"]:.1f}]'
      )
  for (data, method), found in groups.items():
    yield f'{data}, {method}, after ten answers: {", ".join(found)}.'
