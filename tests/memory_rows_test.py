import dataclasses

import jax
import numpy as np
import pytest

from prm_jax import memory_rows
from prm_jax.users import episodic
from prm_jax.worlds import personal_histories as histories


@pytest.fixture(scope='module')
def world():
  setting = histories.Setting(events=6)
  return histories.lived(np.random.default_rng(0), 4, setting, queries=3)


def test_kept_are_chosen_texts_in_order_of_time(world):
  memory = memory_rows.kept(world.events, capacity=4)
  found = episodic.take(memory, episodic.recency(memory, count=2))
  words = histories.texts(world.events)[:, :, 0]
  np.testing.assert_array_equal(found.content.ids, words[:, [5, 4]])
  np.testing.assert_array_equal(memory.dropped, 2)
  known = np.array([[0, 9, 8, 1, 5, 2]] * 4, np.float32)
  memory = memory_rows.kept(world.events, capacity=4, complexity=known)
  found = episodic.take(memory, episodic.most_complex(memory, count=2))
  np.testing.assert_array_equal(found.content.ids, words[:, [2, 4]])


def test_what_is_learned_of_a_text_hangs_on_the_objective(world):
  given = memory_rows.trained_on(world.events, objective='dpo').tokens
  assert given.ids.shape == (4, 6, 2, histories.LENGTH)
  np.testing.assert_array_equal(given.branch[0, 0, 0], [0] + [1] * 6)
  halved = memory_rows.trained_on(world.events, objective='input_only').tokens
  np.testing.assert_array_equal(halved.branch[0, 0, 0], [0] * 4 + [1] * 3)


def test_statements_are_of_what_was_chosen_most_often(world):
  for last in (None, 3):
    told = memory_rows.counted(world.events, last=last)
    value = world.events.value[:, -(last or 6) :, 0]
    said = histories.stated(told.ids[:, 1:])
    for u, a in np.ndindex(*said.shape):
      count = np.bincount(value[u, :, a], minlength=3)
      assert count[said[u, a]] == count.max()
    assert (told.ids[:, 0] == histories.ASK).all()
    assert told.mask.all()
  none = memory_rows.stated(np.zeros((1, 6), int), np.zeros((1, 6)))
  assert not none.mask.any()


def test_traces_are_asked_for_and_told_behind_ask():
  ids = np.array([[4, 7]], np.int32)
  trace = memory_rows.types.Tokens(ids, np.ones_like(ids))
  asked = memory_rows.asking(trace)
  np.testing.assert_array_equal(asked.ids, [[4, 7, histories.ASK]])
  told = memory_rows.asked(trace)
  np.testing.assert_array_equal(told.ids, [[histories.ASK, 4, 7]])
  assert np.asarray(told.mask).all()


def test_demonstrations_teach_all_but_topics_and_ask():
  given = histories.shown(np.random.default_rng(1), 50)
  found = memory_rows.demonstrations(given)
  E, size = histories.SHOWN, histories.LENGTH
  assert found.ids.shape == (50, E * size + 1 + histories.ATTRIBUTES + size)
  learned = found.ids[found.branch > 0]
  assert (learned >= histories.STATEMENT).all()
  told = (found.ids >= histories.STATEMENT) & (found.mask > 0)
  np.testing.assert_array_equal(told, found.branch > 0)
  masked = found.mask[:, : E * size].reshape(50, E, size)
  np.testing.assert_array_equal(masked[..., 0], given.given)
  last = found.ids[:, -size:]
  np.testing.assert_array_equal(last, histories.texts(given.text)[:, 0, 0])


def test_a_base_model_learns():
  sizes = dataclasses.replace(
    memory_rows.SIZES, hidden_size=24, num_hidden_layers=1
  )
  params, losses = memory_rows.base(0, sizes, steps=25, batch=16, rate=1e-2)
  assert losses[-3:].mean() < losses[:3].mean() - 0.5
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
