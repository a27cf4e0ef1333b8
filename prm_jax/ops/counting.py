"""What was said most often, of things that are kept of a person."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from prm_jax import types


class Frequent(NamedTuple):
  """What was said most often of each of A things.

  Attributes:
    value: `[A]` int32; 0 where nothing was said.
    mask: `[A]` 1 where something was.
  """

  value: types.Array
  mask: types.Array


def most_frequent(
  values: types.Array,
  present: types.Array,
  *,
  size: int,
  last: int | None = None,
) -> Frequent:
  """Returns what was said most often of each thing, of ONE person.

  Of values that were said equally often the latest.

  Args:
    values: `[E, A]` int, from 0 to size - 1, in order of time; another says
      nothing of its thing.
    present: `[E]` above 0 for an event.
    size: how many values there are.
    last: how many of the latest events count; all if None.

  Raises:
    ValueError: there is no value, or `last` is below 0.
  """
  if size < 1 or (last is not None and last < 0):
    raise ValueError(f'size {size}, last {last}: at least 1, and 0')
  chex.assert_rank([values, present], [2, 1])
  chex.assert_equal_shape_prefix([values, present], 1)
  values = jnp.asarray(values)
  E, A = values.shape
  if not E:
    return Frequent(jnp.zeros(A, jnp.int32), jnp.zeros(A))
  there = jnp.asarray(present) > 0
  if last is not None:
    there &= jnp.cumsum(there[::-1])[::-1] <= last
  said = jax.nn.one_hot(values, size, dtype=jnp.int32)
  said = said * there[:, None, None]
  count = said.sum(0)
  latest = (said * jnp.arange(1, E + 1)[:, None, None]).max(0)
  # By their number, and of equal numbers by the latest: whole numbers, so
  # that long histories are told apart.
  most = count == count.max(-1, keepdims=True)
  value = jnp.argmax(jnp.where(most, latest, -1), -1).astype(jnp.int32)
  mask = (count.max(-1) > 0).astype(jnp.float32)
  return Frequent(value * mask.astype(jnp.int32), mask)
