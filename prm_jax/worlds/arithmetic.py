"""Chains of digit-wise arithmetic: problems with verifiable steps, critiques.

A problem is a state of two digits and K steps `operator digit digit`; a step
looks every digit of the state up in the operator's table. A solution states
the value after every step. `#` is a fixed random table that nobody could
guess: a policy that takes it for `+` is wrong on all its problems, however
often it tries. Everything is token ids. Problems and critiques are drawn on the
host; what is written and whether it is right can be traced, too.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.worlds import hashing

DIGITS = 2  # of a state
TOKENS = (
  '_',
  '.',
  *'0123456789',
  *'+-*#@',
  '=',
  'wrong',
  'right',
  'step',
  'answer',
  'be',
  ',',
  '?',
  'none',
  'to',
)
_ID = {token: i for i, token in enumerate(TOKENS)}
PAD, END = _ID['_'], _ID['.']
_ZERO = _ID['0']
OPERATORS = '+-*#@'
EASY = '+-'
CRITIQUE = 6  # tokens of a critique
FOLDS = 10
# Class -> operators that each of two steps may have.
CLASSES = {
  'easy': (EASY, EASY),
  'medium': ('*', EASY),
  'medium_last': (EASY, '*'),
  'hard': ('#', EASY),
  'hard_last': (EASY, '#'),
}


class Problems(NamedTuple):
  """B problems of K steps; arrays of jax where they are verified on a device.

  Attributes:
    start: `[B, 2]` digits.
    operator: `[B, K]` index into `OPERATORS`.
    operand: `[B, K, 2]` digits.
    table: `[5, 10, 10]` the operators' tables: of operator, state, operand.
  """

  start: np.ndarray
  operator: np.ndarray
  operand: np.ndarray
  table: np.ndarray

  def take(self, index: np.ndarray) -> 'Problems':
    """Returns some of the problems, where the index is: host or device."""
    numpy = types.namespace(index)
    start, operator, operand, table = map(numpy.asarray, self)
    return Problems(start[index], operator[index], operand[index], table)


class Split(NamedTuple):
  """Problems of one table.

  Attributes:
    table: of the operators.
    pool: problems to train on.
    hard: `[N]` bool, which of them have the hidden operator.
    held_out: class -> problems that are never trained on.
  """

  table: np.ndarray
  pool: Problems
  hard: np.ndarray
  held_out: dict[str, Problems]


def tables(rng: np.random.Generator) -> np.ndarray:
  """Returns the operators' tables `[5, 10, 10]`.

  `#` is random, and unlike `+` in every cell; `@` has no meaning of its own
  and stands for whatever a critique says.

  Args:
    rng: of `#` and `@`.
  """
  x, d = np.indices((10, 10))
  plus = (x + d) % 10
  hidden = (plus + rng.integers(1, 10, plus.shape)) % 10
  return np.stack(
    [plus, (x - d) % 10, x * d % 10, hidden, rng.integers(0, 10, plus.shape)]
  )


def fold(problems: Problems) -> np.ndarray:
  """Returns the fold `[B]` of problems, 0 to 9: a hash of what is asked.

  Of start, operators and operands alone: problems that are drawn from some
  folds are never those of other folds, however many are drawn. A class of
  `CLASSES` has 2 million problems or more, 200,000 in a fold.
  """
  B = len(problems.start)
  steps = np.concatenate([problems.operator[..., None], problems.operand], 2)
  asked = np.concatenate([problems.start, steps.reshape(B, -1)], 1)
  code = np.full(B, asked.shape[1], np.uint64)
  for digit in asked.T.astype(np.uint64):
    code = hashing.mixed(code ^ digit)
  return (code % np.uint64(FOLDS)).astype(int)


def draw(
  rng: np.random.Generator,
  table: np.ndarray,
  kinds: tuple[str, ...],
  count: int,
  *,
  folds: Sequence[int] | None = None,
) -> Problems:
  """Returns problems of a class.

  Args:
    rng: of the draw.
    table: of the operators.
    kinds: the operators that each step may have, as in `CLASSES`.
    count: B.
    folds: that they may be of, see `fold`; any if None.

  Raises:
    ValueError: no folds, or one that there is not.
  """
  if folds is None:
    return _draw(rng, table, kinds, count)
  if not folds or not set(folds) <= set(range(FOLDS)):
    raise ValueError(f'folds {folds}: some of 0 to {FOLDS - 1}')
  found = _draw(rng, table, kinds, count)
  again = np.flatnonzero(~np.isin(fold(found), folds))
  # One step alone has 10,000 problems or more, so that no fold is empty.
  while len(again):
    some = _draw(rng, table, kinds, len(again))
    for leaf, new in zip(found[:3], some[:3], strict=True):
      leaf[again] = new
    again = again[~np.isin(fold(some), folds)]
  return found


def _draw(rng, table, kinds, count) -> Problems:
  operator = np.stack(
    [
      rng.choice([OPERATORS.index(c) for c in allowed], count)
      for allowed in kinds
    ],
    1,
  )
  return Problems(
    rng.integers(0, 10, (count, DIGITS)),
    operator,
    rng.integers(0, 10, (count, len(kinds), DIGITS)),
    table,
  )


def split(
  rng: np.random.Generator, *, pool: int, held_out: int, share: float
) -> Split:
  """Returns a table, with problems to train on and others.

  Args:
    rng: of everything.
    pool: N problems to train on.
    held_out: problems of each class that are never trained on.
    share: of training problems with the hidden operator; the others are half
      easy, half medium.
  """
  table = tables(rng)
  hard = round(share * pool)
  easy = (pool - hard) // 2
  counts = {'hard': hard, 'easy': easy, 'medium': pool - hard - easy}
  return Split(
    table,
    mixed(rng, table, counts),
    np.arange(pool) < hard,
    fresh(rng, table, held_out),
  )


def mixed(
  rng: np.random.Generator,
  table: np.ndarray,
  counts: Mapping[str, int],
  *,
  folds: Sequence[int] | None = None,
) -> Problems:
  """Returns problems of several classes, one class after another.

  Args:
    rng: of the draw.
    table: of the operators.
    counts: class -> problems.
    folds: as in `draw`.
  """
  return concatenate(
    *(
      draw(rng, table, CLASSES[kind], count, folds=folds)
      for kind, count in counts.items()
    )
  )


def fresh(
  rng: np.random.Generator, table: np.ndarray, count: int
) -> dict[str, Problems]:
  """Returns `count` new problems of every class."""
  return {
    kind: draw(rng, table, kinds, count) for kind, kinds in CLASSES.items()
  }


def concatenate(*given: Problems) -> Problems:
  """Returns the problems of all, which share their tables."""
  columns = zip(*(problems[:3] for problems in given), strict=True)
  start, operator, operand = (np.concatenate(column) for column in columns)
  return Problems(start, operator, operand, given[0].table)


def apply(problems: Problems, value: np.ndarray, step: int) -> np.ndarray:
  """Returns the value `[..., 2]` after a step from `value` `[..., 2]`."""
  operator = problems.operator[:, step]
  operator = operator.reshape(-1, *(1,) * (value.ndim - 1))
  operand = problems.operand[:, step]
  shape = (len(operand), *(1,) * (value.ndim - 2), DIGITS)
  return problems.table[operator, value, operand.reshape(shape)]


def chains(problems: Problems) -> np.ndarray:
  """Returns the right value after every step, `[B, K, 2]`."""
  return follow(problems, problems.start, 0)


def follow(problems: Problems, value: np.ndarray, first: int) -> np.ndarray:
  """Returns values `[B, K - first, 2]` after the steps from `first` on.

  Args:
    problems: B.
    value: `[B, 2]` before step `first`.
    first: step.
  """
  after = []
  for step in range(first, problems.operator.shape[1]):
    value = apply(problems, value, step)
    after.append(value)
  return types.namespace(value).stack(after, 1)


# --------------------------------------------------------------------- tokens


def prompts(problems: Problems) -> np.ndarray:
  """Returns the problems' token ids `[B, 2 + 2 + 3 K]`: `? 3 4 + 1 2 =`."""
  numpy = types.namespace(problems.start)
  B, K = problems.operator.shape
  parts = [numpy.full((B, 1), _ID['?']), _ZERO + problems.start]
  for k in range(K):
    parts.append(_ID['+'] + problems.operator[:, k, None])
    parts.append(_ZERO + problems.operand[:, k])
  parts.append(numpy.full((B, 1), _ID['=']))
  return numpy.concatenate(parts, 1).astype(np.int32)


