"""What stands in front of a text, against lists in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import adapters, decoder
from prm_jax.systems import personal_adapters, personal_memories
from prm_jax.users import episodic

CONFIG = decoder.DecoderConfig(12, 8, 16, 1, 2, 1, 4)
KEY, U, E, Q, T, D = jax.random.key(0), 3, 5, 2, 3, 4
Parts = personal_memories.Parts


def tokens(rng, *shape):
  ids = rng.integers(1, 12, shape).astype(np.int32)
  return types.Tokens(jnp.asarray(ids), jnp.ones(shape, jnp.int32))


@pytest.fixture(scope='module')
def params():
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(CONFIG).init)
  return init(KEY, ids, ids, decoder.attended(ids + 1))


@pytest.fixture(scope='module')
def memories(params):
  """Of person 1 there are two events, of 2 none."""
  rng = np.random.default_rng(0)
  there = jnp.asarray(np.float32([[1] * 5, [1, 1, 0, 0, 0], [0] * 5]))
  content = tokens(rng, U, E, T)
  embedding = jnp.asarray(rng.standard_normal((U, E, D)), jnp.float32)
  time = jnp.broadcast_to(jnp.arange(5.0), (U, E))
  events = episodic.Events(embedding, time, -time, there, content)
  one = jax.tree.map(lambda leaf: leaf[0, 0], content)
  memory = episodic.append(episodic.empty(U, E, D, one), events)
  bank = adapters.init(KEY, CONFIG, params, people=U, rank=1)
  moved = jax.tree.map(
    lambda leaf: leaf + rng.standard_normal(leaf.shape).astype(np.float32),
    bank.people,
  )
  return personal_memories.Memories(
    memory,
    {'counts': tokens(rng, U, 2)},
    {'task': bank._replace(people=moved)},
    {'selected': tokens(rng, U, 4)},
  )


@pytest.fixture(scope='module')
def asked():
  rng = np.random.default_rng(1)
  texts = tokens(rng, U, Q, 2, T)
  branch = jnp.broadcast_to((jnp.arange(T) > 0).astype(jnp.int32), (U, Q, 2, T))
  query = jnp.asarray(rng.standard_normal((U, Q, D)), jnp.float32)
  return query, texts._replace(branch=branch)


def said(told, u, q):
  ids, mask = told.ids[u, q], told.mask[u, q]
  return np.asarray(ids)[np.asarray(mask) > 0].tolist()


@pytest.mark.slow
def test_events_text_and_trace_stand_in_front_in_this_order(memories, asked):
  parts = Parts('similarity', events=2, text='counts', trace='selected')
  told = personal_memories.context(KEY, memories, parts, asked[0])
  kept = memories.events.events
  for u in range(U):
    for q in range(Q):
      likeness = np.asarray(kept.embedding[u] @ asked[0][u, q])
      there = np.flatnonzero(np.asarray(kept.mask[u]))
      best = sorted(there, key=lambda e: -likeness[e])[:2]
      best = sorted(best, key=lambda e: float(kept.time[u, e]))
      expected = [int(x) for e in best for x in kept.content.ids[u, e]]
      expected += memories.texts['counts'].ids[u].tolist()
      expected += memories.traces['selected'].ids[u].tolist()
      assert said(told, u, q) == expected
  assert not np.asarray(told.branch).any()


@pytest.mark.parametrize('recall', personal_memories.RECALLS)
def test_every_recall_tells_events_of_the_person(memories, asked, recall):
  parts = Parts(recall, events=2, pool=3)
  kept = memories.events.events
  told = personal_memories.context(KEY, memories, parts, asked[0])
  wanted = {'recency': [3, 4], 'most_complex': [0, 1]}.get(recall)
  for u, count in enumerate((2, 2, 0)):
    found = np.reshape(said(told, u, 0), (-1, T)).tolist()
    own = kept.content.ids[u].tolist()
    assert len(found) == count
    places = [float(kept.time[u, own.index(event)]) for event in found]
    assert places == sorted(set(places))
    if wanted and u == 0:
      assert places == wanted


def test_what_is_swapped_is_the_next_persons(memories, asked):
  parts = Parts('recency', text='counts', trace='selected')
  own = personal_memories.context(KEY, memories, parts, asked[0])
  for names in (('events',), ('text', 'trace'), personal_memories.SWAPPED):
    told = personal_memories.context(
      KEY, memories, parts._replace(swapped=names), asked[0]
    )
    length = 4 * T, 2, 4
    ends = np.cumsum((0, *length))
    for i, name in enumerate(('events', 'text', 'trace')):
      part = slice(ends[i], ends[i + 1])
      mine, theirs = (
        np.asarray(told.ids * told.mask)[..., part],
        np.asarray(own.ids * own.mask)[..., part],
      )
      shift = -1 if name in names else 0
      np.testing.assert_array_equal(mine, np.roll(theirs, shift, 0))


def test_scores_are_those_of_whole_texts_one_at_a_time(params, memories, asked):
  query, texts = asked
  parts = personal_memories.NODES['dual_task']._replace(events=2)
  found = personal_memories.scored(
    KEY, CONFIG, params, memories, parts, query, texts
  )
  assert found.shape == (U, Q, 2)
  own = memories.adapters['task'].people
  one = jax.jit(
    lambda a, text: personal_adapters.scores(CONFIG, params, a, text)
  )
  for u in range(U):
    a = jax.tree.map(lambda leaf: leaf[u], own)  # noqa: B023
    told = personal_memories.context(KEY, memories, parts, query)
    for q in range(Q):
      front = said(told, u, q)
      ids = np.zeros((2, 2 * T + T), np.int32)
      branch, mask = ids.copy(), ids.copy()
      size = len(front) + T
      for k in range(2):
        ids[k, :size] = front + texts.ids[u, q, k].tolist()
      mask[:, :size], branch[:, size - T + 1 : size] = 1, 1
      expected = one(a, types.Tokens(ids, mask, branch=branch))
      np.testing.assert_allclose(found[u, q], expected, atol=1e-4)
  swapped = parts._replace(swapped=('adapter',))
  other = personal_memories.scored(
    KEY, CONFIG, params, memories, swapped, query, texts
  )
  assert np.abs(other - found).max(-1).min() > 1e-3


def test_nodes_are_parts_that_can_be_told():
  for parts in personal_memories.NODES.values():
    personal_memories.check(parts)
  assert personal_memories.NODES['nothing'] == Parts()
  dual = personal_memories.NODES['dual_task']
  assert (dual.recall, dual.adapter) == ('recency', 'task')


@pytest.mark.parametrize(
  ('parts', 'words'),
  [
    (Parts('newest'), "recall 'newest'"),
    (Parts(swapped=('person',)), 'swapped'),
    (Parts(adapter='dpo'), "adapter 'dpo': one of"),
    (Parts(text='written'), "text 'written'"),
    (Parts(trace='distilled'), "trace 'distilled'"),
  ],
)
def test_what_is_not_kept_is_refused(memories, asked, parts, words):
  with pytest.raises(ValueError, match=words):
    personal_memories.context(KEY, memories, parts, asked[0])


def test_adapters_of_another_base_model_are_refused(params, memories, asked):
  other = jax.tree.map(lambda leaf: 2 * leaf, params)
  with pytest.raises(adapters.OtherBaseError):
    personal_memories.scored(
      KEY, CONFIG, other, memories, Parts(adapter='task'), *asked
    )


def test_nothing_of_a_forgotten_person_is_left(memories):
  left = personal_memories.forget(memories, jnp.array([0]))
  blank = episodic.blank(left.events)
  start = left.adapters['task'].start
  for kept, nothing in (
    (left.events, blank),
    (left.adapters['task'][0], start),
  ):
    jax.tree.map(
      lambda leaf, none: np.testing.assert_array_equal(leaf[0], none),
      kept,
      nothing,
    )
  for words in (left.texts['counts'], left.traces['selected']):
    assert not np.asarray(words.ids[0]).any()
    assert not np.asarray(words.mask[0]).any()
  jax.tree.map(
    lambda leaf, old: np.testing.assert_array_equal(leaf[1:], old[1:]),
    (left.texts, left.traces, left.events),
    (memories.texts, memories.traces, memories.events),
  )


def test_bytes_are_of_what_is_told(memories):
  count = personal_memories.bytes_per_person
  assert count(memories, Parts()) == 0
  assert count(memories, Parts(text='counts')) == 2 * 2 * 4
  dual = count(memories, Parts('recency', adapter='task'))
  adapter = adapters.bytes_per_person(memories.adapters['task'])
  # Embedding, time, complexity, mask and tokens, the order, and one number.
  events = E * (D + 3 + 2 * T + 1) * 4 + 4
  assert dual == adapter + events
