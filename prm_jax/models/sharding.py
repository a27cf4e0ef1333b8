"""Where a network's activations live, said to the mesh that it is traced on."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
)

ROWS = ('data', 'fsdp')  # axes of a mesh that split the rows of a batch


def row_devices() -> int:
  """Returns over how many devices rows are split where this is traced; or 1."""
  return rows_of(_mesh())


def mesh_of(params: Any) -> Mesh | None:
  """Returns the mesh on which parameters lie; None if on one device.

  Args:
    params: arrays, all of which lie alike.
  """
  for leaf in jax.tree.leaves(params):
    where = getattr(leaf, 'sharding', None)
    if isinstance(where, NamedSharding) and where.mesh.size > 1:
      return where.mesh  # type: ignore[return-value]
  return None


def traced_on(mesh: Mesh | None) -> contextlib.AbstractContextManager[Any]:
  """Returns a context in which models are traced on a mesh, if there is one."""
  return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


def rows_of(mesh: Mesh | AbstractMesh | None) -> int:
  """Returns over how many devices of a mesh rows are split; 1 without one."""
  return 1 if mesh is None else math.prod(mesh.shape[axis] for axis in ROWS)


def alike(function: Callable[..., Any], params: Any, *others: Any) -> Any:
  """Returns what a function makes of parameters, and lies where they lie.

  On a mesh no device holds it whole, nor anything on the way to it.

  Args:
    function: (params, *others) -> parameters of the same shapes.
    params: arrays.
    *others: arrays.
  """
  if mesh_of(params) is None:
    return function(params, *others)
  where = jax.tree.map(lambda leaf: leaf.sharding, params)
  return jax.jit(function, out_shardings=where)(params, *others)


def constrain(
  values: jax.Array, *axes: str | tuple[str, ...] | None
) -> jax.Array:
  """Returns the values, split over a mesh as the axes say.

  Without a mesh, and inside a mapped axis (shard_map, pmap), they are returned
  as they are; so they are where the mesh does not divide them, as of a text
  that is scored alone. Under `vmap` the mapped axis is left to the compiler.

  Left to itself, the compiler may gather all activations to keep weights where
  they are; said once a layer, it gathers one layer's weights.

  Args:
    values: of any rank.
    *axes: for each leading axis the mesh axes that split it, or None; axes
      that are not named are whole.
  """
  mesh = _mesh()
  if mesh is None:
    return values
  for size, names in zip(values.shape, axes, strict=False):
    names = (names,) if isinstance(names, str) else names or ()
    if size % math.prod(mesh.shape[name] for name in names):
      return values
  return jax.lax.with_sharding_constraint(values, PartitionSpec(*axes))


def read_rows(values: jax.Array) -> jax.Array:
  """Returns rows that were read of a table, split as activations are.

  A table `[V, D]` is split over vocabulary and width. What is read of it is
  first of a part of the width, of all rows of the devices that share them,
  and then exchanged; else the compiler may gather all activations.

  Args:
    values: `[B, ..., T, D]`; others are returned as they are.
  """
  if values.ndim < 3:
    return values
  whole = (None,) * (values.ndim - 2)
  return constrain(constrain(values, 'data', *whole, 'fsdp'), ROWS)


def on_devices(
  function: Callable[..., jax.Array], specs: Any, result: Any
) -> Callable[..., jax.Array]:
  """Returns a function that every device applies to its own part.

  For kernels that the compiler cannot split. Without a mesh, and inside a
  mapped axis, it is the function itself.

  Args:
    function: of arrays, each of which is split as `specs` say.
    specs: a PartitionSpec of each array.
    result: the PartitionSpec of what it returns.
  """
  if _mesh() is None:
    return function
  return jax.shard_map(
    function, in_specs=specs, out_specs=result, check_vma=False
  )


def check_heads(heads: int, shared: int) -> None:
  """Raises ValueError where a mesh's axis `model` does not divide the heads.

  Args:
    heads: of queries.
    shared: of keys and values.
  """
  mesh = _mesh()
  model = 1 if mesh is None else mesh.shape['model']
  for name, count in (('attention', heads), ('key and value', shared)):
    if count % model:
      raise ValueError(
        f'{count} {name} heads are not divided by the {model} devices of the '
        f"mesh's axis 'model': take a divisor of {count}"
      )


def _mesh() -> AbstractMesh | None:
  """Returns the mesh of the trace if the compiler lays arrays out on it."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or any(kind != AxisType.Auto for kind in mesh.axis_types):
    return None
  return mesh if {*ROWS, 'model'} <= set(mesh.axis_names) else None
