"""Replies to the problems of `worlds.judging`, judged by a criterion.

A reply holds K values, some of them left out, and how confident it is, a
digit. The prompt names the criterion; two replies are never equal by any, and
each criterion agrees with every other on half of the pairs: who does not read
it is right half of the time.

Axis letters: B rows, K steps (4 to 6), C criteria, T tokens.
"""

from typing import NamedTuple

import numpy as np

from prm_jax.worlds import judging, judging_traces

CRITERIA = judging.TOKENS[judging.CRITERION :]
ANSWER, CARE, BREVITY, CONFIDENCE = range(len(CRITERIA))
STEPS = (4, 5, 6)  # fewer cannot disagree in all ways, more have no digit
_PROPOSALS = 32  # pairs of replies at a time and row


class Replies(NamedTuple):
  """B pairs of replies.

  Attributes:
    problems: B.
    written: `[B, 2, K]` values, -1 where left out; the last never is.
    confidence: `[B, 2]` 0 to 6.
  """

  problems: judging.Problems
  written: np.ndarray
  confidence: np.ndarray


def slips(problems: judging.Problems, written: np.ndarray) -> np.ndarray:
  """Returns how many steps do not follow from the value before, `[B, ...]`.

  Steps whose value or whose value before is left out do not count.

  Args:
    problems: B.
    written: `[B, ..., K]` values, -1 where left out.
  """
  middle = (1,) * (written.ndim - 2)
  shape = (*written.shape[:-1], 1)
  start = np.broadcast_to(problems.start.reshape(-1, *middle, 1), shape)
  before = np.concatenate([start, written[..., :-1]], -1)
  each = (len(written), *middle, -1)
  after = problems.table[
    problems.operator.reshape(each), before, problems.operand.reshape(each)
  ]
  checked = (before >= 0) & (written >= 0)
  return (checked & (after != written)).sum(-1)


def scores(
  problems: judging.Problems, written: np.ndarray, confidence: np.ndarray
) -> np.ndarray:
  """Returns how good replies are by every criterion, `[B, ..., C]` 0 to 6.

  1 for a right last value; K less the slips; how many values are left out;
  the confidence.

  Args:
    problems: B, all of K steps.
    written: `[B, ..., K]`.
    confidence: `[B, ...]`.
  """
  true = judging.chains(problems)[:, -1]
  true = true.reshape(-1, *(1,) * (written.ndim - 2))
  return np.stack(
    [
      (written[..., -1] == true).astype(int),
      written.shape[-1] - slips(problems, written),
      (written < 0).sum(-1),
      confidence,
    ],
    -1,
  )


def draw(rng: np.random.Generator, problems: judging.Problems) -> Replies:
  """Returns pairs of replies of which every criterion prefers one.

  All 16 ways in which four criteria may prefer the first or the second are
  equally frequent, but for a remainder of B.

  Args:
    rng: of the replies.
    problems: B, all of K = 4, 5 or 6 steps.

  Raises:
    ValueError: other numbers of steps.
  """
  B, K = problems.operator.shape
  if K not in STEPS or not problems.steps.all():
    raise ValueError(f'problems have to be of {STEPS} steps, without padding')
  C = len(CRITERIA)
  pattern = rng.permutation(np.arange(B) % 2**C)
  wanted = (pattern[:, None] >> np.arange(C)) % 2 == 1
  written = np.zeros((B, 2, K), int)
  confidence = np.zeros((B, 2), int)
  again = np.arange(B)
  while len(again):
    some = problems.take(again)
    tried, sure = _proposed(rng, some)
    found = scores(some, tried, sure)
    first, second = found[..., 0, :], found[..., 1, :]
    fits = (first != second) & ((first > second) == wanted[again, None])
    fits = fits.all(-1)
    row, place = np.arange(len(again)), fits.argmax(1)
    written[again], confidence[again] = tried[row, place], sure[row, place]
    again = again[~fits.any(1)]
  return Replies(problems, written, confidence)