def responses(values: np.ndarray) -> np.ndarray:
  """Returns solutions' token ids `[B, 2 K + 1]` of values `[B, K, 2]`."""
  flat = _ZERO + values.reshape(len(values), -1)
  end = np.full((len(values), 1), END)
  return np.concatenate([flat, end], 1).astype(np.int32)


class Parsed(NamedTuple):
  """What a response says.

  Attributes:
    values: `[B, K, 2]` digits, -1 where a token is none.
    whole: `[B]` bool: K values and the end, and nothing else.
  """

  values: np.ndarray
  whole: np.ndarray


def parse(ids: np.ndarray, steps: int) -> Parsed:
  """Returns what responses `[B, N]` say; too short ones are not whole."""
  numpy = types.namespace(ids)
  wanted = DIGITS * steps
  short = max(0, wanted + 1 - ids.shape[1])
  ids = numpy.pad(ids, ((0, 0), (0, short)), constant_values=PAD)
  digits = ids[:, :wanted] - _ZERO
  is_digit = (digits >= 0) & (digits < 10)
  values = numpy.where(is_digit, digits, -1).reshape(-1, steps, DIGITS)
  return Parsed(values, is_digit.all(1) & (ids[:, wanted] == END))


def verify(
  problems: Problems, ids: np.ndarray, *, final_only: bool = False
) -> np.ndarray:
  """Returns 1 for right responses, 0 for others, `[B]` float32.

  Args:
    problems: B.
    ids: `[B, N]` responses.
    final_only: whether the last value alone has to be right.
  """
  said = parse(ids, problems.operator.shape[1])
  right = said.values == chains(problems)
  right = right[:, -1:] if final_only else right
  return (said.whole & right.all((1, 2))).astype(np.float32)


