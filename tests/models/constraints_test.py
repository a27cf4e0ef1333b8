"""What may follow, against a walk over every sequence in Python."""

import jax
import numpy as np
import pytest

from prm_jax.models import constraints

V, N = 6, 7


def expected(choices, after, by, text):
  """The tokens that may follow a text, one text at a time."""
  start = 0
  if after:
    ends = [
      end
      for end in range(len(after), len(text) + 1)
      if text[end - len(after) : end] == after
    ]
    if not ends:
      forced = by is not None and len(text) >= by
      return {after[len(text) - by]} if forced else set(range(V))
    start = ends[0]
  said = text[start:]
  if any(said[: len(one)] == one for one in choices):
    return set(range(V))
  return {one[len(said)] for one in choices if one[: len(said)] == said}


@pytest.mark.parametrize(
  ('after', 'by'), [([], None), ([4, 4], None), ([4, 3], 2), ([5], 0)]
)
def test_texts_begin_with_one_of_the_sequences(after, by):
  """Rows with numbers of sequences of their own; one begins another."""
  choices = [[[1, 2, 3], [1, 4], [2]], [[0]], [[3, 3], [3, 3, 5]]]
  rng, R = np.random.default_rng(0), 60
  mine = [choices[r % 3] for r in range(R)]
  found = constraints.begins(mine, vocabulary=V, after=after, by=by)
  run, texts = jax.jit(found.allow), [[] for _ in range(R)]
  for step in range(N - 1):
    ids = np.full((R, N), after[0] if after else 1)  # the rest is not read
    for row, text in enumerate(texts):
      ids[row, :step] = text
    allowed = np.asarray(run(found.data, ids, step))
    for row, text in enumerate(texts):
      may = expected(mine[row], after, by, text)
      assert set(np.flatnonzero(allowed[row])) == may, (text, mine[row])
      assert may
      text.append(int(rng.choice(sorted(may))))


def test_one_function_serves_all_choices():
  one = constraints.begins([[[1]]] * 2, vocabulary=V)
  two = constraints.begins([[[2, 3]]] * 2, vocabulary=V, after=[1])
  assert one.allow is two.allow
  part = two.take([1])
  assert all(len(leaf) == 1 for leaf in part.data)


OPENS, CLOSES, CUE = [[5], [3, 3]], [[3, 4], [2, 0]], [4, 1]


def thinks(opened, text):
  """Whether a text ends inside a thought: a walk over its marks."""
  inside = opened
  for end in range(1, len(text) + 1):
    for marks, state in ((OPENS, True), (CLOSES, False)):
      inside = (
        state
        if any(text[:end][-len(one) :] == one for one in marks)
        else inside
      )
  return inside


def told(opened, by, text):
  """The tokens that may follow where thoughts are told from the rest."""
  for end in range(len(CUE), len(text) + 1):
    behind = text[end - len(CUE) : end] == CUE
    if behind and not thinks(opened, text[:end]):
      return expected([[2, 5], [1]], [], None, text[end:])
  if len(text) < by:
    return set(range(V))
  forced = [*(CLOSES[0] if thinks(opened, text[:by]) else []), *CUE]
  return {forced[len(text) - by]}


def test_nothing_is_decided_inside_a_thought():
  """A cue there does not count; one that is open is ended before the cue."""
  by, length, rng = 6, 13, np.random.default_rng(1)
  opened = [r % 2 == 0 for r in range(200)]
  found = constraints.begins(
    [[[2, 5], [1]]] * len(opened),
    vocabulary=V,
    after=CUE,
    by=by,
    thoughts=constraints.Thoughts(OPENS, CLOSES, opened),
  )
  run, texts = jax.jit(found.allow), [[] for _ in opened]
  seen = {'ended': 0, 'cue inside': 0, 'free': 0}
  for step in range(length):
    ids = np.full((len(opened), length), CUE[1])  # the rest is not read
    for row, text in enumerate(texts):
      ids[row, :step] = text
    allowed = np.asarray(run(found.data, ids, step))
    for row, text in enumerate(texts):
      may = told(opened[row], by, text)
      assert set(np.flatnonzero(allowed[row])) == may, (opened[row], text)
      seen['cue inside'] += text[-2:] == CUE and len(may) == V
      seen['ended'] += step == by and may == {CLOSES[0][0]}
      seen['free'] += step == by and may == {CUE[0]}
      likely = [t for t in (4, 1) if t in may and rng.random() < 0.3]
      text.append(int(rng.choice(likely or sorted(may))))
  assert min(seen.values()) > 10, seen


@pytest.mark.parametrize(
  ('thoughts', 'message'),
  [
    (constraints.Thoughts([[1]], [], [True]), 'can be ended'),
    (constraints.Thoughts([[1]], [[2]], [True] * 2), 'of 1 rows'),
    (constraints.Thoughts([[]], [[2]], [True]), 'empty'),
    (constraints.Thoughts([[V]], [[2]], [True]), f'below {V}'),
  ],
)
def test_thoughts_that_do_not_fit_are_refused(thoughts, message):
  with pytest.raises(ValueError, match=message):
    constraints.begins([[[1]]], vocabulary=V, after=[3], thoughts=thoughts)


@pytest.mark.parametrize(
  ('choices', 'after', 'message'),
  [
    ([[[1]], []], (), 'no sequence'),
    ([[[1], []]], (), 'empty'),
    ([[[1, V]]], (), f'below {V}'),
    ([[[1]]], (-1,), f'below {V}'),
  ],
)
def test_choices_that_leave_nothing_are_refused(choices, after, message):
  with pytest.raises(ValueError, match=message):
    constraints.begins(choices, vocabulary=V, after=after)


def test_texts_of_tokens_none_of_them_twice():
  found = constraints.once([1, 3, 4], rows=2, vocabulary=V, ends=[0])
  ids = np.array([[3, 1, 0, 5], [0, 4, 4, 2]])
  run = jax.jit(lambda ids: constraints.allowed(found, ids))
  allowed = run(ids)
  every, rest = {0, 1, 3, 4}, {0, 1, 3}
  expected = [[every, {0, 1, 4}, {0, 4}, {0, 4}], [every, every, rest, rest]]
  for r, row in enumerate(expected):
    for n, may in enumerate(row):
      assert set(np.flatnonzero(allowed[r, n])) == may
  other = constraints.once([2], rows=1, vocabulary=V)
  assert other.allow is found.allow
  for tokens in ([], [V]):
    with pytest.raises(ValueError, match='at least one, from 0 to 5'):
      constraints.once(tokens, rows=1, vocabulary=V)
