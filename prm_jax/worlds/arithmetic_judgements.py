"""Solutions of `worlds.arithmetic` as judges read them, and what judges write.

A judge reads a solution and its problem, and writes its own chain, the value
that the solution ends with, and a verdict: `4 6 2 2 answer 2 3 wrong .` All of
it is in the tokens of `arithmetic`, so that a judge can start from a policy. A
solution is right if its last value is.

Axis letters: B rows, K steps, T tokens.
"""

from typing import NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.worlds import arithmetic

_ZERO, _ANSWER, _WRONG, _RIGHT = map(
  arithmetic.TOKENS.index, ('0', 'answer', 'wrong', 'right')
)
_DIGITS = arithmetic.DIGITS


class Judgements(NamedTuple):
  """B solutions to judge.

  Attributes:
    problems: B.
    solution: `[B, 2 K + 1]` token ids, the end among them.
    right: `[B]` 1 where the last value is right, else 0.
  """

  problems: arithmetic.Problems
  solution: np.ndarray
  right: np.ndarray

  def take(self, index: np.ndarray) -> 'Judgements':
    """Returns some of the rows."""
    return Judgements(
      self.problems.take(index), self.solution[index], self.right[index]
    )


def tokens(steps: int) -> int:
  """Returns how many tokens a judge writes of problems of K steps."""
  return _DIGITS * (steps + 1) + 3


def slips(
  rng: np.random.Generator, problems: arithmetic.Problems
) -> np.ndarray:
  """Returns chains `[B, K, 2]` with one wrong digit, followed from there.

  Step and digit are uniform, among those that leave the last value wrong: a
  later `* 0` would hide some.

  Args:
    rng: of the slips.
    problems: B.
  """
  B, K = problems.operator.shape
  right = arithmetic.chains(problems)
  values, again = right.copy(), np.arange(B)
  while len(again):
    some, count = problems.take(again), len(again)
    slip = rng.integers(0, K, count)[:, None]
    shift = np.zeros((count, _DIGITS), int)
    digit = rng.integers(0, _DIGITS, count)
    shift[np.arange(count), digit] = rng.integers(1, 10, count)
    value = some.start
    for step in range(K):
      value = arithmetic.apply(some, value, step)
      value = np.where(slip == step, (value + shift) % 10, value)
      values[again, step] = value
    again = again[(values[again, -1] == right[again, -1]).all(1)]
  return values


def pairs(
  rng: np.random.Generator, problems: arithmetic.Problems, written: np.ndarray
) -> Judgements:
  """Returns a right and a wrong solution of each problem, 2 B rows in turn.

  One of the two is what was written, where it can be read; the other one is
  the right chain, or one of `slips`. Both kinds are equally frequent in every
  class, however seldom a policy is right there.

  Args:
    rng: of the slips.
    problems: B.
    written: `[B, 2 K + 1]` a policy's answers.
  """
  whole = arithmetic.parse(written, problems.operator.shape[1]).whole
  solved = arithmetic.verify(problems, written, final_only=True) > 0.5
  right = arithmetic.responses(arithmetic.chains(problems))
  wrong = arithmetic.responses(slips(rng, problems))
  both = np.stack(
    [
      np.where(solved[:, None], written, right),
      np.where((whole & ~solved)[:, None], written, wrong),
    ],
    1,
  )
  row = np.repeat(np.arange(len(both)), 2)
  return Judgements(
    problems.take(row),
    both.reshape(len(row), -1).astype(np.int32),
    np.tile([1, 0], len(both)),
  )


def prompts(problems: arithmetic.Problems, solution: np.ndarray) -> np.ndarray:
  """Returns what a judge reads, `[B, T]`.

  `4 6 2 3 ? 3 4 + 1 2 * 3 2 =`: the judge's own chain is as far from the
  problem as a policy's, so that a judge which starts from one can solve what
  it could.

  Args:
    problems: B.
    solution: `[B, 2 K + 1]` token ids; the end is left out.
  """
  numpy = types.namespace(solution)
  before = solution[:, : _DIGITS * problems.operator.shape[1]]
  ids = [before, arithmetic.prompts(problems)]
  return numpy.concatenate(ids, 1).astype(numpy.int32)


