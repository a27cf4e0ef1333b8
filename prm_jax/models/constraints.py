"""What a text may go on with: constrained decoding.

A constraint is a traceable function and the arrays that it reads, so that a
program is compiled once for all verdicts, grammars and problems of a shape.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types

Allow = Callable[[Any, types.Array, types.Array], types.Array]


class Constraint(NamedTuple):
  """Which tokens may be drawn.

  Attributes:
    allow: `(data, ids [R, N], step []) -> [R, V]` bool: the tokens that may be
      a text's next one, where its first `step` ids are drawn. A text of which
      none may be ends there. Programs are compiled for each function: let it
      be one of a module, not a new one each time.
    data: what it reads; every leaf leads with the rows.
  """

  allow: Allow
  data: types.PyTree

  def take(self, rows: Any) -> 'Constraint':
    """Returns the constraint of some rows, by an index."""
    return self._replace(data=jax.tree.map(lambda leaf: leaf[rows], self.data))


def allowed(constraint: Constraint, ids: types.Array) -> types.Array:
  """Returns which tokens could have stood at every place, `[R, N, V]` bool.

  What is known of a text's probabilities is known under its constraint: logits
  of what it does not allow are -inf.

  Args:
    constraint: of R texts.
    ids: `[R, N]` what was written.
  """
  steps = jnp.arange(ids.shape[1])
  each = jax.vmap(constraint.allow, (None, None, 0), 1)
  return each(constraint.data, ids, steps)


class _Once(NamedTuple):
  """Data of `once`: tokens that may be written, `[R, V]` bool."""

  first: types.ArrayLike
  again: types.ArrayLike


def once(
  tokens: Sequence[int], *, rows: int, vocabulary: int, ends: Sequence[int] = ()
) -> Constraint:
  """Returns the constraint of texts of some tokens, none of them twice.

  Args:
    tokens: that a text may have.
    rows: R.
    vocabulary: V.
    ends: tokens that may be written besides, again and again.

  Raises:
    ValueError: there is no token, or an id is none of the vocabulary.
  """
  if not len(tokens) or not all(0 <= t < vocabulary for t in (*tokens, *ends)):
    raise ValueError(
      f'tokens that may be written: at least one, from 0 to {vocabulary - 1}'
    )
  first, again = np.zeros((2, vocabulary), bool)
  again[list(ends)] = True
  first[list(tokens)] = True
  shape = (rows, vocabulary)
  data = _Once(np.broadcast_to(first, shape), np.broadcast_to(again, shape))
  return Constraint(_allow_once, data)


def _allow_once(data: _Once, ids: types.Array, step: types.Array):
  # What stands at or behind the step is not written yet: out of bounds.
  V = data.first.shape[1]
  written = jnp.where(jnp.arange(ids.shape[1]) < step, ids, V)
  row = jnp.arange(len(ids))[:, None]
  gone = (
    jnp.zeros(data.first.shape, bool).at[row, written].set(True, mode='drop')
  )
  return data.again | (data.first & ~gone)


def at_places(choices: types.ArrayLike, *, rows: int) -> Constraint:
  """Returns the constraint of texts that have some tokens at each place.

  Args:
    choices: `[N, V]` bool, the tokens that may stand at each place; behind the
      last no token may.
    rows: R.

  Raises:
    ValueError: no token may stand at a place.
  """
  known = np.asarray(choices, bool)
  if known.ndim != 2 or not known.size or not known.any(1).all():
    raise ValueError('choices [N, V]: at least one token at every place')
  return Constraint(_allow_at, np.broadcast_to(known, (rows, *known.shape)))


def _allow_at(data: types.Array, ids: types.Array, step: types.Array):
  del ids
  N = data.shape[1]
  here = jnp.asarray(data)[:, jnp.minimum(step, N - 1)]
  return here & (step < N)


class Thoughts(NamedTuple):
  """Parts of a text in which nothing is decided.

  Attributes:
    opens: sequences of token ids that begin one: every spelling of its mark.
    closes: those that end one; the first of them is written where one has to
      end.
    opened: `[R]` bool, whether a text begins inside one.
  """

  opens: Sequence[Sequence[int]]
  closes: Sequence[Sequence[int]]
  opened: Sequence[bool]


class _Choices(NamedTuple):
  """Data of `begins`.

  Attributes:
    ids: `[R, W, T]` int32, -1 behind a sequence's end.
    after: `[R, G]` int32.
    by: `[R]` int32.
    opens: `[R, M, G']` int32, -1 before a sequence's beginning.
    closes: `[R, M', G'']` int32, likewise.
    closing: `[R, C]` int32.
    opened: `[R]` bool.
  """

  ids: types.ArrayLike
  after: types.ArrayLike
  by: types.ArrayLike
  opens: types.ArrayLike
  closes: types.ArrayLike
  closing: types.ArrayLike
  opened: types.ArrayLike


def begins(
  choices: Sequence[Sequence[Sequence[int]]],
  *,
  vocabulary: int,
  after: Sequence[int] = (),
  by: int | None = None,
  thoughts: Thoughts | None = None,
) -> Constraint:
  """Returns the constraint that texts begin with one of a row's sequences.

  Behind a whole sequence every token may follow. A stop token at the ends of
  the sequences leaves nothing but them.

      begins([[[a], [b]]] * rows, ...)                     # a verdict alone
      begins([[[a, stop], [b, stop]]] * rows, after=box)   # behind a critique

  Args:
    choices: of each of R rows the sequences of token ids, at least one.
    vocabulary: V.
    after: tokens behind which it holds, in place of the text's beginning: the
      first time that the text has them. Before, everything is free.
    by: a step, at which `after` is written if it did not come before; leave as
      much room as it takes with a sequence. None: it may never come.
    thoughts: in which `after` does not count; where one is open at `by`, it is
      ended first, which takes room, too. None: there are none.

  Raises:
    ValueError: a row has no sequence, one is empty, or an id is none of the
      vocabulary; thoughts are not of R rows, or have no mark that ends them.
  """
  known = [sequence for row in choices for sequence in row]
  marks: list[Sequence[int]] = []
  if thoughts is None:
    thoughts = Thoughts((), (), [False] * len(choices))
  else:
    marks = [*thoughts.opens, *thoughts.closes]
    if len(thoughts.opened) != len(choices) or not thoughts.closes:
      raise ValueError(f'thoughts of {len(choices)} rows, which can be ended')
  if not all(choices) or not all(known) or not all(map(len, marks)):
    raise ValueError('a row has no sequence, or an empty one')
  if not all(
    0 <= t < vocabulary for one in (*known, *marks, after) for t in one
  ):
    raise ValueError(f'token ids have to be below {vocabulary}, and 0 or more')
  R, W = len(choices), max(map(len, choices))
  ids = np.full((R, W, max(map(len, known))), -1, np.int32)
  for r, row in enumerate(choices):
    for w in range(W):  # a row with fewer has its first one again
      sequence = row[w] if w < len(row) else row[0]
      ids[r, w, : len(sequence)] = sequence
  last = np.iinfo(np.int32).max if by is None else by

  def each(value) -> np.ndarray:
    value = np.asarray(value, np.int32)
    return np.broadcast_to(value, (R, *value.shape))

  data = _Choices(
    ids,
    after=each(after),
    by=each(last),
    opens=each(_marks(thoughts.opens)),
    closes=each(_marks(thoughts.closes)),
    closing=each(thoughts.closes[0] if thoughts.closes else ()),
    opened=np.asarray(thoughts.opened, bool),
  )
  return Constraint(_begins(vocabulary), data)


def _marks(sequences: Sequence[Sequence[int]]) -> np.ndarray:
  """Returns sequences as one array, -1 before those that are shorter."""
  found = np.full((len(sequences), max(map(len, sequences), default=0)), -1)
  for row, sequence in enumerate(sequences):
    found[row, found.shape[1] - len(sequence) :] = sequence
  return found


@functools.lru_cache(maxsize=16)
def _begins(vocabulary: int) -> Allow:
  """Returns the function of `begins`, one for each vocabulary."""

  def marked(token, where):
    """Returns `[R, V]`, true at tokens `[R, n]` where that is so."""
    row = jnp.arange(len(token))[:, None]
    token = jnp.where(where, token, vocabulary)
    found = jnp.zeros((len(token), vocabulary), bool)
    return found.at[row, token].set(True, mode='drop')

  def allow(data, ids, step):
    thinking = _inside(ids, data)
    start = _behind(ids, step, data.after, thinking)
    begun = start <= step
    place = jnp.arange(data.ids.shape[2])
    at = jnp.minimum(start[:, None] + place, ids.shape[1] - 1)
    said = jnp.take_along_axis(ids, at, 1)[:, None]  # [R, 1, T]
    count = (step - start)[:, None, None]
    same = (place >= count) | (data.ids == said) | (data.ids < 0)
    agrees = same.all(-1) & begun[:, None]
    whole = agrees & ((data.ids >= 0).sum(-1) <= count[..., 0])
    now = jnp.clip(count, 0, len(place) - 1)
    now = jnp.broadcast_to(now, (*data.ids.shape[:2], 1))
    following = jnp.take_along_axis(data.ids, now, 2)[..., 0]
    allowed = marked(following, agrees & ~whole)
    allowed |= (whole.any(-1) | ~begun)[:, None]
    if not data.after.shape[1]:
      return allowed
    late = (step >= data.by) & ~begun
    forced = _forced(data, thinking, step - data.by)
    return jnp.where(late[:, None], marked(forced, True), allowed)

  return allow


def _forced(data, thinking, place):
  """Returns the tokens `[R, 1]` that are written at a place behind `by`."""
  C, G = data.closing.shape[1], data.after.shape[1]
  words = jnp.concatenate([data.closing, data.after], 1)
  by = jnp.minimum(data.by, thinking.shape[1] - 1)[:, None]
  ends = jnp.take_along_axis(thinking, by, 1)
  now = place[:, None] + jnp.where(ends, 0, C)
  return jnp.take_along_axis(words, jnp.clip(now, 0, C + G - 1), 1)


def _ended(ids, marks):
  """Returns whether a mark `[R, M, G]` ends before each place, `[R, N + 1]`."""
  (R, N), (M, G) = ids.shape, marks.shape[1:]
  ids = jnp.pad(ids, ((0, 0), (G, 0)), constant_values=-2)[:, None]
  found = jnp.ones((R, M, N + 1), bool)
  for g in range(G):
    mark = marks[..., g : g + 1]
    found &= (ids[..., g : g + N + 1] == mark) | (mark < 0)
  return found.any(1)


def _inside(ids, data):
  """Returns whether each place is inside a thought, `[R, N + 1]`."""
  place = jnp.arange(ids.shape[1] + 1)

  def last(marks):
    found = jnp.where(_ended(ids, marks), place, -1)
    return jax.lax.cummax(found, axis=1)

  opened = jnp.where(data.opened, 0, -1)[:, None]
  return jnp.maximum(last(data.opens), opened) > last(data.closes)


def _behind(ids, step, after, thinking):
  """Returns where `after` `[R, G]` has first ended, `[R]`; step + 1 if not."""
  end = jnp.arange(ids.shape[1] + 1)
  found = _ended(ids, after[:, None]) & ~thinking & (end <= step)
  return jnp.min(jnp.where(found, end, step + 1), -1)
