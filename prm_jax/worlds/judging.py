"""Solutions to judge, each of which takes a chain of K look-ups to check.

A problem is a start value, modulo 7, and K steps `operation operand`; a step
looks the value up in the operation's table, a Latin square. A wrong step thus
stays wrong, however right the later ones are: the last value alone says
whether a solution is right. Where all values are `shown`, every step can be
checked by itself; where only the last one is (`hidden`), a judge has to do K
look-ups one after another. Steps of `+` alone can be summed in any order; the
other two tables have no such short cut.

A judge reads one solution, or two of which exactly one is right, and writes a
trace: its own chain, step by step, what the solutions claim, and a verdict.
Everything is token ids. `worlds.judging_traces` reads what it writes.

Axis letters: B rows, K steps (as wide as the longest problem), R solutions of
a row, T tokens.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.worlds import hashing

MODULUS = 7
OPERATORS = '+*#'
STEPS = 12  # of the longest problem: each step has its own label
OPERATIONS = [f'{c}{d}' for c in OPERATORS for d in range(MODULUS)]
TOKENS = (
  'pad',
  '.',
  '^',
  '=',
  '=>',
  '_',
  'first',
  'second',
  *('N', 'Y', 'A', 'B'),
  *map(str, range(MODULUS)),
  *OPERATIONS,
  *'abcdefghijkl',
  'wait',
  *('by_answer', 'by_care', 'by_brevity', 'by_confidence'),
)
_ID = {token: i for i, token in enumerate(TOKENS)}
PAD, END, BEGIN, ASK = _ID['pad'], _ID['.'], _ID['^'], _ID['=']
ARROW, HIDDEN, WAIT = _ID['=>'], _ID['_'], _ID['wait']
FIRST, SECOND = _ID['first'], _ID['second']
# R -> the token of verdict 0; that of verdict 1 is the next one.
VERDICTS = {1: _ID['N'], 2: _ID['A']}
DIGIT, OPERATION, LABEL = _ID['0'], _ID['+0'], _ID['a']
CRITERION = _ID['by_answer']
HELD_OUT = 0.2  # share of all problems that are never trained on


class Problems(NamedTuple):
  """B problems of at most K steps; arrays of jax where they are traced.

  Attributes:
    start: `[B]` value, 0 to 6.
    operator: `[B, K]` index into `OPERATORS`; 0 behind the last step.
    operand: `[B, K]` 0 to 6; 0 behind the last step.
    label: `[B, K]` 0 to 11, the steps' names.
    length: `[B]` steps.
    table: `[3, 7, 7]` of operator, value, operand.
  """

  start: np.ndarray
  operator: np.ndarray
  operand: np.ndarray
  label: np.ndarray
  length: np.ndarray
  table: np.ndarray

  def take(self, index: np.ndarray) -> 'Problems':
    """Returns some of the problems, where the index is: host or device."""
    numpy = types.namespace(index)
    columns = [numpy.asarray(column)[index] for column in self[:-1]]
    return Problems._make([*columns, numpy.asarray(self.table)])

  @property
  def steps(self) -> np.ndarray:
    """Which of the K steps are the problem's, `[B, K]` bool."""
    numpy = types.namespace(self.length)
    return numpy.arange(self.operator.shape[1]) < self.length[:, None]


class Split(NamedTuple):
  """Problems of one table, to train on and others.

  Attributes:
    table: `[3, 7, 7]`.
    pool: problems to train on.
    held_out: steps -> problems that are never trained on; the longest are
      longer than all of the pool.
  """

  table: np.ndarray
  pool: Problems
  held_out: dict[int, Problems]


