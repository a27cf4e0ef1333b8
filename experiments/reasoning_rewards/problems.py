"""Problems of one seed: to train on, to choose on, and to test on."""

from typing import Any, NamedTuple

import numpy as np

from prm_jax.worlds import judging

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
    node: `lengths` and `beyond`, in steps; `pool`, `validation` and `tested`,
      problems of every length.
    seed: of the tables and the problems.
  """
  rng = np.random.default_rng([seed, _WORLD])
  longest = max(node.lengths)
  drawn = judging.split(
    rng, dict.fromkeys(node.lengths, node.pool), tested=0, beyond=0
  )

  def fresh(length, width, count, chosen):
    # Problems of one step are few, and are tested several times.
    much = judging.draw(
      rng,
      drawn.table,
      np.full(4 * _VALIDATION * count + 100, length),
      width=width,
      unseen=True,
    )
    place = np.flatnonzero(_to_choose(much) == chosen)
    return much.take(np.resize(place, count))

  return World(
    drawn.table,
    drawn.pool,
    judging.concatenate(
      [fresh(K, longest, node.validation, True) for K in node.lengths]
    ),
    {
      K: fresh(K, max(node.beyond, default=longest), node.tested, False)
      if K > longest
      else fresh(K, longest, node.tested, False)
      for K in (*node.lengths, *node.beyond)
    },
  )


def _to_choose(problems: judging.Problems) -> np.ndarray:
  """Returns which held-out problems are to choose on, `[B]` bool."""
  return (problems.start + problems.operand[:, 0]) % _VALIDATION == 0


def trained(given: World, seed: int) -> judging.Judgements:
  """Returns a right and a wrong solution of every problem to train on."""
  rng = np.random.default_rng([seed, _FORM])
  shown = judging.halves(rng, len(given.pool.start))
  return judging.pointwise(rng, given.pool, shown)


def chosen(given: World, seed: int) -> judging.Judgements:
  """Returns the same of problems to choose on."""
  rng = np.random.default_rng([seed, _FORM, 1])
  shown = judging.halves(rng, len(given.validation.start))
  return judging.pointwise(rng, given.validation, shown)


def tested(given: World, seed: int, *lengths: int) -> judging.Judgements:
  """Returns both solutions of every problem to test on, shown and hidden.

  Rows of one length and class are side by side, first those that are shown.

  Args:
    given: a seed's problems.
    seed: of the wrong solutions.
    *lengths: in steps, all of one width.
  """
  parts = []
  for K in lengths:
    problems = given.tests[K]
    count = len(problems.start)
    both = problems.take(np.tile(np.arange(count), 2))
    rng = np.random.default_rng([seed, _FORM, 2, K])
    parts.append(judging.pointwise(rng, both, np.arange(2 * count) < count))
  return joined(parts)


def joined(parts: list[judging.Judgements]) -> judging.Judgements:
  """Returns the rows of all, which have one width and form."""
  problems, *columns = zip(*parts, strict=True)
  return judging.Judgements(
    judging.concatenate(problems), *map(np.concatenate, columns)
  )


def pairs(
  problems: judging.Problems, rng: np.random.Generator
) -> judging.Judgements:
  """Returns a right and a wrong solution of each problem in one row."""
  shown = judging.halves(rng, len(problems.start))
  return judging.pairwise(rng, problems, shown)
