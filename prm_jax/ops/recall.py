"""Which of the things that are kept of a person are recalled.

One person at a time: map over people with `jax.vmap`. C is how many things
there is room for, N how many are asked for.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision


class Chosen(NamedTuple):
  """Some of C things, the best first.

  Attributes:
    place: `[N]` int32, which; 0 where there is none.
    mask: `[N]` 1 for a thing, 0 where fewer than N are there.
  """

  place: types.Array
  mask: types.Array


def unit(vectors: types.Array) -> types.Array:
  """Returns vectors `[..., D]` scaled to length 1, in float32.

  Args:
    vectors: `[..., D]`; one of length 0, or that is not finite, becomes 0,
      which is like nothing.
  """
  vectors = precision.raised(vectors)
  fine = jnp.isfinite(vectors).all(-1, keepdims=True)
  vectors = jnp.where(fine, vectors, 0.0)
  # Divided by the largest first: squares of tiny and of huge numbers are 0
  # and infinite in float32.
  largest = jnp.max(jnp.abs(vectors), -1, keepdims=True, initial=0.0)
  vectors = vectors / jnp.where(largest > 0, largest, 1.0)
  length = jnp.sqrt(jnp.sum(vectors**2, -1, keepdims=True))
  return vectors / jnp.where(length > 0, length, 1.0)


def latest_first(time: types.Array, present: types.Array) -> types.Array:
  """Returns places `[C]` int32, from the latest thing to the earliest.

  Of one time, what stands further back in the arrays is the later. What is
  absent comes last.

  Args:
    time: `[C]`; one that is not a number counts as the earliest.
    present: `[C]` above 0 for a thing.
  """
  chex.assert_rank(time, 1)
  chex.assert_equal_shape([time, present])
  (C,) = time.shape
  most = jnp.finfo(jnp.float32).max
  age = jnp.nan_to_num(-precision.raised(time), nan=most)
  age = jnp.where(present > 0, age, jnp.inf)
  order = jnp.argsort(age[::-1], stable=True)
  return (C - 1 - order).astype(jnp.int32)


def top(score: types.Array, present: types.Array, *, count: int) -> Chosen:
  """Returns the N = `count` things of the highest score.

  Of equal scores, what stands first in the arrays is chosen first.

  Args:
    score: `[C]`; one that is not a number counts as the lowest.
    present: `[C]` above 0 for a thing.
    count: N; may be more than C.
  """
  _counted(count)
  chex.assert_rank(score, 1)
  chex.assert_equal_shape([score, present])
  (C,) = score.shape
  least = jnp.finfo(jnp.float32).min
  score = jnp.nan_to_num(precision.raised(score), nan=least)
  score = jnp.where(present > 0, score, -jnp.inf)
  found = jax.lax.top_k(score, min(count, C))
  missing = (0, max(count - C, 0))
  mask = jnp.pad((found[0] > -jnp.inf).astype(jnp.float32), missing)
  index = jnp.pad(found[1].astype(jnp.int32), missing)
  return Chosen(jnp.where(mask > 0, index, 0), mask)


@precision.highest
def most_similar(
  query: types.Array,
  kept: types.Array,
  present: types.Array,
  *,
  count: int,
  order: types.Array | None = None,
) -> Chosen:
  """Returns the N = `count` things whose embeddings are most like a query.

      argmax over c of kept_c . query

  which is the cosine where vectors have length 1. Equal things have equal
  scores, and the first of them in `order` is chosen first: of two that
  contradict each other on one subject, the later, if the latest are first.

  Args:
    query: `[D]`.
    kept: `[C, D]`.
    present: `[C]` above 0 for a thing.
    count: N; may be more than C.
    order: `[C]` int32, a permutation; 0 to C - 1 if None.

  Notes:
    A product with a matrix may round equal rows differently, by the row's
    place. It is therefore cut to 17 bits and chooses 2 N + 8 things, whose
    scores are then summed alike.
  """
  _counted(count)
  C, D = kept.shape
  chex.assert_shape([query, present], [(D,), (C,)])
  query, kept = precision.raised(query), precision.raised(kept)
  rough = jax.lax.reduce_precision(kept @ query, 8, 16)
  if order is not None:
    rough, present = rough[order], present[order]
  # Fewer things than are asked for are padded at the end alone.
  some = top(rough, present, count=min(2 * count + 8, C))
  # From the first of `order` to the last: equal scores keep that order.
  place = jnp.sort(jnp.where(some.mask > 0, some.place, C))
  there = place < C
  place = jnp.where(there, place, 0)
  slot = place if order is None else order[place]
  exact = jnp.sum(kept[slot] * query, -1)
  chosen = top(exact, there, count=count)
  if not C:
    return chosen
  index = jnp.where(chosen.mask > 0, slot[chosen.place], 0)
  return Chosen(index.astype(jnp.int32), chosen.mask)


def at_random(key: types.Key, present: types.Array, *, count: int) -> Chosen:
  """Returns N = `count` things, each set of them as likely as any other.

  Args:
    key: of the draw.
    present: `[C]` above 0 for a thing.
    count: N; may be more than C.
  """
  return top(jax.random.uniform(key, present.shape), present, count=count)


def _counted(count: int) -> None:
  if count < 0:
    raise ValueError(f'count {count}: at least 0')


@precision.highest
def similar(
  query: types.Array, kept: types.Array, present: types.Array, *, count: int
) -> types.Array:
  """Returns which things are among the N = `count` most like a query, `[C]`.

  1 for a thing that is there and whose product with the query is at least the
  N-th largest: of equal ones all, so that their order does not matter.

  Args:
    query: `[D]`.
    kept: `[C, D]`.
    present: `[C]` above 0 for a thing.
    count: N; where fewer are there, all are among them.
  """
  _counted(count)
  C, D = kept.shape
  chex.assert_shape([query, present], [(D,), (C,)])
  there = jnp.asarray(present) > 0
  if not count or not C:
    return jnp.zeros(C)
  # Row by row: a product with a matrix may round equal rows differently.
  like = jnp.where(there, jnp.sum(kept * query, -1), -jnp.inf)
  least = jax.lax.top_k(like, min(count, C))[0][-1]
  return (there & (like >= least)).astype(jnp.float32)
