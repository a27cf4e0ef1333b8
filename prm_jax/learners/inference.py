"""Beliefs of many people from their judgements, and what they predict."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import heads

_FLOATS = 1 << 25  # of gathered evidence held at once


class Group(NamedTuple):
  """People with similar numbers of answers, padded to the same N.

  Attributes:
    people: `[P]` rows of the user bank; -1 is padding.
    rows: `[P, N]` indices of their judgements, in order.
    mask: `[P, N]` 1 for a judgement, 0 for padding.
  """

  people: np.ndarray
  rows: np.ndarray
  mask: np.ndarray


def group_people(
  rows: types.Rows, *, limit: int | None = None, width: int = 1
) -> Iterator[Group]:
  """Yields people with their unmasked judgements, in order of row.

  N is a power of four and P a power of two, so that few shapes are compiled
  however the data are split.

  Args:
    rows: judgements on the host.
    limit: at most this many, the first, of each person.
    width: floats an encoded answer takes, to bound memory.
  """
  used = np.flatnonzero(np.asarray(rows.mask) > 0)
  user = np.asarray(rows.user)[used]
  used = used[np.argsort(user, kind='stable')]
  people, start, count = np.unique(
    np.asarray(rows.user)[used], return_index=True, return_counts=True
  )
  if limit is not None:
    count = np.minimum(count, limit)
  if not people.size or not count.max():
    return
  # The smallest power of four that holds the count, 4 at least.
  size = 4 ** np.maximum(1, np.ceil(np.log(count) / np.log(4) - 1e-9))
  for N in np.unique(size).astype(int):
    chunk = max(1, _FLOATS // (2 * N * width))
    members = np.flatnonzero(size == N)
    for first in range(0, members.size, chunk):
      chosen = members[first : first + chunk]
      P = 1 << int(np.ceil(np.log2(chosen.size)))
      offset = np.arange(N)
      mask = offset < count[chosen, None]
      index = used[np.minimum(start[chosen, None] + offset, used.size - 1)]
      pad = ((0, P - chosen.size), (0, 0))
      yield Group(
        np.pad(people[chosen], pad[0], constant_values=-1).astype(np.int32),
        np.pad(np.where(mask, index, 0), pad).astype(np.int32),
        np.pad(mask, pad).astype(np.float32),
      )


def group_evidence(
  encoded: types.Array, rows: types.Rows, group: Group
) -> types.Pair:
  """Returns the group's evidence, leaves `[P, N, ...]`.

  Args:
    encoded: `[M, J]` encoded texts.
    rows: judgements.
    group: whose.
  """
  # References, of a discriminator's rows, are no answer.
  items = jnp.asarray(rows.items)[group.rows][..., :2]
  return types.Pair(
    encoded=encoded[items],
    label=jnp.asarray(rows.label)[group.rows],
    mask=jnp.asarray(group.mask) * jnp.asarray(rows.mask)[group.rows],
  )


@functools.lru_cache(maxsize=64)
def _jitted(system: types.System):
  """The compiled encoder, inference and prediction of a system."""

  def infer(key, params, encoded, rows, group):
    evidence = group_evidence(encoded, rows, group)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, group.people)
    return jax.vmap(system.user.infer, (0, None, 0))(keys, params, evidence)

  def probability(params, contexts, encoded, rows):
    chosen = jax.tree.map(lambda leaf: leaf[rows.user], contexts)
    pair = encoded[rows.items[:, :2]]
    return heads.pair_probability(system.reward.score(params, pair, chosen))

  def blank(params):
    return system.user.context(params, system.user.prior(params), None)

  return (
    jax.jit(system.reward.encode),
    jax.jit(infer),
    jax.jit(probability),
    jax.jit(blank),
  )


def infer(
  system: types.System,
  params: types.PyTree,
  batch: types.Batch,
  *,
  key: types.Key,
  people: int,
  limit: int | None = None,
) -> types.PyTree:
  """Returns everybody's contexts `[U, ...]` from their unmasked judgements.

  A person without answers gets the prior's context.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    batch: feature table and judgements.
    key: for user models that draw.
    people: U.
    limit: use at most this many of each person's answers, the first.
  """
  encode, infer_group, _, blank = _jitted(system)
  encoded = encode(params['reward'], batch.table)
  contexts = jax.tree.map(
    lambda leaf: np.repeat(np.asarray(leaf)[None], people, 0),
    blank(params['user']),
  )
  device_rows = jax.tree.map(jnp.asarray, batch.rows)
  for group in group_people(batch.rows, limit=limit, width=encoded.shape[-1]):
    fitted = infer_group(key, params['user'], encoded, device_rows, group)
    real = group.people >= 0
    for leaf, new in zip(
      jax.tree.leaves(contexts), jax.tree.leaves(fitted), strict=True
    ):
      leaf[group.people[real]] = np.asarray(new)[real]
  return contexts


def predict(
  system: types.System,
  params: types.PyTree,
  contexts: types.PyTree,
  batch: types.Batch,
) -> np.ndarray:
  """Returns the probability `[B]` that each row's first text is preferred.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    contexts: of every person, `[U, ...]`, as `infer` returns them.
    batch: feature table and judgements; labels are not read.
  """
  encode, _, probability, _ = _jitted(system)
  encoded = encode(params['reward'], batch.table)
  leaves = jax.tree.leaves(contexts)
  people = len(leaves[0]) if leaves else 1
  width = sum(np.size(leaf) for leaf in leaves) // people
  # Contexts are gathered for every row: a block of rows at a time.
  block = max(1, _FLOATS // max(width, 1))
  count = len(batch.rows.user)
  if count <= block:
    return np.asarray(
      probability(params['reward'], contexts, encoded, batch.rows)
    )
  contexts = jax.tree.map(jnp.asarray, contexts)
  found = []
  for first in range(0, count, block):
    index = np.minimum(np.arange(first, first + block), count - 1)
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[index], batch.rows)  # noqa: B023
    found.append(probability(params['reward'], contexts, encoded, rows))
  return np.concatenate(found)[:count]