class Judgements(NamedTuple):
  """B rows to judge, each of one problem and R solutions.

  Attributes:
    problems: B.
    written: `[B, R, K]` values as they are shown, -1 where hidden or absent.
    shown: `[B]` bool, whether all values are.
    right: `[B]` the right verdict. R = 1: whether the solution is right, 1 or
      0. R = 2: which of them is, 0 or 1.
  """

  problems: Problems
  written: np.ndarray
  shown: np.ndarray
  right: np.ndarray

  def take(self, index: np.ndarray) -> 'Judgements':
    """Returns some of the rows."""
    problems, *columns = self
    return Judgements(
      problems.take(index), *(column[index] for column in columns)
    )


# ------------------------------------------------------------------- problems


def tables(rng: np.random.Generator) -> np.ndarray:
  """Returns the operators' tables `[3, 7, 7]`, all of them Latin squares.

  The first is addition; the others have its rows, columns and values
  shuffled, each of them on its own.

  Args:
    rng: of the two shuffled tables.
  """
  x, d = np.indices((MODULUS, MODULUS))
  plus = (x + d) % MODULUS

  def shuffled():
    rows, columns, values = (rng.permutation(MODULUS) for _ in range(3))
    return values[plus[rows][:, columns]]

  return np.stack([plus, shuffled(), shuffled()])


def held_out(problems: Problems) -> np.ndarray:
  """Returns which problems are never trained on, `[B]` bool.

  A property of start, operators and operands alone, a hash of them: the same
  problem is on the same side in every draw, whatever its labels. There are so
  few problems of one step, 147, that their values are not equally frequent on
  a side, and counts of tokens tell a little more than chance of them; from
  two steps on they do not.
  """
  steps = problems.steps
  code = problems.start.astype(np.uint64)
  for k in range(steps.shape[1]):
    step = 1 + problems.operator[:, k] * MODULUS + problems.operand[:, k]
    step = np.where(steps[:, k], step, 0).astype(np.uint64)
    code = np.where(
      steps[:, k], hashing.mixed(code * np.uint64(32) + step), code
    )
  return hashing.mixed(code) % np.uint64(1000) < np.uint64(1000 * HELD_OUT)


def draw(
  rng: np.random.Generator,
  table: np.ndarray,
  length: np.ndarray,
  *,
  width: int,
  unseen: bool,
  consecutive: bool = True,
) -> Problems:
  """Returns problems of given lengths, from one side of `held_out`.

  Args:
    rng: of the draw.
    table: `[3, 7, 7]`.
    length: `[B]` steps.
    width: K, at least the greatest length, so that all have one shape.
    unseen: whether they are held out; else all are to train on.
    consecutive: whether labels follow one another from a random first one
      (l before a); else they are distinct and in random order.

  Raises:
    ValueError: a length is not in 1 to `width`, or `width` is over 12.
  """
  length = np.asarray(length)
  if width > STEPS or (length < 1).any() or (length > width).any():
    raise ValueError(f'lengths have to be 1 to width, and {width} at most 12')
  B = len(length)
  steps = np.arange(width) < length[:, None]
  if consecutive:
    label = (rng.integers(0, STEPS, (B, 1)) + np.arange(width)) % STEPS
  else:
    label = rng.permuted(np.tile(np.arange(STEPS), (B, 1)), axis=1)[:, :width]
  found = Problems(
    np.zeros(B, int),
    np.zeros(steps.shape, int),
    np.zeros(steps.shape, int),
    np.where(steps, label, 0),
    length,
    table,
  )
  again = np.arange(B)
  while len(again):
    shape = (len(again), width)
    found.start[again] = rng.integers(0, MODULUS, len(again))
    operator = rng.integers(0, len(OPERATORS), shape)
    found.operator[again] = operator * steps[again]
    found.operand[again] = rng.integers(0, MODULUS, shape) * steps[again]
    again = again[held_out(found.take(again)) != unseen]
  return found


