"""A decoder's parameters of which each process reads its own part alone.

config, leaves = slices.leaves(folder)
params = slices.load(leaves, shardings)
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.models.weights import huggingface, named

Index = tuple[slice, ...]


class Leaf(NamedTuple):
  """A parameter that lies in a file.

  Attributes:
    tensors: of the checkpoint.
    name: in the file; `{}` stands for the layer.
    shape: of the parameter, layers first where they are stacked.
    transposed: whether the file has the last two axes the other way round.
  """

  tensors: named.Tensors
  name: str
  shape: tuple[int, ...]
  transposed: bool

  @property
  def names(self) -> list[str]:
    """Returns the names of its tensors."""
    stacked = '{}' in self.name
    return [self.name.format(at) for at in range(self.shape[0] * stacked or 1)]

  def read(self, index: Index, dtype: Any = np.float32) -> np.ndarray:
    """Returns a part of it, and reads no more than that.

    Args:
      index: a slice of every axis.
      dtype: of the result.

    Raises:
      ValueError: the part holds values that are not finite.
    """
    inner = index
    names = [self.name]
    if '{}' in self.name:
      names, inner = self.names[index[0]], index[1:]
    order = inner[::-1] if self.transposed else inner
    sizes = [len(range(*i.indices(n))) for i, n in zip(index, self.shape)]  # noqa: B905 (as long, or shorter)
    made = np.empty(sizes, dtype)
    rows = made if '{}' in self.name else made[None]
    assert self.tensors.opened is not None
    for row, name in zip(rows, names, strict=True):
      part = self.tensors.opened(name)[order]
      if not np.isfinite(part).all():
        raise ValueError(
          f'{self.tensors.where}: {self.tensors.named(name)} holds values that '
          'are not finite'
        )
      row[...] = part.T if self.transposed else part
    return made


def leaves(folder: Path) -> tuple[decoder.DecoderConfig, types.PyTree]:
  """Returns configuration and parameters of a language model, none of it read.

  But for the head of a file that should have none: where it differs from the
  embedding, a few rows at a time, it is taken, as `load_decoder` does.

  Args:
    folder: as of `huggingface.load_decoder`.

  Raises:
    ValueError: as of `huggingface.load_decoder`, but for values, which are
      seen where they are read.
  """
  config, tensors = huggingface.language_files(folder)
  opened, used = tensors.opened, set[str]()
  assert opened is not None

  def leaf(path, of):
    keys = [entry.key for entry in path[1:]]
    name = huggingface.decoder_name(config, keys)
    found = Leaf(tensors, name, tuple(of.shape), keys[-1] == 'kernel')
    shape = found.shape['{}' in name :]
    shape = shape[::-1] if found.transposed else shape
    used.update(found.names)
    for each in found.names:
      if each not in tensors.names:
        raise ValueError(f'{tensors.where}: {tensors.named(each)} is missing')
      seen = tuple(opened(each).get_shape())
      if seen != shape:
        raise ValueError(
          f'{tensors.where}: {tensors.named(each)} is {seen}, {tensors.said} '
          f'{shape}'
        )
    return found

  shapes = huggingface.decoder_shapes(config)
  made = jax.tree_util.tree_map_with_path(leaf, shapes)
  unread = functools.partial(huggingface.unread, config)
  named.refuse_unused(tensors, used, unread)
  return config, made


def load(
  leaves: types.PyTree, shardings: types.PyTree, *, dtype: Any = jnp.float32
) -> types.PyTree:
  """Returns parameters on devices, of which this process reads its own parts.

  The largest first, one after another: what was read is held beside what lies
  on devices, and last of all that is little.

  Args:
    leaves: of `leaves`.
    shardings: of each, a tree of `jax.sharding.Sharding`.
    dtype: of the parameters.

  Raises:
    ValueError: as of `Leaf.read`.
  """

  def made(leaf: Leaf, where):
    read = functools.partial(leaf.read, dtype=jnp.dtype(dtype))
    array = jax.make_array_from_callback(leaf.shape, where, read, dtype=dtype)
    return jax.block_until_ready(array)

  flat, tree = jax.tree.flatten(leaves, is_leaf=lambda of: isinstance(of, Leaf))
  places = jax.tree.leaves(shardings)
  found: list[Any] = [None] * len(flat)
  for at in sorted(range(len(flat)), key=lambda at: -math.prod(flat[at].shape)):
    found[at] = made(flat[at], places[at])
  return jax.tree.unflatten(tree, found)


def shapes(leaves: types.PyTree, dtype: Any = jnp.float32) -> types.PyTree:
  """Returns the shapes of parameters, as rules of a mesh take them.

  Args:
    leaves: of `leaves`.
    dtype: of the parameters.
  """
  return jax.tree.map(
    lambda of: jax.ShapeDtypeStruct(of.shape, dtype),
    leaves,
    is_leaf=lambda of: isinstance(of, Leaf),
  )


def of_part(leaves: types.PyTree, part: int, parts: int) -> types.PyTree:
  """Returns the index of one of equal parts of every parameter.

  The largest axis that the parts divide is cut, of the inner ones where layers
  are stacked; a parameter that has none is whole in every part.

  Args:
    leaves: of `leaves`.
    part: from 0.
    parts: how many.
  """

  def index(leaf: Leaf) -> Index:
    first = '{}' in leaf.name
    axes = range(first, len(leaf.shape))
    fits: Sequence[int] = [a for a in axes if leaf.shape[a] % parts == 0]
    whole = [slice(0, size) for size in leaf.shape]
    if fits:
      axis = max(fits, key=lambda a: leaf.shape[a])
      size = leaf.shape[axis] // parts
      whole[axis] = slice(part * size, (part + 1) * size)
    return tuple(whole)

  return jax.tree.map(index, leaves, is_leaf=lambda of: isinstance(of, Leaf))
