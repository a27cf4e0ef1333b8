"""People and statements, both drawn again: means of what one said of other.

A draw weighs a row by how often its person was drawn, times how often its
statement was (the pigeonhole bootstrap): its intervals are over new people and
new statements at once, and rather too wide than too narrow.

References:
  Owen 2007, The pigeonhole bootstrap, arXiv:0712.1111.
"""

from typing import NamedTuple

import numpy as np

from prm_jax.lab import columns
from prm_jax.ops import statistics

_CHUNK = 2**24  # numbers in the largest temporary array


class Draws(NamedTuple):
  """R draws of people and statements; the first is what was seen.

  Attributes:
    person: `[1 + R, P]` how often each was drawn.
    statement: `[1 + R, S]`.
  """

  person: np.ndarray
  statement: np.ndarray

  def sums(
    self, person: np.ndarray, statement: np.ndarray, values: np.ndarray
  ) -> np.ndarray:
    """Returns sums of rows in every draw, `[1 + R, C]`.

    Args:
      person: `[n]` whose a row is.
      statement: `[n]` of what it is, or `[n, 2]` where it is of two.
      values: `[n, C]`.
    """
    total = np.zeros((len(self.person), values.shape[1]))
    step = max(1, _CHUNK // len(total))
    for start in range(0, len(person), step):
      rows = slice(start, start + step)
      weight = self.person[:, person[rows]]
      for unit in statement[rows].reshape(len(person[rows]), -1).T:
        weight = weight * self.statement[:, unit]
      total += weight @ values[rows]
    return total


def draws(people: int, statements: int, replicates: int, *, seed: int) -> Draws:
  """Returns draws of people and statements.

  Args:
    people: P.
    statements: S.
    replicates: R.
    seed: of the draws.
  """

  def drawn(count, which):
    weights = statistics.bootstrap_weights(
      np.zeros(count, int),
      replicates,
      resample_groups=False,
      seed=2 * seed + which,
    )
    return np.concatenate([np.ones((1, count)), weights])

  return Draws(drawn(people, 0), drawn(statements, 1))


def ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
  """Returns total / count, NaN where nothing is counted."""
  nothing = np.full(np.shape(total), np.nan)
  return np.divide(total, count, out=nothing, where=np.abs(count) > 1e-12)


def interval(name: str, drawn: np.ndarray) -> columns.Row:
  """Returns the columns of a value with its 95 % limits.

  Args:
    name: of the quantity.
    drawn: `[1 + R]`, the first of what was seen.
  """
  return columns.interval(
    name, (float(drawn[0]), *statistics.interval(drawn[1:]))
  )
