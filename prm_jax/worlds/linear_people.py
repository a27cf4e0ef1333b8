"""People whose utility is linear in features, with coefficients that are known.

There are no texts: a question is a difference of features, and what is tried is
how coefficients are inferred from answers, and nothing else.
"""

from typing import NamedTuple

import numpy as np


class LinearPeople(NamedTuple):
  """People, what they can be asked, and what they may choose from.

  Attributes:
    weights: `[U, J]`, each N(0, I).
    pool: `[J, N]` differences of the questions, in logits a unit of weight.
    test: `[T, J]` differences that are not asked.
    menus: `[S, K, J]` features of answers to choose from.
  """

  weights: np.ndarray
  pool: np.ndarray
  test: np.ndarray
  menus: np.ndarray

  @property
  def utility(self) -> np.ndarray:
    """Returns everybody's utility of every answer, `[U, S, K]`."""
    return np.einsum('skj,uj->usk', self.menus, self.weights)


def simulate(
  *,
  seed: int,
  dim: int,
  people: int,
  candidates: int,
  scale: float,
  spread: float,
  test_pairs: int,
  menus: int,
  menu_size: int,
) -> LinearPeople:
  """Returns people and questions.

  Args:
    seed: of everything.
    dim: J.
    people: U.
    candidates: N questions, N(0, scale^2 I) times a size of their own.
    scale: of the differences; the larger, the less noise.
    spread: of the logarithm of these sizes, which are normal.
    test_pairs: T.
    menus: S.
    menu_size: K.
  """
  rng = np.random.default_rng([seed, 5])
  weights = rng.standard_normal((people, dim))
  size = np.exp(spread * rng.standard_normal(candidates))
  pool = scale * rng.standard_normal((dim, candidates)) * size
  test = rng.standard_normal((test_pairs, dim))
  return LinearPeople(
    weights, pool, test, rng.standard_normal((menus, menu_size, dim))
  )
