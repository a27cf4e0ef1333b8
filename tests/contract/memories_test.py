"""Memories of people with nothing, too much, contradictions and twins.

What is told of them, of every kind of memory at once; a person who is
forgotten in training is in tests/kept_memories_test.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import memory_rows, types
from prm_jax.models import adapters, decoder
from prm_jax.ops import counting
from prm_jax.systems import personal_adapters, personal_memories
from prm_jax.users import episodic
from prm_jax.worlds import personal_histories as histories

CONFIG = decoder.DecoderConfig(histories.VOCABULARY, 8, 8, 1, 1, 1, 8)
KEY, E, Q = jax.random.key(0), 6, 2
NODES = personal_memories.NODES
CONTEXT = jax.jit(personal_memories.context, static_argnums=2)
APPEND = jax.jit(episodic.append)
EPISODIC = [f'events_{recall}' for recall in personal_memories.RECALLS]


@pytest.fixture(scope='module')
def params():
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(CONFIG).init)
  return init(KEY, ids, ids, decoder.attended(ids + 1))


@pytest.fixture(scope='module')
def world():
  """Four people, of whom the first two did the same and are asked the same."""
  given = histories.lived(
    np.random.default_rng(0), 4, histories.Setting(events=E), queries=Q
  )
  return jax.tree.map(lambda leaf: leaf[[0, 0, 2, 3]], given)


@pytest.fixture(scope='module')
def memories(params, world):
  """Of the third person nothing is known, and one event of the fourth."""
  mask = np.ones((4, E), np.float32)
  mask[2:] = 0
  mask[3, 3] = 1
  return everything(world.events, params, memory(world.events, mask=mask), mask)


def memory(given, capacity=E, mask=None, order=None):
  """Episodes of everybody, which arrive in some order."""
  U, number = given.topic.shape
  texts = jax.tree.map(
    lambda leaf: jnp.asarray(leaf[:, :, 0]),
    memory_rows.texts(given)._replace(branch=None),
  )
  time = np.broadcast_to(np.arange(float(number)), (U, number))
  there = np.ones((U, number)) if mask is None else mask
  events = episodic.Events(
    jnp.asarray(histories.embeddings(given)),
    jnp.asarray(time, jnp.float32),
    jnp.asarray(-time, jnp.float32),
    jnp.asarray(there, jnp.float32),
    texts,
  )
  if order is not None:
    events = jax.tree.map(lambda leaf: leaf[:, order], events)
  one = jax.tree.map(lambda leaf: leaf[0, 0], texts)
  size = events.embedding.shape[-1]
  return APPEND(episodic.empty(U, capacity, size, one), events)


def everything(given, params, episodes, mask):
  """All memories that nodes may be told, adapters trained on the same."""
  U = len(given.topic)
  found = jax.vmap(
    lambda value, there: counting.most_frequent(
      value, there, size=histories.VALUES
    )
  )(jnp.asarray(given.value[:, :, 0]), jnp.asarray(mask))
  words = memory_rows.stated(*found)
  bank = adapters.init(KEY, CONFIG, params, people=U, rank=1)
  trained, _ = personal_adapters.fit(
    KEY,
    CONFIG,
    params,
    bank,
    memory_rows.trained_on(given, objective='task')._replace(
      mask=jnp.asarray(mask)
    ),
    objective='task',
    steps=2,
    batch=2,
  )
  return personal_memories.Memories(
    episodes,
    {'counts': words, 'latest_counts': words},
    dict.fromkeys((*personal_adapters.OBJECTIVES, 'distilled'), trained),
    dict.fromkeys(('selected', 'unselected', 'generic', 'distilled'), words),
  )


def told(memories, node, world):
  """What each query is told, as lists `[U][Q]`, in order."""
  query = jnp.asarray(histories.embeddings(world.queries))
  found = CONTEXT(KEY, memories, NODES[node], query)
  ids, mask = np.asarray(found.ids), np.asarray(found.mask) > 0
  return [
    [row[there].tolist() for row, there in zip(*both, strict=True)]
    for both in zip(ids, mask, strict=True)
  ]


def only(episodes):
  return personal_memories.Memories(episodes, {}, {}, {})


def scores(params, memories, node, world):
  query = jnp.asarray(histories.embeddings(world.queries))
  return np.asarray(
    personal_memories.scored(
      KEY,
      CONFIG,
      params,
      memories,
      NODES[node],
      query,
      memory_rows.texts(world.queries),
    )
  )


def test_of_whom_nothing_is_known_is_scored_as_nobody(params, memories, world):
  """And of whom one event is, is told that one."""
  nothing = scores(params, memories, 'nothing', world)
  found = scores(params, memories, 'dual_and_trace', world)
  np.testing.assert_allclose(found[2], nothing[2], atol=1e-5)
  assert np.abs(found[3] - nothing[3]).max() > 1e-5
  own = histories.texts(world.events)[3, 3, 0].tolist()
  for node in EPISODIC:
    assert told(memories, node, world)[2:] == [[[], []], [own, own]]


@pytest.mark.parametrize('node', EPISODIC)
def test_without_room_nobody_is_told_anything(world, node):
  assert told(only(memory(world.events, 0)), node, world) == [[[]] * Q] * 4


@pytest.mark.parametrize('node', EPISODIC)
def test_more_events_than_room_are_the_latest_in_any_order(world, node):
  few = jax.tree.map(lambda leaf: leaf[:, -4:], world.events)
  mixed = np.random.default_rng(1).permutation(E)
  found = told(only(memory(world.events, 4, order=mixed)), node, world)
  if node == 'events_at_random':  # the draw is of slots: the same events here
    found, expected = (
      sorted(map(sorted, map(chunks, person)))
      for person in (found[2], told(only(memory(few, 4)), node, world)[2])
    )
    assert found == expected
  else:
    assert found == told(only(memory(few, 4)), node, world)


def chunks(ids):
  size = histories.LENGTH
  return [ids[i : i + size] for i in range(0, len(ids), size)]


def test_two_people_with_one_history_are_one(params, memories, world):
  node = 'dual_and_trace'
  found = scores(params, memories, node, world)
  np.testing.assert_array_equal(found[0], found[1])
  assert np.abs(found[0] - found[3]).max() > 1e-5
  # Where one of them is forgotten, the other stays.
  left = personal_memories.forget(memories, jnp.array([0]))
  again = scores(params, left, node, world)
  np.testing.assert_array_equal(again[1], found[1])
  np.testing.assert_allclose(
    again[0], scores(params, memories, 'nothing', world)[0], atol=1e-5
  )


def test_of_contradictions_the_later_is_told_last(world):
  """Two events of one prompt, of which the words contradict each other."""
  events = jax.tree.map(lambda leaf: leaf[:, [0, 0]].copy(), world.events)
  events.value[:, 1] = (events.value[:, 1] + 1) % histories.VALUES
  own = histories.texts(events)[:, :, 0]
  for order in (None, [1, 0]):
    memories = only(memory(events, 2, order=order))
    for node in ('events_recency', 'events_similarity'):
      for person, mine in zip(told(memories, node, world), own, strict=True):
        assert person == [mine.ravel().tolist()] * Q
  # Where one is told it is the later; so is what is counted as often.
  parts = personal_memories.Parts('similarity', events=1)
  query = jnp.asarray(histories.embeddings(world.queries))
  found = CONTEXT(KEY, memories, parts, query)
  np.testing.assert_array_equal(
    found.ids, np.broadcast_to(own[:, None, 1], found.ids.shape)
  )
  counted = memory_rows.counted(events)
  np.testing.assert_array_equal(
    histories.stated(counted.ids[:, 1:]), events.value[:, 1, 0]
  )


def test_an_event_of_any_length_is_told_whole_or_refused():
  long = np.arange(100_000, dtype=np.int32)[None, None] % 9 + 1
  content = types.Tokens(jnp.asarray(long), jnp.ones_like(long))
  one = jnp.ones((1, 1))
  events = episodic.Events(jnp.ones((1, 1, 3)), one, one, one, content)
  blank = jax.tree.map(lambda leaf: leaf[0, 0], content)
  memories = only(APPEND(episodic.empty(1, 2, 3, blank), events))
  found = CONTEXT(KEY, memories, NODES['events_recency'], jnp.ones((1, 1, 3)))
  there = np.asarray(found.mask[0, 0]) > 0
  np.testing.assert_array_equal(np.asarray(found.ids[0, 0])[there], long[0, 0])
  short = jax.tree.map(lambda leaf: leaf[:4], blank)
  with pytest.raises(ValueError, match='100000'):
    episodic.append(episodic.empty(1, 2, 3, short), events)


def test_adapters_of_another_base_model_are_refused(params, memories, world):
  """And both are named."""
  other = jax.tree.map(lambda leaf: leaf + 1, params)
  one, two = (
    ''.join(f'{x:08x}' for x in adapters.fingerprint(CONFIG, p)[:2].tolist())
    for p in (params, other)
  )
  with pytest.raises(adapters.OtherBaseError, match=f'{one}.*{two}'):
    scores(other, memories, 'adapter_task', world)