def split(
  rng: np.random.Generator,
  counts: Mapping[int, int],
  *,
  tested: int,
  beyond: int = 1,
  consecutive: bool = True,
) -> Split:
  """Returns a table, problems to train on, and others of every length.

  Args:
    rng: of everything.
    counts: steps -> problems to train on. Let one step be among them: judges
      without a chain hardly learn otherwise.
    tested: held-out problems of every length.
    beyond: how many lengths over the longest of `counts` are held out, too.
    consecutive: as in `draw`.
  """
  table = tables(rng)
  longest = max(counts)
  width = longest + beyond

  def drawn(length, unseen):
    return draw(
      rng, table, length, width=width, unseen=unseen, consecutive=consecutive
    )

  pool = drawn(np.repeat(list(counts), list(counts.values())), False)
  lengths = [*counts, *range(longest + 1, width + 1)]
  others = {K: drawn(np.full(tested, K), True) for K in lengths}
  return Split(table, pool, others)


def concatenate(given: Sequence[Problems]) -> Problems:
  """Returns the problems of all, which share their tables and width."""
  columns = zip(*(problems[:-1] for problems in given), strict=True)
  return Problems._make([*map(np.concatenate, columns), given[0].table])


def chains(problems: Problems) -> np.ndarray:
  """Returns the right value after every step, `[B, K]`; -1 behind the last."""
  return _follow(problems, None, 0)


def _follow(problems, slip, shift):
  """Returns values `[B, K]`, shifted at step `slip` and followed from there."""
  numpy = types.namespace(problems.start)
  steps, value, after = problems.steps, problems.start, []
  for k in range(steps.shape[1]):
    value = problems.table[
      problems.operator[:, k], value, problems.operand[:, k]
    ]
    if slip is not None:
      value = numpy.where(slip == k, (value + shift) % MODULUS, value)
    after.append(value)
  return numpy.where(steps, numpy.stack(after, 1), -1)


def final(problems: Problems, values: np.ndarray) -> np.ndarray:
  """Returns the last values `[B, ...]` of `values` `[B, ..., K]`."""
  numpy = types.namespace(values)
  last = (problems.length - 1).reshape(-1, *(1,) * (values.ndim - 1))
  return numpy.take_along_axis(values, last, -1)[..., 0]


class Corrupted(NamedTuple):
  """Chains with one wrong step, followed from there.

  Attributes:
    values: `[B, K]`, -1 behind the last step.
    slip: `[B]` the wrong step, 0 the first.
  """

  values: np.ndarray
  slip: np.ndarray


def corrupted(rng: np.random.Generator, problems: Problems) -> Corrupted:
  """Returns wrong chains; the wrong step and its value are uniform."""
  slip = rng.integers(0, problems.length)
  shift = rng.integers(1, MODULUS, len(slip))
  return Corrupted(_follow(problems, slip, shift), slip)


# ----------------------------------------------------------------- judgements


def halves(rng: np.random.Generator, count: int) -> np.ndarray:
  """Returns `[count]` bool in random order, half of them true."""
  return rng.permutation(np.arange(count) % 2 == 0)


def hide(problems: Problems, values: np.ndarray) -> np.ndarray:
  """Returns values `[B, ..., K]` of which only the last is left, else -1."""
  last = np.arange(values.shape[-1]) == problems.length[:, None] - 1
  last = last.reshape(len(last), *(1,) * (values.ndim - 2), -1)
  return np.where(last, values, -1)


def _solutions(rng, problems, shown):
  """Returns right and wrong solutions as they are shown, `[B, 2, K]`."""
  values = np.stack([chains(problems), corrupted(rng, problems).values], 1)
  return np.where(shown[:, None, None], values, hide(problems, values))


def pointwise(
  rng: np.random.Generator, problems: Problems, shown: np.ndarray
) -> Judgements:
  """Returns a right and a wrong solution of each problem, 2 B rows of R = 1.

  Rows 2 i and 2 i + 1 are those of problem i, the right one first.

  Args:
    rng: of the wrong solutions.
    problems: B.
    shown: `[B]` bool, as of `halves`.
  """
  written = _solutions(rng, problems, shown)
  row = np.repeat(np.arange(len(shown)), 2)
  right = np.tile([1, 0], len(shown))
  return Judgements(
    problems.take(row), written.reshape(len(row), 1, -1), shown[row], right
  )