# ------------------------------------------------------------------ critiques


def first_error(problems: Problems, ids: np.ndarray) -> np.ndarray:
  """Returns the first wrong step `[B]` of responses; K where none is."""
  said = parse(ids, problems.operator.shape[1])
  wrong = (said.values != chains(problems)).any(2)
  K = wrong.shape[1]
  return np.where(wrong.any(1), wrong.argmax(1), K)


def _said(*words) -> np.ndarray:
  """Returns critiques `[B, 6]` of columns: token names or ids `[B]`."""
  B = max(np.size(word) for word in words if not isinstance(word, str))
  columns = [
    np.full(B, _ID[word]) if isinstance(word, str) else word for word in words
  ]
  columns += [np.full(B, _ID['none'])] * (CRITIQUE - len(columns))
  return np.stack(columns, 1).astype(np.int32)


def indicative(wrong: np.ndarray) -> np.ndarray:
  """Returns critiques `[B, 6]` that say only whether `[B]` it is wrong."""
  return _said(np.where(wrong, _ID['wrong'], _ID['right']))


def with_answer(answer: np.ndarray) -> np.ndarray:
  """Returns critiques of wrong responses that state the answer `[B, 2]`."""
  return _said('wrong', 'answer', 'to', 'be', *(_ZERO + answer).T)


def located(step: np.ndarray) -> np.ndarray:
  """Returns critiques that name the first wrong step `[B]`, no repair."""
  return _said('wrong', 'step', _ZERO + 1 + step)


