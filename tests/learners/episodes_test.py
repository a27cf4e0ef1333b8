"""Episodes keep what is known and what is to be predicted apart."""

import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.learners import amortized, episodes

SIZE = episodes.Size(people=16, context=10, targets=4)
COUNTS = (60, 12, 3, 1, 0)  # answers that train, by person


def batch():
  user = np.repeat(np.arange(len(COUNTS)), np.array(COUNTS) + 2)
  trains = np.concatenate([[1.0] * n + [0.0] * 2 for n in COUNTS])
  n = len(user)
  items = np.stack([np.arange(n), np.arange(n) + 1], 1) % 40
  order = np.random.default_rng(0).permutation(n)
  rows = types.Rows(
    user[order].astype(np.int32), items[order].astype(np.int32),
    np.ones(n, np.float32), trains[order].astype(np.float32),
    np.arange(n, dtype=np.int32),
  )  # fmt: skip
  return types.Batch(np.zeros((40, 3), np.float32), rows)


def state(given):
  learner = amortized.in_context(dim=2, width=4)
  spec = types.Spec(3, len(COUNTS))
  return episodes.begin(learner.init(jax.random.key(0), spec), given)


@pytest.fixture(scope='module')
def drawn():
  given = batch()
  start = state(given)
  found = [
    episodes.collect(SIZE, jax.random.key(i), start, given)[0].rows
    for i in range(20)
  ]
  length = SIZE.context + SIZE.targets
  rows = jax.tree.map(
    lambda *leaves: np.concatenate(leaves).reshape(
      -1, length, *leaves[0].shape[1:]
    ),
    *found,
  )
  return given, rows


def test_known_and_asked_rows_are_different_ones_of_one_person(drawn):
  given, rows = drawn
  for person in range(len(rows.user)):
    there = rows.example_id[person] >= 0
    ids = rows.example_id[person][there]
    assert len(set(ids)) == len(ids)
    assert set(given.rows.user[ids]) == {rows.user[person][0]}
    assert (given.rows.mask[ids] > 0).all()  # held-out rows are not seen


def test_only_targets_carry_loss(drawn):
  _, rows = drawn
  assert not rows.mask[:, : SIZE.context].any()
  asked = rows.mask[:, SIZE.context :]
  np.testing.assert_array_equal(
    asked > 0, rows.example_id[:, SIZE.context :] >= 0
  )
  assert (asked.sum(1) >= 1).all()


def test_people_come_up_with_their_answers_and_any_number_is_known(drawn):
  _, rows = drawn
  share = np.bincount(rows.user[:, 0], minlength=5) / len(rows.user)
  np.testing.assert_allclose(share, np.array(COUNTS) / 76, atol=0.08)
  known = (rows.example_id[:, : SIZE.context] >= 0).sum(1)
  many = known[rows.user[:, 0] == 0]
  assert set(many) >= set(range(10))


def test_an_episode_is_what_was_collected(drawn):
  given, _ = drawn
  start = state(given)
  rows = episodes.collect(SIZE, jax.random.key(0), start, given)[0].rows
  encoded = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
  found = episodes.episode(SIZE, encoded, start, rows)
  assert found.known.encoded.shape == (16, 10, 2, 2)
  assert found.targets.shape == (16, 4, 2, 2)
  first = rows.items.reshape(16, 14, 2)[3]
  np.testing.assert_array_equal(found.targets[3], encoded[first[10:]])
  wide = episodes.per_example(SIZE, found.mask)
  np.testing.assert_array_equal(np.asarray(wide), rows.mask)


def test_nobody_answers():
  given = batch()
  given = given._replace(
    rows=given.rows._replace(mask=np.zeros_like(given.rows.mask))
  )
  with pytest.raises(ValueError, match='no judgement trains'):
    episodes.collect(SIZE, jax.random.key(0), state(given), given)
