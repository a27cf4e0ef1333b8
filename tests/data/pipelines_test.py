import dataclasses
import itertools

import numpy as np
import pytest

from prm_jax import types
from prm_jax.data import pipelines, schema


def ratings(seed=0, people=30, responses=12):
  rng = np.random.default_rng(seed)
  rows = [
    schema.Rating(
      f'u{u}', f'p{r % 2}', '', f'r{r}', float(rng.normal()), f'p{r % 2}'
    )
    for u in range(people)
    for r in range(responses)
    if rng.random() < 0.8
  ]
  return schema.code_ratings(rows)


def all_pairs(table, gap):
  """By plain loops: (person, unordered items) -> which is rated higher."""
  found = {}
  for i, j in itertools.combinations(range(len(table.user)), 2):
    a, b = table.item[i], table.item[j]
    if table.user[i] != table.user[j]:
      continue
    if table.item_prompt[a] != table.item_prompt[b]:
      continue
    if abs(table.rating[i] - table.rating[j]) >= gap:
      better = a if table.rating[i] > table.rating[j] else b
      found[table.user[i], frozenset((a, b))] = better
  return found


def test_pairs_are_those_of_a_plain_loop():
  table = ratings()
  made = pipelines.pairs_from_ratings(
    table, min_gap=0.5, scale=None, per_person=10_000, seed=0
  )
  want = all_pairs(table, 0.5)
  assert len(made.user) == len(want)
  for user, (a, b), label in zip(
    made.user, made.items, made.label, strict=True
  ):
    assert want[user, frozenset((a, b))] == (a if label == 1 else b)
  assert 0.3 < np.mean(made.label) < 0.7  # slots are a coin flip


def test_sample_is_bounded_nested_and_soft():
  table = ratings()

  def made(cap, scale):
    return pipelines.pairs_from_ratings(
      table, min_gap=0.1, scale=scale, per_person=cap, seed=1
    )

  assert np.bincount(made(5, None).user).max() == 5
  soft, hard = made(5, 2.0), made(5, None)
  np.testing.assert_array_equal(soft.items, hard.items)
  np.testing.assert_array_equal(soft.label > 0.5, hard.label == 1)
  assert ((soft.label > 0) & (soft.label < 1)).all()


def test_tables_of_the_same_texts_are_joined_and_taken_apart():
  table = pipelines.pairs_from_ratings(
    ratings(), min_gap=0.1, scale=None, per_person=3, seed=1
  )
  rows = np.arange(len(table.user))
  even = pipelines.select(table, rows % 2 == 0)
  odd = pipelines.select(table, rows[1::2])
  np.testing.assert_array_equal(even.items, table.items[::2])
  both = pipelines.joined([even, odd])
  for name in ('user', 'items', 'label'):
    np.testing.assert_array_equal(
      getattr(both, name)[: len(even.user)], getattr(table, name)[::2]
    )
  assert len(both.user) == len(table.user)
  assert both.texts is table.texts


def test_a_pair_has_one_name_in_either_order():
  table = pipelines.pairs_from_ratings(
    ratings(), min_gap=0.1, scale=None, per_person=3, seed=1
  )
  turned = dataclasses.replace(table, items=table.items[:, ::-1])
  for of_each in (False, True):
    names = pipelines.pair_names(table, of_each=of_each)
    assert names == pipelines.pair_names(turned, of_each=of_each)
  pairs = {
    (user, *sorted(pair))
    for user, pair in zip(table.user, table.items.tolist(), strict=True)
  }
  assert len(set(names)) == len(pairs)
  shared = pipelines.pair_names(table, of_each=False)
  assert len(set(shared)) == len({pair[1:] for pair in pairs})


def test_a_small_gap_is_a_tie():
  options = {'min_gap': 0.0, 'scale': None, 'per_person': 9, 'seed': 0}
  table = ratings()
  apart = pipelines.pairs_from_ratings(table, **options)
  tied = pipelines.pairs_from_ratings(table, **options, tie=1.0)
  value = {
    (user, item): rating
    for user, item, rating in zip(
      table.user, table.item, table.rating, strict=True
    )
  }
  gap = np.array(
    [
      value[user, a] - value[user, b]
      for user, (a, b) in zip(tied.user, tied.items, strict=True)
    ]
  )
  small = np.abs(gap) <= 1.0
  assert small.any()
  assert not small.all()
  np.testing.assert_array_equal(tied.label == 0.5, small)
  np.testing.assert_array_equal(tied.label[~small], apart.label[~small])


def test_nobody_rated():
  table = ratings()
  nobody = pipelines.select(table, np.zeros(len(table.user), bool))
  made = pipelines.pairs_from_ratings(
    nobody, min_gap=0.1, scale=None, per_person=5, seed=1
  )
  assert made.items.shape == (0, 2)


def rows(n):
  said = types.Judgements(
    np.arange(n, dtype=np.int32) % 3,
    np.ones(n, np.float32),
    np.ones(n, np.float32),
    np.arange(n, dtype=np.int32),
  )
  index = np.stack([np.arange(n), np.arange(n) + 1], 1).astype(np.int32)
  return types.Batch(said, types.Inputs(np.zeros((n + 1, 2)), index))


def test_every_row_once_an_epoch_and_padding_is_masked():
  stream = pipelines.batches(rows(10), batch_size=4, seed=0, epochs=2)
  batches = list(stream)
  assert len(batches) == 6
  for epoch in (batches[:3], batches[3:]):
    seen = [i for b in epoch for i in b.rows.example_id[b.rows.mask > 0]]
    assert sorted(seen) == list(range(10))
    assert all(len(b.rows.user) == 4 for b in epoch)
    # The index goes with its row; the texts stay with the whole data.
    assert all(b.inputs.value is None for b in epoch)
    for b in epoch:
      real = b.rows.mask > 0
      np.testing.assert_array_equal(
        b.inputs.index[real, 0], b.rows.example_id[real]
      )
  first, second = (
    np.concatenate([b.rows.example_id for b in epoch])
    for epoch in (batches[:3], batches[3:])
  )
  assert (first != second).any()


def test_position_resumes_exactly():
  stream = pipelines.batches(rows(10), batch_size=3, seed=5)
  for _ in range(7):
    next(stream)
  position = stream.get_state()
  want = [next(stream) for _ in range(5)]
  other = pipelines.batches(rows(10), batch_size=3, seed=5)
  other.set_state(position)
  for a in want:
    b = next(other)
    np.testing.assert_array_equal(a.rows.example_id, b.rows.example_id)


def test_no_rows():
  with pytest.raises(ValueError, match='no row'):
    pipelines.batches(rows(0), batch_size=3, seed=5)