def _proposed(rng, problems):
  """Returns values `[B, P, 2, K]` and confidence `[B, P, 2]` of replies.

  A reply has its own rates of slips and of values left out; a value that is
  left out was worked out nevertheless. Half of the last values are right.
  """
  B, K = problems.operator.shape
  shape = (B, _PROPOSALS, 2)
  slip = rng.random((*shape, K)) < rng.random((*shape, 1))
  shift = slip * rng.integers(1, judging.MODULUS, (*shape, K))
  value = np.broadcast_to(problems.start[:, None, None], shape)
  values = []
  for k in range(K):
    operator = problems.operator[:, k, None, None]
    operand = problems.operand[:, k, None, None]
    value = problems.table[operator, value, operand] + shift[..., k]
    value = value % judging.MODULUS
    values.append(value)
  written = np.stack(values, -1)
  true = judging.chains(problems)[:, -1, None, None]
  right = rng.random(shape) < 0.5
  written[..., -1] = np.where(right, true, written[..., -1])
  absent = rng.random((*shape, K)) < rng.random((*shape, 1))
  absent[..., -1] = False
  sure = rng.integers(0, judging.MODULUS, shape)
  return np.where(absent, -1, written), sure


def swapped(given: Replies) -> Replies:
  """Returns the same pairs in the other order."""
  return given._replace(
    written=given.written[:, ::-1], confidence=given.confidence[:, ::-1]
  )


def stated(given: Replies, criterion: np.ndarray) -> np.ndarray:
  """Returns both replies' scores by one criterion a row `[B]`, `[B, 2]`."""
  found = scores(given.problems, given.written, given.confidence)
  return np.take_along_axis(found, criterion[:, None, None], 2)[..., 0]


def verdicts(given: Replies, criterion: np.ndarray) -> np.ndarray:
  """Returns which reply is better by one criterion a row `[B]`, 0 or 1."""
  return stated(given, criterion).argmax(1)


def prompts(given: Replies, criterion: np.ndarray) -> np.ndarray:
  """Returns what a judge reads, `[B, 8 + 4 K]`.

  `^ by_care 3 a +1 .. first 4 _ 2 6 5 second _ 5 5 0 1 =`: the criterion, the
  problem, and each reply's values with its confidence behind them.

  Args:
    given: B.
    criterion: `[B]` index into `CRITERIA`.
  """
  problems = given.problems
  B = len(given.written)
  written = judging.shown_as(problems, given.written)
  sure = judging.DIGIT + given.confidence

  def one(token):
    return np.full((B, 1), token)

  columns = [
    one(judging.BEGIN),
    judging.CRITERION + criterion[:, None],
    judging.DIGIT + problems.start[:, None],
    judging.spelled(problems),
    one(judging.FIRST),
    written[:, 0],
    sure[:, :1],
    one(judging.SECOND),
    written[:, 1],
    sure[:, 1:],
    one(judging.ASK),
  ]
  return np.hstack(columns).astype(np.int32)


def traces(given: Replies, criterion: np.ndarray) -> np.ndarray:
  """Returns what a judge should write, `[B, 6 + 3 K]` as `judging.recited`.

  The right chain, both replies' scores by the criterion, and the verdict.

  Args:
    given: B.
    criterion: `[B]` index into `CRITERIA`.
  """
  return judging.recited(
    given.problems, stated(given, criterion), verdicts(given, criterion)
  )


def grade(
  given: Replies, criterion: np.ndarray, ids: np.ndarray
) -> judging_traces.Grades:
  """Returns how right traces `[B, T]` are; scores count as `copied`.

  Args:
    given: B.
    criterion: `[B]` index into `CRITERIA`.
    ids: `[B, T]` what a judge wrote.
  """
  right = stated(given, criterion)
  return judging_traces.graded(given.problems, right, right.argmax(1), ids)
