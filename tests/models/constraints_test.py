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
