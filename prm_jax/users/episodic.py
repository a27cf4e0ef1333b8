"""Episodic memory: what a person did and said, kept as it was.

Every person has room for C events. Where more come, the earliest give way: by
their time, and of one time by when they were appended. So it does not matter
in which order they arrive, or how many at once; of events in order of time
this is a ring. A memory of all people is one tree of arrays, every leaf with a
leading axis U, and every function here can be traced.

    memory = append(empty(people, capacity, dim), events)
    events = take(memory, similarity(memory, query, count=8))

References:
  Zhang et al. 2025 (PRIME), arXiv:2507.04607.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import recall


class Events(NamedTuple):
  """E events of every person.

  Attributes:
    embedding: `[U, E, D]` what the event is recalled by; its direction alone
      is kept.
    time: `[U, E]`, days since some first event: float32 keeps no seconds since
      1970. 0 for all if times are not known: events are then as late as they
      arrive.
    complexity: `[U, E]`, the more the more complex: tokens, or a score.
    mask: `[U, E]` 1 for an event, 0 for padding, whatever it holds.
    content: leaves `[U, E, ...]`, what is recalled: tokens, labels, the
      number of a text; `()` if nothing but the embedding.
  """

  embedding: types.Array
  time: types.Array
  complexity: types.Array
  mask: types.Array
  content: types.PyTree = ()


class Memory(NamedTuple):
  """The events that are kept of every person.

  Attributes:
    events: C slots; what no slot holds any more is 0.
    latest: `[U, C]` int32, slots from the latest event to the earliest; empty
      slots last.
    dropped: `[U]` int32, events that have given way so far.
  """

  events: Events
  latest: types.Array
  dropped: types.Array


class Recalled(NamedTuple):
  """N events of every person, or of every query of every person.

  Attributes:
    slot: `[U, N]` or `[U, Q, N]` int32; 0 where there is none.
    mask: of the same shape, 0 where fewer than N events are there.
  """

  slot: types.Array
  mask: types.Array


def empty(
  people: int, capacity: int, dim: int, content: types.PyTree = ()
) -> Memory:
  """Returns the memory of U people of whom nothing is known.

  Args:
    people: U.
    capacity: C; may be 0.
    dim: D of an embedding.
    content: of one event, whose shapes and dtypes are taken.

  Raises:
    ValueError: the capacity is below 0.
  """
  if capacity < 0:
    raise ValueError(f'capacity {capacity}: at least 0')
  shape = people, capacity

  def blank(leaf):
    leaf = jnp.asarray(leaf)
    return jnp.zeros((*shape, *leaf.shape), leaf.dtype)

  events = Events(
    embedding=jnp.zeros((*shape, dim)),
    time=jnp.zeros(shape),
    complexity=jnp.zeros(shape),
    mask=jnp.zeros(shape),
    content=jax.tree.map(blank, content),
  )
  slots = jnp.broadcast_to(jnp.arange(capacity, dtype=jnp.int32), shape)
  return Memory(events, slots, jnp.zeros(people, jnp.int32))


def append(memory: Memory, events: Events) -> Memory:
  """Returns the memory with new events; the earliest give way.

  Args:
    memory: of U people.
    events: `[U, E, ...]`; of people who did nothing all are masked.

  Raises:
    ValueError: people, dimension or content are not those of the memory.
  """
  kept = jax.tree.map(_one_event, memory.events)
  given = jax.tree.map(_one_event, events)
  if kept != given:
    raise ValueError(f'events are {given}, the memory keeps {kept}')
  events = events._replace(
    embedding=recall.unit(events.embedding),
    mask=(jnp.asarray(events.mask) > 0).astype(jnp.float32),
  )
  return jax.vmap(_append)(memory, events)


def _one_event(leaf):
  """Returns how many people a leaf is of, and the shape of one event."""
  U, _, *shape = jnp.shape(leaf)
  return U, tuple(shape)


def _append(memory: Memory, new: Events) -> Memory:
  """Returns the memory of one person with E new events."""
  old = memory.events
  (C,), (E,) = old.mask.shape, new.mask.shape
  if not C or not E:
    lost = new.mask.sum().astype(jnp.int32)
    return memory._replace(dropped=memory.dropped + lost)
  by_arrival = memory.latest[::-1]  # and by time, the earliest first
  time = jnp.concatenate([old.time[by_arrival], new.time])
  present = jnp.concatenate([old.mask[by_arrival], new.mask]) > 0
  first = recall.latest_first(time, present)[:C]
  stays, comes = present[first] & (first < C), present[first] & (first >= C)
  own = by_arrival[jnp.minimum(first, C - 1)]
  taken = jnp.zeros(C, bool).at[jnp.where(stays, own, C)].set(True, mode='drop')
  free = jnp.argsort(taken, stable=True).astype(jnp.int32)
  # New events take the first free slots, empty places the rest.
  latest = jnp.where(stays, own, free[jnp.cumsum(~stays) - 1])
  target = jnp.full(E, C).at[jnp.where(comes, first - C, E)]
  slot = target.set(latest, mode='drop')
  events = jax.tree.map(
    lambda kept, given: kept.at[slot].set(given, mode='drop'), old, new
  )
  lost = jnp.maximum(present.sum() - C, 0).astype(jnp.int32)
  return Memory(events, latest, memory.dropped + lost)


def recency(memory: Memory, *, count: int) -> Recalled:
  """Returns the latest N = `count` events of everybody, the latest first.

  Raises:
    ValueError: N is below 0.
  """
  if count < 0:
    raise ValueError(f'count {count}: at least 0')
  slots = memory.latest[:, :count]
  mask = jnp.take_along_axis(memory.events.mask, slots, -1)
  missing = ((0, 0), (0, max(count - slots.shape[1], 0)))
  slots = jnp.where(mask > 0, slots, 0)
  return Recalled(jnp.pad(slots, missing), jnp.pad(mask, missing))


def similarity(memory: Memory, query: types.Array, *, count: int) -> Recalled:
  """Returns the N = `count` events most like a query, the likest first.

  Alike are directions (the cosine). Of events that are equally like it, the
  latest comes first.

  Args:
    memory: of U people.
    query: `[U, D]` embeddings, or `[U, Q, D]` of several queries a person.
    count: N.
  """
  query, events = recall.unit(query), memory.events

  def one(query):
    person = functools.partial(recall.most_similar, count=count)
    return jax.vmap(lambda *own: person(*own[:3], order=own[3]))(
      query, events.embedding, events.mask, memory.latest
    )

  if query.ndim == 2:
    return Recalled(*one(query))
  # One query of everybody at a time: a product with several of them is slow
  # where every person has a matrix of their own.
  found = jax.lax.map(one, jnp.moveaxis(query, 1, 0))
  return Recalled(*(jnp.moveaxis(leaf, 0, 1) for leaf in found))


def similarity_then_recency(
  memory: Memory, query: types.Array, *, count: int, pool: int
) -> Recalled:
  """Returns the latest N = `count` of the events most like a query.

  Args:
    memory: of U people.
    query: `[U, D]`, or `[U, Q, D]`.
    count: N.
    pool: how many of the most similar events the latest are chosen from.

  Raises:
    ValueError: the pool is smaller than N.
  """
  if pool < count:
    raise ValueError(f'pool {pool}: at least the {count} that are recalled')
  found = _latest_first(memory, similarity(memory, query, count=pool))
  return Recalled(*(leaf[..., :count] for leaf in found))


def at_random(key: types.Key, memory: Memory, *, count: int) -> Recalled:
  """Returns N = `count` events of everybody, none twice, all as likely.

  Args:
    key: a person's draw hangs on it and on their row alone.
    memory: of U people.
    count: N.
  """
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    key, jnp.arange(len(memory.latest))
  )
  draw = jax.vmap(lambda k, mask: recall.at_random(k, mask, count=count))
  return Recalled(*draw(keys, memory.events.mask))


def most_complex(memory: Memory, *, count: int) -> Recalled:
  """Returns the N = `count` most complex events; of equal ones the latest."""

  def one(events, latest):
    chosen = recall.top(
      events.complexity[latest], events.mask[latest], count=count
    )
    if not latest.size:
      return Recalled(*chosen)
    slots = jnp.where(chosen.mask > 0, latest[chosen.place], 0)
    return Recalled(slots, chosen.mask)

  return jax.vmap(one)(memory.events._replace(content=()), memory.latest)


def earliest_first(memory: Memory, recalled: Recalled) -> Recalled:
  """Returns what was recalled in order of time, as a prompt tells it.

  Where fewer than N events are there, what is missing still comes last.
  """
  found = _latest_first(memory, recalled)
  mask = found.mask[..., ::-1]
  # Turned round, what is missing stands in front.
  order = jnp.argsort(mask <= 0, -1, stable=True)
  slots = jnp.take_along_axis(found.slot[..., ::-1], order, -1)
  return Recalled(slots, jnp.take_along_axis(mask, order, -1))


def _latest_first(memory: Memory, recalled: Recalled) -> Recalled:
  slots, mask = recalled
  if not memory.latest.shape[1]:
    return recalled
  rank = jnp.argsort(memory.latest, -1)  # of every slot, 0 for the latest
  flat = slots.reshape(len(slots), -1)
  place = jnp.take_along_axis(rank, flat, -1).reshape(slots.shape)
  place = jnp.where(mask > 0, place, memory.latest.shape[1])
  order = jnp.argsort(place, -1, stable=True)
  return Recalled(*(jnp.take_along_axis(x, order, -1) for x in recalled))


def take(memory: Memory, recalled: Recalled) -> Events:
  """Returns the events that were recalled, leaves `[U, (Q,) N, ...]`.

  What is missing is 0 in all leaves.
  """
  slots, mask = recalled

  def gather(leaf):
    shape = (*slots.shape, *leaf.shape[2:])
    if not leaf.shape[1]:
      return jnp.zeros(shape, leaf.dtype)
    found = jax.vmap(lambda own, slot: own[slot])(leaf, slots)
    there = mask.reshape(mask.shape + (1,) * (found.ndim - mask.ndim)) > 0
    return jnp.where(there, found, jnp.zeros((), leaf.dtype))

  return jax.tree.map(gather, memory.events)


def remove(memory: Memory, gone: types.Array) -> Memory:
  """Returns the memory without some events, which leave nothing behind.

  Args:
    memory: of U people.
    gone: `[U, C]` above 0 for the slots whose events go.
  """
  gone = jnp.asarray(gone) > 0
  chex.assert_equal_shape([gone, memory.latest])

  def clear(leaf):
    where = gone.reshape(gone.shape + (1,) * (leaf.ndim - 2))
    return jnp.where(where, jnp.zeros((), leaf.dtype), leaf)

  events = jax.tree.map(clear, memory.events)
  mask = jnp.take_along_axis(events.mask, memory.latest, -1)
  order = jnp.argsort(mask <= 0, -1, stable=True)
  latest = jnp.take_along_axis(memory.latest, order, -1)
  return memory._replace(events=events, latest=latest)


def forget(memory: Memory, people: types.Array) -> Memory:
  """Returns the memory as if nothing had ever been known of some people.

  In a bank (`users/bank.py`) a memory may be what is believed of people, with
  that of `blank` as the blank one: `bank.forget` then does the same.

  Args:
    memory: of U people.
    people: `[P]` rows.
  """
  nothing = blank(memory)
  return jax.tree.map(
    lambda leaf, none: leaf.at[jnp.asarray(people)].set(none), memory, nothing
  )


def blank(memory: Memory) -> Memory:
  """Returns the memory of one person of whom nothing is known, without U."""
  slots = jnp.arange(memory.latest.shape[1], dtype=jnp.int32)
  nothing = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), memory
  )
  return nothing._replace(latest=slots)
