"""People of several units, drawn again and again: means with their intervals.

Percentile intervals, for statistics that are no means of independent
repetitions (`columns.mean`) and people who were judged on a grid of their own.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from prm_jax.lab import columns, units
from prm_jax.ops import statistics

Statistic = Callable[[np.ndarray], np.ndarray]


class People(NamedTuple):
  """The U people of some units, in R draws.

  Attributes:
    cells: whose arrays lead with people, and whose records have a `seed`.
    seed: `[U]` of each person's unit.
    weights: `[R, U]`, each draw with mean 1.
  """

  cells: Sequence[units.Unit]
  seed: np.ndarray
  weights: np.ndarray

  @property
  def counts(self) -> columns.Row:
    """Returns the columns that say how many people and seeds there are."""
    return {'people': len(self.seed), 'seeds': len(np.unique(self.seed))}

  def of(self, name: str) -> np.ndarray:
    """Returns an array of all units, put together, `[U, ...]`."""
    return np.concatenate([cell.arrays[name] for cell in self.cells])

  def means(self, values: np.ndarray) -> np.ndarray:
    """Returns the means `[R, ...]` of values `[U, ...]` in every draw."""
    return ((self.weights @ values).T / self.weights.sum(1)).T

  def interval(
    self, name: str, values: np.ndarray, of: Statistic = lambda mean: mean
  ) -> columns.Row:
    """Returns a statistic of a mean over people, with its interval.

    Args:
      name: of the columns.
      values: `[U]` or `[U, C]`; who has a NaN is left out.
      of: means `[..., C]` -> statistic `[...]`; the mean itself by default.
    """
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    known = self._replace(weights=self.weights[:, finite])
    drawn = of(known.means(values[finite]))
    point = float(of(values[finite].mean(0)))
    return columns.interval(name, (point, *statistics.interval(drawn)))


def people(
  cells: Sequence[units.Unit], replicates: int, *, by_seed: bool
) -> People:
  """Returns the people of some units, drawn R times.

  Args:
    cells: of one data set, with the same arrays.
    replicates: R.
    by_seed: draws seeds first, and people within them: right where people of
      a seed share a simulated world.
  """
  count = [len(next(iter(cell.arrays.values()))) for cell in cells]
  seed = np.repeat([cell.record['seed'] for cell in cells], count)
  weights = statistics.bootstrap_weights(
    seed, replicates, resample_groups=by_seed
  )
  return People(cells, seed, weights)
