"""People on a mesh: padded with blank ones where devices do not divide them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types


def padded(state: types.TrainState, multiple: int) -> types.TrainState:
  """Returns the state with blank people up to a multiple.

  Args:
    state: of U people.
    multiple: devices over which people are split.
  """
  extra = -len(state.people.ids) % multiple
  return _changed(state, functools.partial(_longer, extra)) if extra else state


def bare(state: types.TrainState, people: int) -> types.TrainState:
  """Returns the state of the first people, without the padding.

  Args:
    state: of U people or more.
    people: U.
  """
  if len(state.people.ids) == people:
    return state
  return _changed(state, lambda leaf, blank: leaf[:people])


def _longer(extra: int, leaf: Any, blank: Any) -> types.Array:
  rows = jnp.broadcast_to(blank, (extra, *jnp.shape(blank)))
  return jnp.concatenate([leaf, rows.astype(leaf.dtype)])


def _changed(
  state: types.TrainState, change: Callable[[Any, Any], types.Array]
) -> types.TrainState:
  """Returns the state, every leaf of its people changed beside its blank."""
  people = state.people
  free, beliefs = people.blank

  def nothing(leaf):
    return jnp.zeros(leaf.shape[1:], leaf.dtype)

  others = people.ids, people.weight, people.moments
  ids, weight, moments = jax.tree.map(
    lambda leaf: change(leaf, nothing(leaf)), others
  )
  return state._replace(
    people=people._replace(
      ids=ids,
      weight=weight,
      moments=moments,
      free=jax.tree.map(change, people.free, free),
      beliefs=jax.tree.map(change, people.beliefs, beliefs),
    )
  )
