"""Problems of one seed: to train on, to choose on, and to test on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.worlds import judging

POINTWISE, PAIRWISE = 'pointwise', 'pairwise'
_FORMS = {POINTWISE: judging.pointwise, PAIRWISE: judging.pairwise}
_WORLD, _FORM = 0x21, 0x22  # keep draws of a seed apart
_VALIDATION = 4  # every so many held-out problems are to choose on


class World(NamedTuple):
  """A seed's problems.

  Attributes:
    table: `[3, 7, 7]`.
    pool: to train on, as wide as the longest of them.
    validation: held-out problems to choose on; none of them is tested.
    tests: steps -> held-out problems; those longer than all of the pool are
      wider.
  """

  table: np.ndarray
  pool: judging.Problems
  validation: judging.Problems
  tests: dict[int, judging.Problems]


def world(node: Any, seed: int) -> World:
  """Returns the problems of a seed.

  Args:
    node: `lengths` and `beyond`, in steps; `pool`, `validation` and `held_out`,
      problems of every length.
    seed: of the tables and the problems.
  """
  rng = np.random.default_rng([seed, _WORLD])
  longest = max(node.lengths)
  drawn = judging.split(
    rng, dict.fromkeys(node.lengths, node.pool), tested=0, beyond=0
  )

  def fresh(length, width, count, chosen):
    return _fresh(rng, drawn.table, length, width, count, chosen)

  return World(
    drawn.table,
    drawn.pool,
    judging.concatenate(
      [fresh(K, longest, node.validation, True) for K in node.lengths]
    ),
    {K: fresh(K, longest, node.tested, False) for K in node.lengths}
    | {K: fresh(K, max(node.beyond), node.tested, False) for K in node.beyond},
  )


def _fresh(rng, table, length, width, count, chosen) -> judging.Problems:
  """Returns held-out problems of a length, to choose on or to test on.

  Problems of one step are few, and are there several times.
  """
  much = judging.draw(
    rng,
    table,
    np.full(4 * _VALIDATION * count + 100, length),
    width=width,
    unseen=True,
  )
  place = np.flatnonzero(chosen == _to_choose(much))
  return much.take(np.resize(place, count))


def many(
  given: World, seed: int, lengths: Sequence[int], count: int
) -> dict[str, judging.Judgements]:
  """Returns many pairs of solutions, to tell a point from none: train, test.

  Hidden ones, since shown ones are learned early: of the latter there are as
  many as are tested.

  Args:
    given: a seed's problems.
    seed: of the wrong solutions, and of the problems to test on.
    lengths: in steps.
    count: hidden pairs of every length.
  """
  rng = np.random.default_rng([seed, _WORLD, 1])
  width = given.pool.operator.shape[1]
  more = given._replace(
    tests={K: _fresh(rng, given.table, K, width, count, False) for K in lengths}
  )
  few = {K: len(given.tests[K].start) for K in lengths}
  found = {}
  for side, rows, shown in (
    ('train', trained(given, seed), trained(given, seed)),
    ('test', held_out(more, seed, *lengths), held_out(given, seed, *lengths)),
  ):
    parts = [
      _pairs(some, K, kind, most)
      for some, kind, each in (
        (rows, False, dict.fromkeys(lengths, count)),
        (shown, True, few),
      )
      for K, most in each.items()
    ]
    found[side] = joined(parts)
  return found


def _pairs(
  given: judging.Judgements, length: int, shown: bool, most: int
) -> judging.Judgements:
  """Returns the first pairs of a length and a class."""
  first = np.flatnonzero(
    (given.problems.length[::2] == length) & (given.shown[::2] == shown)
  )
  return given.take((2 * first[:most, None] + np.arange(2)).ravel())


def _to_choose(problems: judging.Problems) -> np.ndarray:
  """Returns which held-out problems are to choose on, `[B]` bool."""
  return (problems.start + problems.operand[:, 0]) % _VALIDATION == 0


def trained(
  given: World, seed: int, form: str = POINTWISE
) -> judging.Judgements:
  """Returns a right and a wrong solution of every problem to train on.

  Args:
    given: a seed's problems.
    seed: of the wrong solutions.
    form: whether they are rows of their own, right and wrong in turn, or one
      row together.
  """
  rng = np.random.default_rng([seed, _FORM])
  shown = judging.halves(rng, len(given.pool.start))
  return _FORMS[form](rng, given.pool, shown)


def chosen(
  given: World, seed: int, form: str = POINTWISE
) -> judging.Judgements:
  """Returns the same of problems to choose on."""
  rng = np.random.default_rng([seed, _FORM, 1])
  shown = judging.halves(rng, len(given.validation.start))
  return _FORMS[form](rng, given.validation, shown)


def held_out(
  given: World,
  seed: int,
  *lengths: int,
  form: str = POINTWISE,
  count: int | None = None,
) -> judging.Judgements:
  """Returns both solutions of problems to test on, shown and hidden.

  Rows of one length and class are side by side, first those that are shown.

  Args:
    given: a seed's problems.
    seed: of the wrong solutions.
    *lengths: in steps, all of one width.
    form: see `trained`.
    count: problems of every length; all if None.
  """
  parts = []
  for K in lengths:
    problems = given.tests[K]
    both = np.tile(np.arange(len(problems.start))[:count], 2)
    rng = np.random.default_rng([seed, _FORM, 2, K])
    shown = np.arange(len(both)) < len(both) // 2
    parts.append(_FORMS[form](rng, problems.take(both), shown))
  return joined(parts)


def spread(given: judging.Judgements, count: int) -> judging.Judgements:
  """Returns evenly spread twos of rows: all lengths are among them.

  Args:
    given: rows, those of a problem or pair side by side.
    count: rows at most.
  """
  pairs = len(given.right) // 2
  first = 2 * np.linspace(0, pairs - 1, min(count // 2, pairs)).astype(int)
  return given.take((first[:, None] + np.arange(2)).ravel())


def joined(parts: list[judging.Judgements]) -> judging.Judgements:
  """Returns the rows of all, which have one width and form."""
  problems, *columns = zip(*parts, strict=True)
  return judging.Judgements(
    judging.concatenate(problems), *map(np.concatenate, columns)
  )
