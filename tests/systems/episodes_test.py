"""Episodes keep what is known and what is to be predicted apart."""

import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.learners import amortized
from prm_jax.systems import episodes

SIZE = episodes.Size(people=16, context=10, targets=4)
COUNTS = (60, 12, 3, 1, 0)  # answers that train, by person


def batch():
  user = np.repeat(np.arange(len(COUNTS)), np.array(COUNTS) + 2)
  trains = np.concatenate([[1.0] * n + [0.0] * 2 for n in COUNTS])
  n = len(user)
  order = np.random.default_rng(0).permutation(n)
  said = types.Judgements(
    user[order].astype(np.int32),
    np.ones(n, np.float32),
    trains[order].astype(np.float32),
    np.arange(n, dtype=np.int32),
  )
  # Texts are rows, so that an index says which row it came from.
  index = np.stack([np.arange(n), np.arange(n)], 1).astype(np.int32)
  return types.Batch(said, types.Inputs(np.zeros((n, 3), np.float32), index))


def state(given):
  learner = amortized.in_context(dim=2, width=4)
  n = len(given.rows.user)
  first = learner.init(jax.random.key(0), types.Spec(3, len(COUNTS), n))
  data = types.Data(given.rows, given.inputs.index, len(COUNTS), None, None)
  constants = episodes.begin(first, data)
  # A checkpoint is restored into what `init` makes.
  for one, other in zip(
    jax.tree.leaves(first.constants), jax.tree.leaves(constants), strict=True
  ):
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
  return first._replace(constants=constants)


@pytest.fixture(scope='module')
def drawn():
  given = batch()
  start = state(given)
  found = [
    episodes.collect(SIZE, jax.random.key(i), start, given)[0]
    for i in range(20)
  ]
  rows = jax.tree.map(
    lambda *leaves: np.concatenate(leaves), *(batch.rows for batch in found)
  )
  origin = np.concatenate([batch.inputs.index[..., 0] for batch in found])
  there = np.concatenate([rows.known, rows.wanted], 1) > 0
  return given, rows, origin, there


def test_known_and_asked_rows_are_different_ones_of_one_person(drawn):
  given, rows, origin, there = drawn
  for person in range(len(rows.mask)):
    ids = origin[person][there[person]]
    assert len(set(ids)) == len(ids)
    assert len(set(given.rows.user[ids])) == 1
    assert (given.rows.mask[ids] > 0).all()  # held-out rows are not seen


def test_every_episode_asks_and_names_its_first_question(drawn):
  _, rows, origin, _ = drawn
  assert (rows.wanted.sum(1) >= 1).all()
  np.testing.assert_array_equal(rows.example_id, origin[:, SIZE.context])
  np.testing.assert_array_equal(rows.mask, 1)


def test_people_come_up_with_their_answers_and_any_number_is_known(drawn):
  given, rows, origin, _ = drawn
  who = given.rows.user[origin[:, SIZE.context]]
  share = np.bincount(who, minlength=5) / len(who)
  np.testing.assert_allclose(share, np.array(COUNTS) / 76, atol=0.08)
  assert set(rows.known.sum(1)[who == 0]) >= set(range(10))


def test_an_episode_is_what_was_collected(drawn):
  given = drawn[0]
  start = state(given)
  made = episodes.collect(SIZE, jax.random.key(0), start, given)[0]
  texts = len(given.rows.user)
  encoded = np.random.default_rng(1).normal(size=(texts, 2)).astype(np.float32)
  found = episodes.episode(encoded[made.inputs.index], start, made.rows)
  assert found.known.encoded.shape == (16, 10, 2, 2)
  assert found.targets.shape == (16, 4, 2, 2)
  np.testing.assert_array_equal(
    found.targets[3], encoded[made.inputs.index[3, 10:]]
  )
  total, count = episodes.term(2 * found.mask, found.mask)
  np.testing.assert_array_equal(count, made.rows.wanted.sum(1))
  np.testing.assert_array_equal(total, 2 * count)


def test_nobody_answers():
  given = batch()
  given = given._replace(
    rows=given.rows._replace(mask=np.zeros_like(given.rows.mask))
  )
  with pytest.raises(ValueError, match='no judgement trains'):
    episodes.collect(SIZE, jax.random.key(0), state(given), given)
