"""Device meshes and where each leaf of a state lives on them."""

import contextlib
import contextvars
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from prm_jax import types
from prm_jax.runtime import trees

AXES = ('data', 'fsdp', 'model')
P = PartitionSpec
ROWS = P(('data', 'fsdp'))
Rules = Sequence[tuple[str, PartitionSpec]]

# First match. Decoders lead with their layers, L; what a layer's kernels read
# is split over `fsdp`, what they make over `model`, so that one gather and one
# sum serve a layer. Moments, averages and gradients have the paths of what they
# are of, and rules find the end of a path: they lie where parameters lie.
RULES: Rules = (
  ('(^|/)people/blank', PartitionSpec()),
  ('(^|/)people/', ROWS),
  ('^gradient/1/|^seen$', ROWS),  # of people, in a step of several batches
  ('/layer/(query|key|value|gate|up)/kernel$', P(None, 'fsdp', 'model')),
  ('/layer/(output|down)/kernel$', P(None, 'model', 'fsdp')),
  ('/layer/(query|key|value|gate|up)/bias$', P(None, 'model')),
  ('/layer/(output|down)/bias$', PartitionSpec()),
  ('/[a-z_]*norm/scale$', PartitionSpec()),
  ('(^|/)embed/embedding$', P('model', 'fsdp')),
  ('/params/head/kernel$', P('fsdp', 'model')),  # next-token logits
  ('(^|/)columns/matrix$', P('fsdp')),  # of a decoder's state, for a head
  ('(^|/)adapter/[a-z]+/a$', P(None, ('fsdp', 'model'))),
  ('(^|/)adapter/[a-z]+/b$', P(None, None, ('fsdp', 'model'))),
  ('', PartitionSpec()),
)
_LARGE = 1_000_000  # bytes; a larger leaf is not put whole on every device