def solved(problems: arithmetic.Problems, solution: np.ndarray) -> np.ndarray:
  """Returns problems with their solutions as a policy writes them, `[B, T]`.

  `? 3 4 + 1 2 * 3 2 = 4 6 2 3 .` A judge that writes nothing scores its end.

  Args:
    problems: B.
    solution: `[B, 2 K + 1]` token ids.
  """
  numpy = types.namespace(solution)
  ids = [arithmetic.prompts(problems), solution]
  return numpy.concatenate(ids, 1).astype(numpy.int32)


def traces(given: Judgements) -> np.ndarray:
  """Returns what a judge should write of B solutions, `[B, 2 K + 5]`."""
  B, K = given.problems.operator.shape
  own = _ZERO + arithmetic.chains(given.problems).reshape(B, -1)
  claim = given.solution[:, _DIGITS * (K - 1) : _DIGITS * K]
  verdict = np.where(given.right == 1, _RIGHT, _WRONG)[:, None]
  answer, end = np.full((B, 1), _ANSWER), np.full((B, 1), arithmetic.END)
  return np.hstack([own, answer, claim, verdict, end]).astype(np.int32)


def with_verdict(ids: np.ndarray, steps: int, right: bool) -> np.ndarray:
  """Returns traces `[B, T]` of K steps with another verdict, or the same.

  Args:
    ids: whole traces; what others become says nothing.
    steps: K.
    right: the verdict.
  """
  found = np.array(ids)
  found[:, tokens(steps) - 2] = _RIGHT if right else _WRONG
  return found


def weights(ids: np.ndarray, *, verdict: float = 4.0) -> np.ndarray:
  """Returns the weights of traces' tokens in a loss, `[B, T]` float32.

  The verdict is one token of many, and is drowned at a weight of 1.
  """
  is_verdict = (ids == _RIGHT) | (ids == _WRONG)
  found = np.where(is_verdict, verdict, ids != arithmetic.PAD)
  return found.astype(np.float32)


class Parsed(NamedTuple):
  """What traces say; all is -1 where a trace is not whole.

  Attributes:
    values: `[B, K, 2]` the judge's own chain.
    claim: `[B, 2]` what the solution is said to end with.
    verdict: `[B]` 1 for right, 0 for wrong.
    whole: `[B]` bool: all of this, the end, and nothing else.
  """

  values: np.ndarray
  claim: np.ndarray
  verdict: np.ndarray
  whole: np.ndarray


def parse(ids: np.ndarray, steps: int) -> Parsed:
  """Returns what any token ids say, read as traces.

  Args:
    ids: `[B, T]` what a judge wrote, of any length.
    steps: K.
  """
  numpy = types.namespace(ids)
  wanted, own = tokens(steps), _DIGITS * steps
  short = max(0, wanted - ids.shape[1])
  ids = numpy.pad(ids, ((0, 0), (0, short)), constant_values=arithmetic.PAD)
  digits = [*range(own), *range(own + 1, own + 1 + _DIGITS)]
  said = ids[:, numpy.asarray(digits)] - _ZERO
  verdict, end = ids[:, wanted - 2], ids[:, wanted - 1]
  whole = ((said >= 0) & (said < 10)).all(1) & (ids[:, own] == _ANSWER)
  whole &= ((verdict == _RIGHT) | (verdict == _WRONG)) & (end == arithmetic.END)
  whole &= (ids[:, wanted:] == arithmetic.PAD).all(1)
  said = numpy.where(whole[:, None], said, -1)
  return Parsed(
    said[:, :own].reshape(-1, steps, _DIGITS),
    said[:, own:],
    numpy.where(whole, verdict == _RIGHT, -1),
    whole,
  )


class Grades(NamedTuple):
  """How right traces are, each `[B]` float32, 1 or 0.

  Attributes:
    verdict: the verdict is right, in a trace that is whole.
    chain: so are all values of the judge's own chain.
    copied: so is the value that the solution ends with, as it is restated.
    whole: the trace can be read.
  """

  verdict: np.ndarray
  chain: np.ndarray
  copied: np.ndarray
  whole: np.ndarray


def grade(given: Judgements, ids: np.ndarray) -> Grades:
  """Returns how right traces `[B, T]` of B solutions are."""
  K = given.problems.operator.shape[1]
  said = parse(ids, K)
  claim = given.solution[:, _DIGITS * (K - 1) : _DIGITS * K] - _ZERO
  marks = (
    said.whole & (said.verdict == given.right),
    said.whole & (said.values == arithmetic.chains(given.problems)).all((1, 2)),
    said.whole & (said.claim == claim).all(1),
    said.whole,
  )
  return Grades(*(mark.astype(np.float32) for mark in marks))
