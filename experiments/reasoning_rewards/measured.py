"""Figures of problems of several seeds, with intervals over both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.lab import columns, units
from prm_jax.ops import intervals
from prm_jax.worlds import judging

Row = dict[str, Any]


class Cell(NamedTuple):
  """What one seed measured.

  Attributes:
    seed: of the world.
    problem: `[n]` numbers of the seed's own problems, of which several rows
      may be.
    value: `[n]`.
  """

  seed: int
  problem: np.ndarray
  value: np.ndarray

  def less(self, other: 'Cell') -> 'Cell':
    """Returns the differences from another one's values of the same rows."""
    assert self.seed == other.seed
    np.testing.assert_array_equal(self.problem, other.problem)
    return self._replace(value=self.value - other.value)

  def at(self, rows: np.ndarray) -> 'Cell':
    """Returns some of the rows."""
    return self._replace(problem=self.problem[rows], value=self.value[rows])


def mean(
  name: str, cells: Iterable[Cell], *, least: float = 0.0, most: float = 1.0
) -> Row:
  """Returns a mean with its interval over seeds and problems.

  Problems are their seed's own. Where no share varies, the interval is Clopper
  and Pearson's, over problems.

  Args:
    name: of the quantity.
    cells: of every seed.
    least: that it can be.
    most: likewise.
  """
  cells = [cell for cell in cells if len(cell.value)]
  if not cells:
    return columns.interval(name, [np.nan] * 3)
  value = np.concatenate([cell.value for cell in cells]).astype(float)
  seed = np.repeat(
    [cell.seed for cell in cells], [len(cell.value) for cell in cells]
  )
  number = np.concatenate([cell.problem for cell in cells])
  problem = np.unique(np.stack([seed, number]), axis=1, return_inverse=True)[1]
  found = intervals.crossed(
    value, np.ones(len(value)), intervals.crossing(seed, problem.ravel())
  )
  if np.ptp(value) == 0 and value[0] in (0, 1) and least == 0:
    count = len(np.unique(problem))
    return columns.share(name, int(count * value[0]), count)
  row = columns.crossed(name, found, least=least, most=most)
  row.pop('coverage', None)  # seeds are few everywhere; the notes say it
  return row


def gain(name: str, mine: Iterable[Cell], other: Iterable[Cell]) -> Row:
  """Returns the mean difference on the same rows, with its interval."""
  known = {cell.seed: cell for cell in other}
  return mean(
    name,
    [cell.less(known[cell.seed]) for cell in mine if cell.seed in known],
    least=-1.0,
  )


def problem_of(given: judging.Judgements) -> np.ndarray:
  """Returns a number `[B]` of each row's problem, the same where it is.

  By start and steps, not by labels.
  """
  problems = given.problems
  columns_ = [problems.start[:, None], problems.operator, problems.operand]
  known = np.hstack([*columns_, problems.length[:, None]])
  return np.unique(known, axis=0, return_inverse=True)[1].ravel()


def rows_of(given: judging.Judgements, every: int = 1) -> dict[str, np.ndarray]:
  """Returns what is known of rows: `length`, `shown` and `problem`, `[n]`.

  Args:
    given: B rows.
    every: of so many rows side by side the first is meant.
  """
  return {
    'length': given.problems.length[::every],
    'shown': given.shown[::every],
    'problem': problem_of(given)[::every],
  }


def cells(
  made: Iterable[units.Unit],
  value: Callable[[Mapping[str, np.ndarray]], np.ndarray],
  *,
  length: int | Sequence[int] | None = None,
  shown: bool | None = None,
) -> list[Cell]:
  """Returns one cell a seed.

  Args:
    made: units with the arrays of `rows_of`, and others.
    value: of the arrays, `[n]` or `[n, m]`.
    length: of the problems, or several; all if None.
    shown: of the class; both if None.
  """
  found = []
  for unit in made:
    arrays = unit.arrays
    rows = np.ones(len(arrays['length']), bool)
    if length is not None:
      rows &= np.isin(arrays['length'], length)
    if shown is not None:
      rows &= arrays['shown'] == shown
    values = value(arrays)[rows]
    problem = arrays['problem'][rows]
    if values.ndim > 1:
      problem = np.repeat(problem, values[0].size)
    found.append(
      Cell(unit.record['seed'], problem, values.ravel().astype(float))
    )
  return found


def finite(some: Iterable[Cell]) -> list[Cell]:
  """Returns cells without the rows that have no value, NaN."""
  return [cell.at(np.isfinite(cell.value)) for cell in some]
