import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.users import bank, episodic

U, C, D, N = 3, 5, 4, 3


class Reference:
  """One person's events as a list of plain numbers."""

  def __init__(self, capacity):
    self.capacity, self.events, self.arrived, self.dropped = capacity, [], 0, 0

  def append(self, event):
    self.arrived += 1
    self.events.append((*event, self.arrived))
    self.events.sort(key=lambda e: (e[1], e[4]))
    lost = max(len(self.events) - self.capacity, 0)
    self.events, self.dropped = self.events[lost:], self.dropped + lost

  def best(self, score, count=N):
    """Numbers of the events of the highest score; of equal ones the latest."""
    order = sorted(
      self.events, key=lambda e: (score(e), e[1], e[4]), reverse=True
    )
    return [event[3] for event in order[:count]]

  def recall(self, query):
    def cosine(event):
      lengths = np.linalg.norm(event[0]) * np.linalg.norm(query)
      return round(float(event[0] @ query / lengths), 9) if lengths else 0.0

    near = self.best(cosine, 4)
    return {
      'recency': self.best(lambda e: 0),
      'similarity': self.best(cosine),
      'then': [n for n in self.best(lambda e: 0, C) if n in near][:N],
      'complex': self.best(lambda e: e[2]),
      'told': self.best(lambda e: 0)[::-1],
    }


append = jax.jit(episodic.append)


@jax.jit
def recalled(memory, query):
  """Numbers of the events that are recalled, 0 where there are none."""
  latest = episodic.recency(memory, count=N)
  found = {
    'recency': latest,
    'similarity': episodic.similarity(memory, query, count=N),
    'then': episodic.similarity_then_recency(memory, query, count=N, pool=4),
    'complex': episodic.most_complex(memory, count=N),
    'told': episodic.earliest_first(memory, latest),
  }
  return {
    name: episodic.take(memory, one).content['number']
    for name, one in found.items()
  }


def drawn(seed, E, time=None):
  """Random events, of few times and complexities, so that some are equal."""
  rng, shape = np.random.default_rng(seed), (U, E)
  return episodic.Events(
    rng.normal(size=(*shape, D)).astype(np.float32),
    rng.integers(0, 4, shape).astype(np.float32) if time is None else time,
    rng.integers(0, 3, shape).astype(np.float32),
    (rng.random(shape) < 0.8).astype(np.float32),
    {'number': rng.integers(1, 10**6, shape).astype(np.int32)},
  )


def start(capacity=C, people=U):
  return episodic.empty(people, capacity, D, {'number': np.int32(0)})


def rows(events):
  """Yields (person, event) of what is not masked, as they arrive."""
  for person, mask in enumerate(events.mask):
    for e in np.flatnonzero(mask):
      yield (
        person,
        (
          events.embedding[person, e].astype(float),
          float(events.time[person, e]),
          float(events.complexity[person, e]),
          int(events.content['number'][person, e]),
        ),
      )


def alone(events, e):
  """One event of everybody, beside padding."""
  pair = jax.tree.map(lambda leaf: leaf[:, [e, 0]], events)
  return pair._replace(mask=pair.mask * np.float32([1, 0]))


def kept(memory, person):
  """The numbers of a person's events, the earliest first."""
  order = np.asarray(memory.latest[person])[::-1]
  numbers = np.asarray(memory.events.content['number'][person])[order]
  return numbers[np.asarray(memory.events.mask[person])[order] > 0].tolist()


def test_agrees_with_lists():
  """None, one, some and more events than there is room for, in any order."""
  memory, people = start(), [Reference(C) for _ in range(U)]
  for seed, E in enumerate((0, 2, 2, 7, 2, 7)):
    events = drawn(seed, E)
    if E:
      events.mask[1] = events.mask[1] * (seed > 2)  # one who starts late
      memory = append(memory, events)
    for person, event in rows(events):
      people[person].append(event)
    query = np.random.default_rng(seed + 50).normal(size=(U, D))
    found = recalled(memory, query)
    for person, expected in enumerate(people):
      assert kept(memory, person) == [e[3] for e in expected.events]
      assert memory.dropped[person] == expected.dropped
      for name, numbers in expected.recall(query[person]).items():
        missing = [0] * (N - len(numbers))
        assert found[name][person].tolist() == numbers + missing, name
  assert max(memory.dropped) > 2


def test_one_by_one_is_all_at_once_in_any_order():
  """Of different times, what is kept does not hang on how they arrive."""
  E, rng = 7, np.random.default_rng(1)
  time = np.argsort(rng.random((U, E)), -1).astype(np.float32)
  events = drawn(2, E, time)._replace(mask=np.ones((U, E), np.float32))
  whole = append(start(), events)
  memory = start()
  for e in rng.permutation(E):
    memory = append(memory, alone(events, e))
  query = rng.normal(size=(U, D))
  for person in range(U):
    expected = np.argsort(time[person])[-C:]
    numbers = events.content['number'][person][expected].tolist()
    assert kept(memory, person) == kept(whole, person) == numbers
  jax.tree.map(
    np.testing.assert_array_equal,
    recalled(memory, query),
    recalled(whole, query),
  )


def test_in_order_of_time_it_is_a_ring():
  memory = start()
  for e in range(C + 2):
    event = drawn(e, 2, np.full((U, 2), e, np.float32))
    event.mask[:] = 1
    memory = append(memory, alone(event, 0))
    assert memory.latest[0, 0] == e % C


