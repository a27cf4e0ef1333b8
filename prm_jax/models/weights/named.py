"""Tensors by their names in a file, and trees of parameters made of them."""

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from prm_jax import types


class Tensors(NamedTuple):
  """The tensors of a checkpoint, read one by one.

  Attributes:
    where: the file, for errors.
    names: of all.
    read: (name) -> array, in the file's orientation `[out, in]`.
    said: what says which shapes they have, for errors.
    options: end of a name -> the options that say it.
    opened: (name) -> a tensor of which parts are read, of a safetensors file.
  """

  where: str
  names: frozenset[str]
  read: Callable[[str], np.ndarray]
  said: str = 'config.json says'
  options: Mapping[str, str] = MappingProxyType({})
  opened: Callable[[str], Any] | None = None

  def option(self, name: str) -> str:
    """Returns the options of a tensor; '' if none is known."""
    ends = (of for end, of in self.options.items() if name.endswith(end))
    return next(ends, '')

  def named(self, name: str) -> str:
    """Returns how an error names a tensor: its options stand before it."""
    option = self.option(name)
    return f'{option}: tensor {name}' if option else f'tensor {name}'


def fill(
  shapes: types.PyTree,
  tensors: Tensors,
  name_of: Callable[[list[str]], str],
  ignored: Callable[[str], bool],
) -> types.PyTree:
  """Returns a tree of parameters, float32, filled from named tensors.

  Args:
    shapes: of the parameters.
    tensors: of the checkpoint.
    name_of: (keys in the tree) -> name; `{}` in it stands for the layer, whose
      tensors are stacked.
    ignored: (name) -> whether a tensor may be left unused.

  Raises:
    ValueError: a tensor is missing, unused, of the wrong shape, or not finite.
  """
  used = set()

  def take(name, shape, transposed):
    used.add(name)
    value = checked(tensors, name, shape[::-1] if transposed else shape)
    return value.T if transposed else value

  def leaf(path, shape):
    keys = [entry.key for entry in path[1:]]
    name, transposed = name_of(keys), keys[-1] == 'kernel'
    if '{}' not in name:
      return take(name, shape.shape, transposed)
    count, *inner = shape.shape
    for index in range(count):
      require(tensors, name.format(index))
    first = take(name.format(0), tuple(inner), transposed)
    stacked = np.empty((count, *first.shape), np.float32)
    stacked[0] = first
    for index in range(1, count):
      stacked[index] = take(name.format(index), tuple(inner), transposed)
    return stacked

  params = jax.tree_util.tree_map_with_path(leaf, shapes)
  refuse_unused(tensors, used, ignored)
  return params


def refuse_unused(
  tensors: Tensors, used: Collection[str], ignored: Callable[[str], bool]
) -> None:
  """Refuses tensors that a model does not use.

  Args:
    tensors: of the checkpoint.
    used: names of what the model takes.
    ignored: as of `fill`.

  Raises:
    ValueError: there are such tensors.
  """
  unused = sorted(
    name for name in tensors.names.difference(used) if not ignored(name)
  )
  if unused:
    said = sorted({_option(tensors, used, name) for name in unused} - {''})
    raise ValueError(
      f'{tensors.where}: the model does not use the tensors '
      + ', '.join(unused[:8])
      + (f' and {len(unused) - 8} more' if len(unused) > 8 else '')
      + (f': {tensors.said} so ({"; ".join(said)})' if said else '')
    )


def _option(tensors: Tensors, used: Collection[str], name: str) -> str:
  """Returns the options that say that a tensor is not there; '' if unknown."""
  if not tensors.options:
    return ''
  anywhere = re.sub(r'\d+', '{}', name)  # in the layers that there are
  if any(re.sub(r'\d+', '{}', other) == anywhere for other in used):
    return 'num_hidden_layers'
  return tensors.option(name)


def require(tensors: Tensors, name: str) -> None:
  """Refuses a name of which there is no tensor.

  Args:
    tensors: of the checkpoint.
    name: of the tensor.

  Raises:
    ValueError: there is none.
  """
  if name not in tensors.names:
    raise ValueError(f'{tensors.where}: {tensors.named(name)} is missing')


def checked(tensors: Tensors, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Returns a tensor as float32, of the shape, and finite.

  Args:
    tensors: of the checkpoint.
    name: of the tensor.
    shape: in the file's orientation.

  Raises:
    ValueError: it is missing, of another shape, or not finite.
  """
  require(tensors, name)
  value = tensors.read(name)
  if value.shape != shape:
    turned = ', transposed' if value.shape == shape[::-1] else ''
    raise ValueError(
      f'{tensors.where}: {tensors.named(name)} is {value.shape}{turned}, '
      f'{tensors.said} {shape}'
    )
  value = np.array(value, np.float32)  # a copy: the file may be closed
  if not np.isfinite(value).all():
    raise ValueError(
      f'{tensors.where}: {tensors.named(name)} holds values that are not finite'
    )
  return value