def make_mesh(
  *,
  data: int | None = None,
  fsdp: int = 1,
  model: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """Returns a mesh with the axes `('data', 'fsdp', 'model')`, all Auto.

  Args:
    data: devices that share the rows; all that are left, if None.
    fsdp: devices that share the parameters.
    model: devices that share a layer.
    devices: to use; all, if None.

  Raises:
    ValueError: the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  data = len(devices) // (fsdp * model) if data is None else data
  if data * fsdp * model != len(devices):
    raise ValueError(
      f'a mesh of data={data}, fsdp={fsdp}, model={model} needs '
      f'{data * fsdp * model} devices and has {len(devices)}'
    )
  return jax.make_mesh(
    (data, fsdp, model),
    AXES,
    axis_types=(AxisType.Auto,) * len(AXES),
    devices=devices,
  )


def parse(text: str) -> Mesh:
  """Returns the mesh that `data:8` or `data:2,fsdp:4` names.

  Args:
    text: axes with their sizes; the first devices are used.

  Raises:
    ValueError: an axis is unknown or no whole number, or there are fewer
      devices.

  Examples:
    >>> dict(parse('data:1').shape)
    {'data': 1, 'fsdp': 1, 'model': 1}
  """
  axes = sizes(text)
  needed = math.prod(axes.values())
  if needed > jax.device_count():
    raise ValueError(
      f'mesh {text!r} needs {needed} devices, and there are '
      f'{jax.device_count()}'
    )
  return make_mesh(**axes, devices=jax.devices()[:needed])


def sizes(text: str) -> dict[str, int]:
  """Returns the size of each axis that `data:2,fsdp:4` names, 1 of others.

  Args:
    text: axes with their sizes.

  Raises:
    ValueError: an axis is unknown, written twice or no whole number.

  Examples:
    >>> sizes('fsdp:4')
    {'data': 1, 'fsdp': 4, 'model': 1}
  """
  found = {}
  for part in text.split(','):
    axis, _, size = part.partition(':')
    known = axis in AXES and axis not in found
    if not known or not size.isdecimal() or not int(size):
      raise ValueError(
        f'mesh {text!r}: write AXIS:DEVICES, each AXIS of {AXES} once'
      )
    found[axis] = int(size)
  return {axis: found.get(axis, 1) for axis in AXES}


_DEFAULT: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar(
  'mesh', default=None
)


@contextlib.contextmanager
def use(mesh: Mesh | None) -> Iterator[None]:
  """Fits inside use this mesh where they are given none.

  For the edge: a command or a study says once on what it runs.
  """
  token = _DEFAULT.set(mesh)
  try:
    yield
  finally:
    _DEFAULT.reset(token)


def in_use() -> Mesh | None:
  """Returns the mesh that `use` says, or None."""
  return _DEFAULT.get()


def whole(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def own_rows(mesh: Mesh) -> tuple[int, int]:
  """Returns which part of a step's rows this process holds, and of how many.

  Where several processes hold the same rows, for they share `model`, they have
  the same part.

  Args:
    mesh: whose devices may be of several processes.

  Raises:
    ValueError: a process's rows do not lie side by side.
  """
  count = row_devices(mesh)
  held: dict[int, set[int]] = {}
  where: Any = NamedSharding(mesh, ROWS).devices_indices_map((count,))
  for device, (rows,) in where.items():
    held.setdefault(device.process_index, set()).add(rows.start or 0)
  parts = sorted({tuple(sorted(rows)) for rows in held.values()})
  size = len(parts[0])
  if parts != [
    tuple(range(first, first + size)) for first in range(0, count, size)
  ]:
    raise ValueError(
      f'{_words(mesh)}: the rows of a process do not lie side by side: '
      'give whole batches, parts=False'
    )
  own = tuple(sorted(held.get(jax.process_index(), parts[0])))
  return parts.index(own), len(parts)


def row_devices(mesh: Mesh) -> int:
  """Returns over how many devices rows, texts and people are split."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def shardings(
  tree: types.PyTree, mesh: Mesh, rules: Rules | None = None
) -> types.PyTree:
  """Returns a `NamedSharding` for each leaf: the first rule whose pattern fits.

  What leads with rows or people and is not divided by the devices is
  replicated: programs are given it padded.

  Args:
    tree: arrays or shapes.
    mesh: to lay them out on.
    rules: `(pattern, spec)`; the pattern is searched in the leaf's path. Each
      has to fit a leaf, but the last; `RULES`, of all learners, if None.

  Raises:
    ValueError: no rule fits a leaf, or a rule fits none; and, where fsdp x
      model > 1, an axis is not divided, or a leaf of more than 1 MB falls to
      the catch-all, which would put it whole on every device.
  """
  used = set()

  def place(path, leaf):
    name = trees.name(path)
    for pattern, spec in RULES if rules is None else rules:
      if re.search(pattern, name):
        used.add(pattern)
        return NamedSharding(mesh, _checked(name, leaf, spec, pattern, mesh))
    raise ValueError(
      f"no sharding rule fits {name!r}: end the rules with ('', P())"
    )

  found = jax.tree_util.tree_map_with_path(place, tree)
  for pattern, spec in rules or ():
    if pattern and pattern not in used:
      raise ValueError(
        f'the sharding rule ({pattern!r}, {spec}) fits no leaf; there are '
        f'{sorted(trees.paths(tree))[:8]}'
      )
  return found


def on_mesh(tree: types.PyTree, mesh: Mesh) -> types.PyTree:
  """Returns the shapes of a tree that says where its leaves live.

  Args:
    tree: arrays or shapes.
    mesh: to lay them out on.
  """
  return jax.tree.map(
    lambda leaf, where: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=where
    ),
    tree,
    shardings(tree, mesh),
  )


def _checked(name, leaf, spec, pattern, mesh) -> PartitionSpec:
  """Returns the rule's spec, or that of a leaf that cannot be split."""
  split = mesh.shape['fsdp'] * mesh.shape['model'] > 1
  size = math.prod(leaf.shape) * leaf.dtype.itemsize
  if split and not pattern and size > _LARGE:
    raise ValueError(
      f'{name} {list(leaf.shape)} takes {size:,} bytes, and no rule says how '
      f'{_words(mesh)} split it: add one to prm_jax/runtime/mesh.py, or take '
      'a mesh of data alone'
    )
  if len(spec) > len(leaf.shape):
    return PartitionSpec()
  for axis, (length, names) in enumerate(zip(leaf.shape, spec, strict=False)):
    names = (names,) if isinstance(names, str) else names or ()
    parts = math.prod(mesh.shape[name] for name in names)
    if length % parts == 0:
      continue
    if split and spec != ROWS:
      raise ValueError(
        f'{name} {list(leaf.shape)}: axis {axis} of {length} is not divided '
        f'by the {parts} devices of {"x".join(names)} ({_words(mesh)})'
      )
    return PartitionSpec()
  return spec


def _words(mesh: Mesh) -> str:
  return ','.join(f'{axis}:{size}' for axis, size in mesh.shape.items())
