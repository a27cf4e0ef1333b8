"""A low-rank adapter of each person, on one base model that nobody changes.

Everybody's adapters are one tree, every leaf with a leading axis U, and are
applied beside the kernels, x W + (x a) b: never merged a person.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder, lora


class OtherBaseError(ValueError):
  """Adapters belong to another base model than the one that is given."""


class Bank(NamedTuple):
  """Adapters of U people.

  Attributes:
    people: of everybody, leaves `[U, L, in, r]` and `[U, L, r, out]`.
    start: of a person of whom nothing is known, without U; it changes nothing.
    base: `[8]` uint32, which base model they change; see `fingerprint`.
  """

  people: lora.Adapters
  start: lora.Adapters
  base: types.Array


def init(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  *,
  people: int,
  rank: int,
  targets: Sequence[str] = ('value', 'output', 'up', 'down'),
) -> Bank:
  """Returns adapters of people of whom nothing is known.

  All start alike, so that an adapter hangs on what a person did alone, and a
  person who is forgotten is like one who never came.

  Args:
    key: of the start.
    config: of the base model.
    params: of the base model.
    people: U.
    rank: r.
    targets: names of a layer's kernels.

  Raises:
    ValueError: no such kernel, or no rank.
  """
  start = lora.init(key, params, rank=rank, targets=targets)
  everybody = jax.tree.map(
    lambda leaf: jnp.tile(leaf, (people, *[1] * leaf.ndim)), start
  )
  return Bank(everybody, start, jnp.asarray(fingerprint(config, params)))


def fingerprint(
  config: decoder.DecoderConfig, params: types.PyTree
) -> np.ndarray:
  """Returns the SHA-256 of a base model, `[8]` uint32.

  Of its sizes and of the name, shape, dtype and values of every weight.

  Args:
    config: of the base model.
    params: of the base model; read on the host.
  """
  digest = hashlib.sha256(
    json.dumps(config.described(), sort_keys=True).encode()
  )
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    leaf = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    digest.update(f'{name} {leaf.dtype} {leaf.shape}'.encode())
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return np.frombuffer(digest.digest(), '>u4').astype(np.uint32)


def check(
  bank: Bank, config: decoder.DecoderConfig, params: types.PyTree
) -> None:
  """Refuses adapters of another base model; on the host, before they are used.

  Args:
    bank: of everybody.
    config: of the base model that is to be used.
    params: of the same.

  Raises:
    OtherBaseError: they were made for another one; both are named.
  """
  own, given = np.asarray(bank.base), fingerprint(config, params)
  if not np.array_equal(own, given):
    raise OtherBaseError(
      f'the adapters change the base model {_short(own)}, this one is '
      f'{_short(given)}: an adapter means nothing on other weights'
    )


def _short(base: np.ndarray) -> str:
  return ''.join(f'{word:08x}' for word in base[:2].tolist())


def of(bank: Bank, people: types.Array) -> lora.Adapters:
  """Returns the adapters of some people, leaves `[P, L, ...]`.

  Args:
    bank: of everybody.
    people: `[P]` rows.
  """
  return jax.tree.map(lambda leaf: leaf[jnp.asarray(people)], bank.people)


def forget(bank: Bank, people: types.Array) -> Bank:
  """Returns the bank in which some people's adapters are at the start.

  Args:
    bank: of everybody.
    people: `[P]` rows.
  """
  where = jnp.asarray(people)
  everybody = jax.tree.map(
    lambda leaf, start: leaf.at[where].set(start), bank.people, bank.start
  )
  return bank._replace(people=everybody)


def bytes_per_person(bank: Bank) -> int:
  """Returns how many bytes one person's adapters take."""
  return sum(leaf.nbytes for leaf in jax.tree.leaves(bank.start))
