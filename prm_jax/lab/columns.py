"""Columns of a table: a mean is never without its interval."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.ops import intervals

Row = dict[str, Any]


def interval(name: str, limits: Iterable[float]) -> Row:
  """Returns the columns `NAME`, `NAME_low` and `NAME_high`.

  Args:
    name: of the quantity.
    limits: value, low and high; None is written for what is not finite.
  """
  value, low, high = list(limits)[:3]
  return {
    column: float(number) if np.isfinite(number) else None
    for column, number in (
      (name, value),
      (f'{name}_low', low),
      (f'{name}_high', high),
    )
  }


def mean(
  name: str,
  values: Iterable[float],
  *,
  least: float = -np.inf,
  most: float = np.inf,
) -> Row:
  """Returns a mean over repetitions with Student's interval.

  Args:
    name: of the quantity.
    values: of each repetition, NaN where it has none; differences where
      repetitions are paired.
    least: that the quantity can be: a symmetric interval may go on beyond.
    most: likewise.
  """
  value, low, high = intervals.mean(list(values))
  return interval(name, (value, *np.clip((low, high), least, most)))


def crossed(
  name: str,
  mean: intervals.Crossed,
  *,
  least: float = -np.inf,
  most: float = np.inf,
) -> Row:
  """Returns a mean over two kinds of units at once, with its interval.

  Args:
    name: of the quantity.
    mean: from `ops.intervals.crossed`; where either kind is few, the column
      `coverage` says how often such intervals hold.
    least: that the quantity can be: a symmetric interval may go on beyond.
    most: likewise.
  """
  low, high = np.clip((mean.low, mean.high), least, most)
  row = interval(name, (mean.value, low, high))
  if min(mean.first, mean.second) < intervals.FEW:
    row['coverage'] = intervals.FEW_COVERAGE
  return row


def gain(
  name: str, values: Mapping[int, float], others: Mapping[int, float]
) -> Row:
  """Returns the mean of differences that are paired by seed.

  Args:
    name: of the difference.
    values: seed -> value.
    others: likewise; what only one of both has is left out.
  """
  pairs = [values[seed] - others[seed] for seed in values if seed in others]
  return mean(name, pairs)


def best(
  values: Mapping[str, Mapping[int, float]], names: Iterable[str]
) -> str | None:
  """Returns whose mean over seeds is best, of those that have values.

  Args:
    values: name -> seed -> value.
    names: of those among which is chosen.
  """
  means = {n: np.mean(list(values[n].values())) for n in names if n in values}
  return max(means, key=lambda name: means[name], default=None)


def share(name: str, count: int, total: int) -> Row:
  """Returns how often something happened, with Clopper and Pearson's limits."""
  return interval(name, intervals.share(count, total))


def percent(row: Mapping[str, Any], name: str) -> str:
  """Returns a share and its interval in words."""
  if row[name] is None:
    return 'not measured'
  text = f'{100 * row[name]:.1f} %'
  low, high = row[f'{name}_low'], row[f'{name}_high']
  if low is None:
    return text
  return f'{text} [{100 * low:.1f}, {100 * high:.1f}]'


def grouped(
  records: Iterable[Mapping[str, Any]], *names: str
) -> dict[tuple[Any, ...], list[Any]]:
  """Returns records by the values of some columns, in order of appearance."""
  groups: dict[tuple[Any, ...], list[Any]] = {}
  for record in records:
    groups.setdefault(tuple(record[name] for name in names), []).append(record)
  return groups


def by_seed(records: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
  """Returns the record of every seed, in order of seeds."""
  return {
    record['seed']: record
    for record in sorted(records, key=lambda record: record['seed'])
  }