def test_two_people_with_one_history_recall_the_same():
  events = jax.tree.map(lambda leaf: leaf[[0, 0, 1]], drawn(4, 7))
  memory = append(start(), events)
  query = np.random.default_rng(0).normal(size=(U, D))[[0, 0, 1]]
  jax.tree.map(
    lambda leaf: np.testing.assert_array_equal(leaf[0], leaf[1]),
    (memory, recalled(memory, query)),
  )


def test_without_room_nothing_is_kept_and_nothing_recalled():
  events = drawn(5, 7)
  memory = append(start(0), events)
  np.testing.assert_array_equal(memory.dropped, events.mask.sum(1))
  found = recalled(memory, np.ones((U, D)))
  assert not any(np.asarray(leaf).any() for leaf in found.values())
  chance = episodic.at_random(jax.random.key(0), memory, count=N)
  assert chance.mask.shape == (U, N)
  assert not chance.mask.any()


def test_several_queries_are_as_many_recalls():
  memory = append(start(), drawn(6, 7))
  query = np.random.default_rng(0).normal(size=(U, 2, D))
  both = recalled(memory, query)
  for q in range(2):
    one = recalled(memory, query[:, q])
    for name in ('similarity', 'then'):
      np.testing.assert_array_equal(both[name][:, q], one[name])


def test_chance_draws_no_event_twice_and_all_as_often():
  events = drawn(7, C)
  events.mask[:] = 1
  events.mask[1, 2:] = 0
  memory = append(start(), events)
  draw = jax.jit(jax.vmap(lambda key: episodic.at_random(key, memory, count=N)))
  found = draw(jax.random.split(jax.random.key(1), 2000))
  np.testing.assert_array_equal(found.mask[0].sum(-1), [N, 2, N])
  slots = np.asarray(found.slot[:, 0])
  assert all(len(set(row)) == N for row in slots.tolist())
  # Each of 5 events in 3 of 5 draws; six standard deviations.
  share = np.bincount(slots.ravel(), minlength=C) / 2000
  np.testing.assert_allclose(share, N / C, atol=6 * 0.011)
  assert (found.slot[:, 0] != found.slot[:, 2]).any()


def test_what_is_no_direction_is_like_nothing():
  events = drawn(8, 7)
  events.mask[:, 3:], events.time[:] = 0, [0, 1, 2, 3, 4, 5, 6]
  events.mask[:, :3] = 1
  events.embedding[0, :3] = np.eye(D)[[0, 0, 1]] * [[0], [np.nan], [1e-30]]
  memory = append(start(), events)
  order = memory.latest[0, :3][::-1]
  np.testing.assert_array_equal(
    memory.events.embedding[0][order], [[0] * 4, [0] * 4, [0, 1, 0, 0]]
  )
  found = recalled(memory, np.ones((U, D)))['similarity'][0]
  assert found.tolist() == events.content['number'][0, [2, 1, 0]].tolist()


def test_padding_is_never_kept():
  events = drawn(9, 2)
  events.mask[:] = 0
  events.embedding[:], events.time[:] = np.nan, np.inf
  jax.tree.map(np.testing.assert_array_equal, start(), append(start(), events))


def test_who_is_forgotten_leaves_nothing():
  memory = append(start(), drawn(10, 7))
  gone = episodic.forget(memory, np.array([1]))
  jax.tree.map(
    lambda leaf, old, none: (
      np.testing.assert_array_equal(leaf[1], none[1]),
      np.testing.assert_array_equal(leaf[::2], old[::2]),
    ),
    gone,
    memory,
    start(),
  )
  people = bank.with_ids(
    bank.empty(U, (), episodic.blank(memory)), ['a', 'b', 'c']
  )
  people = bank.forget(people._replace(beliefs=memory), ['b'])
  jax.tree.map(np.testing.assert_array_equal, people.beliefs, gone)


def test_removed_events_leave_their_slots_to_others():
  memory = append(start(), drawn(11, 7))
  numbers = np.asarray(memory.events.content['number'])
  one = numbers[0, 2]
  found = jax.jit(episodic.remove)(memory, numbers == one)
  assert kept(found, 0) == [n for n in kept(memory, 0) if n != one]
  assert kept(found, 1) == kept(memory, 1)
  assert not np.asarray(found.events.embedding[0, 2]).any()
  later = drawn(12, 2, np.full((U, 2), 9, np.float32))
  later.mask[:, :] = [1, 0]
  again = append(found, later)
  assert kept(again, 0) == [*kept(found, 0), later.content['number'][0, 0]]
  assert again.dropped[0] == memory.dropped[0]
  assert again.dropped[1] == memory.dropped[1] + (len(kept(memory, 1)) == C)


def test_what_does_not_fit_is_refused():
  events = drawn(0, 2)
  with pytest.raises(ValueError, match=r'the memory keeps'):
    episodic.append(episodic.empty(U, C, D), events)
  with pytest.raises(ValueError, match=r'the memory keeps'):
    episodic.append(start(people=2), events)
  with pytest.raises(ValueError, match='capacity -1'):
    start(-1)
  with pytest.raises(ValueError, match='pool 2'):
    episodic.similarity_then_recency(start(), jnp.ones((U, D)), count=3, pool=2)
