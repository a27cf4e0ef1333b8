"""Device meshes and where each leaf of a state lives on them."""

import contextlib
import contextvars
import math
import re
from collections.abc import Iterator, Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from prm_jax import types
from prm_jax.runtime import trees

AXES = ('data', 'fsdp', 'model')
ROWS = PartitionSpec(('data', 'fsdp'))
Rules = Sequence[tuple[str, PartitionSpec]]

# There are as many people as there are; everything else is shared.
RULES: Rules = (
  ('(^|/)people/blank', PartitionSpec()),
  ('(^|/)people/', ROWS),
  ('', PartitionSpec()),
)


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
  sizes = {}
  for part in text.split(','):
    axis, _, size = part.partition(':')
    if axis not in AXES or not size.isdecimal() or not int(size):
      raise ValueError(f'mesh {text!r}: write AXIS:DEVICES, AXIS of {AXES}')
    sizes[axis] = int(size)
  needed = math.prod(sizes.values())
  if needed > jax.device_count():
    raise ValueError(
      f'mesh {text!r} needs {needed} devices, and there are '
      f'{jax.device_count()}'
    )
  sizes = {'data': 1, **sizes}
  return make_mesh(**sizes, devices=jax.devices()[:needed])


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


def row_devices(mesh: Mesh) -> int:
  """Returns over how many devices rows, texts and people are split."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def shardings(
  tree: types.PyTree, mesh: Mesh, rules: Rules = RULES
) -> types.PyTree:
  """Returns a `NamedSharding` for each leaf: the first rule whose pattern fits.

  A leaf that a rule's axes do not divide (a scalar, an odd number of people)
  is replicated.

  Args:
    tree: arrays or shapes.
    mesh: to lay them out on.
    rules: `(pattern, spec)`; the pattern is searched in the leaf's path.

  Raises:
    ValueError: no rule fits a leaf.
  """

  def place(path, leaf):
    name = trees.name(path)
    spec = next((s for pattern, s in rules if re.search(pattern, name)), None)
    if spec is None:
      raise ValueError(
        f"no sharding rule fits {name!r}: end the rules with ('', P())"
      )
    fits = _divides(spec, leaf.shape, mesh)
    return NamedSharding(mesh, spec if fits else PartitionSpec())

  return jax.tree_util.tree_map_with_path(place, tree)


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


def _divides(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> bool:
  if len(spec) > len(shape):
    return False
  for size, axes in zip(shape, spec, strict=False):
    names = (axes,) if isinstance(axes, str) else axes or ()
    parts = 1
    for name in names:
      parts *= mesh.shape[name]
    if size % parts:
      return False
  return True