def step_by_step(step: np.ndarray, repair: np.ndarray) -> np.ndarray:
  """Returns critiques that name a step `[B]` and its value `[B, 2]`."""
  return _said('wrong', 'step', _ZERO + 1 + step, 'be', *(_ZERO + repair).T)


def _unlike(rng, value):
  """Returns values that differ from `value` in every digit."""
  return (value + rng.integers(1, 10, value.shape)) % 10


def critique(
  rng: np.random.Generator,
  problems: Problems,
  ids: np.ndarray,
  kind: str,
  *,
  accuracy: float = 1.0,
) -> np.ndarray:
  """Returns critiques `[B, 6]` of responses.

  Args:
    rng: of what is invented.
    problems: B.
    ids: `[B, N]` responses.
    kind: 'indicative'; 'with_answer'; 'located', the first wrong step without
      a repair; 'step_by_step', with it; 'wrong_repair', the right step and an
      invented value; 'inverted', which calls wrong responses right, and
      invents an error in right ones.
    accuracy: probability of the kind's own critique; else one of the
      opposite: a wrong verdict, step or value.

  Raises:
    ValueError: unknown kind.
  """
  if kind not in CRITICS:
    raise ValueError(f'critic {kind!r}: one of {CRITICS}')
  B, K = problems.operator.shape
  step = first_error(problems, ids)
  wrong = ((step < K) | ~parse(ids, K).whole)[:, None]
  named = np.minimum(step, K - 1)
  true = rng.random((B, 1)) < accuracy
  right = indicative(np.zeros(B, bool))
  if kind == 'indicative':
    return indicative((wrong == true)[:, 0])
  if kind == 'inverted':
    anywhere = np.asarray(rng.integers(0, K, B))
    lie = step_by_step(anywhere, rng.integers(0, 10, (B, DIGITS)))
    lie = np.where(wrong, right, lie)
    return np.where(true, lie, indicative(wrong[:, 0]))
  if kind == 'with_answer':
    answer = chains(problems)[:, -1]
    said = with_answer(np.where(true, answer, _unlike(rng, answer)))
  elif kind == 'located':
    said = located(np.where(true[:, 0], named, (named + 1) % K))
  else:
    repair = chains(problems)[np.arange(B), named]
    invented = _unlike(rng, repair)
    if kind == 'wrong_repair':
      repair, invented = invented, repair
    said = step_by_step(named, np.where(true, repair, invented))
  return np.where(wrong, said, right)


CRITICS = (
  'indicative',
  'with_answer',
  'located',
  'step_by_step',
  'wrong_repair',
  'inverted',
)


def oracle_digits(kind: str) -> int:
  """Returns how many right digits a true critique of a kind gives away."""
  return DIGITS if kind in ('with_answer', 'step_by_step') else 0


def refinements(
  problems: Problems, attempts: np.ndarray, critiques: np.ndarray
) -> np.ndarray:
  """Returns prompts that ask again `[B, 2 K + 6 + P]`.

  Attempt and critique stand before the problem, which ends both prompts at
  the same distance from the response. They are where the critiques are.

  Args:
    problems: B.
    attempts: `[B, 2 K or more]` responses; the end is left out.
    critiques: `[B, 6]`.
  """
  K = problems.operator.shape[1]
  return (
    types.namespace(critiques)
    .concatenate([attempts[:, : DIGITS * K], critiques, prompts(problems)], 1)
    .astype(np.int32)
  )


def requests(problems: Problems, attempts: np.ndarray) -> np.ndarray:
  """Returns prompts that ask for a critique `[B, 2 K + P]`.

  Args:
    problems: B.
    attempts: `[B, 2 K or more]` responses; the end is left out.
  """
  K = problems.operator.shape[1]
  asked = prompts(problems)
  asked[:, -1] = _ID['to']
  return np.concatenate([attempts[:, : DIGITS * K], asked], 1).astype(np.int32)