def pairwise(
  rng: np.random.Generator, problems: Problems, shown: np.ndarray
) -> Judgements:
  """Returns a right and a wrong solution in each of B rows, R = 2.

  Half of the right ones come first.

  Args:
    rng: of the wrong solutions and the order.
    problems: B.
    shown: `[B]` bool, as of `halves`.
  """
  written = _solutions(rng, problems, shown)
  given = Judgements(problems, written, shown, np.zeros(len(shown), int))
  second = halves(rng, len(shown))
  other = swapped(given)
  return given._replace(
    written=np.where(second[:, None, None], other.written, written),
    right=np.where(second, other.right, given.right),
  )


def swapped(given: Judgements) -> Judgements:
  """Returns the same pairs in the other order.

  Raises:
    ValueError: rows do not hold two solutions.
  """
  if given.written.shape[1] != 2:
    raise ValueError('only pairs have another order')
  return given._replace(written=given.written[:, ::-1], right=1 - given.right)


def both_orders(given: Judgements) -> Judgements:
  """Returns every pair in both orders: rows 2 i and 2 i + 1 are those of i.

  Raises:
    ValueError: rows do not hold two solutions.
  """
  row = np.repeat(np.arange(len(given.right)), 2)
  twice, odd = given.take(row), np.arange(len(row)) % 2
  other = swapped(twice)
  return twice._replace(
    written=np.where(odd[:, None, None], other.written, twice.written),
    right=np.where(odd, other.right, twice.right),
  )


def claims(given: Judgements) -> np.ndarray:
  """Returns the last values of the solutions, `[B, R]`."""
  return final(given.problems, given.written)


# --------------------------------------------------------------------- tokens


def texts(ids: np.ndarray) -> types.Tokens:
  """Returns token ids `[B, T]` as texts, of which padding is not seen."""
  ids = np.asarray(ids, np.int32)
  return types.Tokens(ids, (ids != PAD).astype(np.int32))


def to_right(ids: np.ndarray) -> np.ndarray:
  """Returns texts `[B, T]` with all padding on the left."""
  order = np.argsort(ids != PAD, 1, kind='stable')
  return np.take_along_axis(ids, order, 1).astype(np.int32)


def to_left(ids: np.ndarray) -> np.ndarray:
  """Returns texts `[B, T]` with all padding on the right."""
  order = np.argsort(ids == PAD, 1, kind='stable')
  return np.take_along_axis(ids, order, 1).astype(np.int32)


def spelled(problems: Problems, *values: np.ndarray) -> np.ndarray:
  """Returns `label operation value ...` of every step, `[B, (2 + n) K]`.

  Args:
    problems: B; steps that they have not are padding.
    *values: n token ids `[B, K]` each.
  """
  operation = problems.operator * MODULUS + problems.operand
  columns = [LABEL + problems.label, OPERATION + operation, *values]
  ids = np.where(problems.steps[..., None], np.stack(columns, 2), PAD)
  return ids.reshape(len(ids), -1)


def shown_as(problems: Problems, written: np.ndarray) -> np.ndarray:
  """Returns the token ids of written values `[B, ..., K]`: digits or `_`."""
  exists = problems.steps
  exists = exists.reshape(len(exists), *(1,) * (written.ndim - 2), -1)
  ids = np.where(written < 0, HIDDEN, DIGIT + written)
  return np.where(exists, ids, PAD)


