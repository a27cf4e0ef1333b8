"""What is kept of each person: who is who, and forgetting them."""

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types


def user_digest(user_ids: Sequence[str]) -> np.ndarray:
  """Returns the first 64 bits of the SHA-256 of each id, uint32 `[U, 2]`."""
  digests = b''.join(
    hashlib.sha256(user_id.encode()).digest()[:8] for user_id in user_ids
  )
  return np.frombuffer(digests, '>u4').astype(np.uint32).reshape(-1, 2)


def empty(
  people: int, blank_free: types.PyTree, blank_beliefs: types.PyTree
) -> types.People:
  """Returns a bank of U people of whom nothing is known, ids included.

  Args:
    people: U.
    blank_free: free parameters of one person, without U.
    blank_beliefs: belief about one person, without U.
  """
  blank = jax.tree.map(jnp.asarray, (blank_free, blank_beliefs))
  free, beliefs = _everybody(blank, people)
  ids = jnp.zeros((people, 2), jnp.uint32)
  return types.People(ids, free, jnp.zeros(people), {}, beliefs, blank)


def with_beliefs(bank: types.People, belief: types.PyTree) -> types.People:
  """Returns the bank in which this is believed of everybody.

  Args:
    bank: of U people.
    belief: about a person of whom nothing is known, without U.
  """
  blank = jax.tree.map(jnp.asarray, belief)
  return bank._replace(
    beliefs=_everybody(blank, len(bank.ids)), blank=(bank.blank[0], blank)
  )


def _everybody(blank, people):
  return jax.tree.map(
    lambda leaf: jnp.tile(leaf, (people, *[1] * leaf.ndim)), blank
  )


def with_ids(bank: types.People, user_ids: Sequence[str]) -> types.People:
  """Returns the bank with its rows given to these people, in order.

  Raises:
    ValueError: an id occurs twice.
  """
  ids = user_digest(user_ids)
  values, counts = np.unique(_as_uint64(ids), return_counts=True)
  if counts.max(initial=0) > 1:
    twice = _as_uint64(ids) == values[counts.argmax()]
    raise ValueError(
      f'user id {user_ids[int(twice.argmax())]!r} occurs '
      f'{int(twice.sum())} times: give each person once'
    )
  return bank._replace(ids=jnp.asarray(ids))


def rows_of(bank: types.People, user_ids: Sequence[str]) -> np.ndarray:
  """Returns the row of each person in the bank, int32 `[len(user_ids)]`.

  Raises:
    KeyError: a person is not in the bank.
  """
  kept = _as_uint64(np.asarray(bank.ids))
  asked = _as_uint64(user_digest(user_ids))
  order = np.argsort(kept, kind='stable')
  place = np.searchsorted(kept, asked, sorter=order)
  found = np.zeros(len(asked), np.int64)
  inside = place < len(kept)
  found[inside] = order[place[inside]]
  known = inside & (kept[found] == asked) if len(kept) else inside
  if not known.all():
    missing = [user_ids[i] for i in np.flatnonzero(~known).tolist()]
    more = f' and {len(missing) - 3} more' if len(missing) > 3 else ''
    names = ', '.join(repr(name) for name in missing[:3])
    raise KeyError(f'not in the user bank: {names}{more}')
  return found.astype(np.int32)


def forget(bank: types.People, user_ids: Sequence[str]) -> types.People:
  """Returns the bank as if these people had never been in it.

  Their rows, the optimiser's moments of them, beliefs and answers become
  those of a person of whom nothing is known, and their places are free.
  Shared parameters have learned from them and are not changed; checkpoints
  on disk hold earlier banks until they are deleted.

  Args:
    bank: of everybody.
    user_ids: of whom nothing may remain.

  Raises:
    KeyError: a person is not in the bank.
  """
  where = jnp.asarray(rows_of(bank, user_ids))
  blank_free, blank_beliefs = bank.blank

  def reset(leaf, blank):
    return jnp.asarray(leaf).at[where].set(blank)

  def clear(leaf):
    leaf = jnp.asarray(leaf)
    return leaf.at[where].set(jnp.zeros((), leaf.dtype))

  return bank._replace(
    ids=clear(bank.ids),
    free=jax.tree.map(reset, bank.free, blank_free),
    weight=clear(bank.weight),
    moments=jax.tree.map(clear, bank.moments),
    beliefs=jax.tree.map(reset, bank.beliefs, blank_beliefs),
  )


def _as_uint64(ids: np.ndarray) -> np.ndarray:
  wide = ids.astype(np.uint64)
  return (wide[:, 0] << np.uint64(32)) | wide[:, 1]