def prompts(given: Judgements, hinted: np.ndarray | None = None) -> np.ndarray:
  """Returns what a judge reads, padded on the left.

  One solution, `[B, 3 + 3 K]`: `^ 3 a +1 4 b *2 _ c #0 5 =`. Two, of which the
  last values stand before `second` and `=`, `[B, 5 + 4 K]`:
  `^ 3 a +1 b *2 first 4 6 second _ 5 =`. With hints one token more, the right
  verdict before `=`.

  Args:
    given: B rows.
    hinted: `[B]` bool, whether the right verdict is given away; there is no
      place for it if None.
  """
  problems = given.problems
  written = shown_as(problems, given.written)
  B = len(written)

  def one(token):
    return np.full((B, 1), token)

  columns = [one(BEGIN), DIGIT + problems.start[:, None]]
  if written.shape[1] == 1:
    columns += [spelled(problems, written[:, 0])]
  else:
    columns += [spelled(problems), one(FIRST), written[:, 0]]
    columns += [one(SECOND), written[:, 1]]
  if hinted is not None:
    verdict = VERDICTS[written.shape[1]] + given.right
    columns += [np.where(hinted, verdict, PAD)[:, None]]
  return to_right(np.hstack([*columns, one(ASK)]))


def paused(prompts: np.ndarray, count: int) -> np.ndarray:
  """Returns prompts `[B, P + count]` with so many tokens `wait` behind them.

  They say nothing; a judge that scores at the last one has their layers to
  think with.

  Args:
    prompts: `[B, P]`, padded on the left.
    count: of the tokens.

  References:
    Goyal et al. 2023 (pause tokens), arXiv:2310.02226.
  """
  return np.pad(prompts, ((0, 0), (0, count)), constant_values=WAIT)


def value_places(given: Judgements) -> np.ndarray:
  """Returns the columns of `prompts` where a solution's values are, `[B, K]`.

  0 where there is none, or where it is not shown.

  Args:
    given: B rows of R = 1.

  Raises:
    ValueError: rows hold two solutions.
  """
  if given.written.shape[1] != 1:
    raise ValueError('steps are labelled of single solutions')
  steps, K = given.problems.steps, given.problems.operator.shape[1]
  back = given.problems.length[:, None] - np.arange(K)  # steps from the end
  columns = 3 + 3 * K  # of a prompt: the last is `=`, a value before it
  found = columns - 2 - 3 * (back - 1)
  return np.where(steps & (given.written[:, 0] >= 0), found, 0)


def step_labels(given: Judgements) -> np.ndarray:
  """Returns whether every shown step is right, `[B, K]`; NaN for others.

  1 where its value follows from the one before it, as that is shown, else 0:
  of a wrong solution whose values are shown, one step alone is wrong. Behind
  a value that is hidden, it has to be the problem's own.

  Args:
    given: B rows of R = 1.

  Raises:
    ValueError: rows hold two solutions.
  """
  if given.written.shape[1] != 1:
    raise ValueError('steps are labelled of single solutions')
  problems, written = given.problems, given.written[:, 0]
  true = chains(problems)
  known = np.where(written >= 0, written, true)
  before = np.column_stack([problems.start, known[:, :-1]])
  after = problems.table[problems.operator, before, problems.operand]
  shown = problems.steps & (written >= 0)
  return np.where(shown, after == written, np.nan).astype(np.float32)


def recited(
  problems: Problems, stated: np.ndarray, verdict: np.ndarray
) -> np.ndarray:
  """Returns traces with the right chain, padded on the right.

  `[B, 4 + R + 3 K]`: `3 a +1 4 b *2 6 => 6 Y .` with R = 1 number, and two of
  them and `A` or `B` with R = 2.

  Args:
    problems: B.
    stated: `[B, R]` numbers before the verdict, 0 to 6.
    verdict: `[B]` 0 or 1.
  """
  B, R = stated.shape
  columns = [
    DIGIT + problems.start[:, None],
    spelled(problems, DIGIT + chains(problems)),
    np.full((B, 1), ARROW),
    DIGIT + stated,
    VERDICTS[R] + verdict[:, None],
    np.full((B, 1), END),
  ]
  return to_left(np.hstack(columns))


def traces(given: Judgements) -> np.ndarray:
  """Returns what a judge should write, `[B, 4 + R + 3 K]` as `recited`.

  The judge solves the problem itself, restates what the solutions claim, and
  compares.
  """
  return recited(given.problems, claims(given), given.right)
