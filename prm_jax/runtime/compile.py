"""One update, three spellings: jit, shard_map and pmap."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prm_jax import types
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime.update import Metrics, Update

How = Literal['jit', 'shard_map', 'pmap']
Compiled = Callable[
  [types.TrainState, types.Batch], tuple[types.TrainState, Metrics]
]

_ROWS = PartitionSpec('data')
_EVERYWHERE = PartitionSpec()


def compile_update(
  update: Update,
  mesh: Mesh | None = None,
  how: How = 'jit',
  *,
  donate: bool = False,
) -> Compiled:
  """Returns `(state, batch) -> (state, metrics)`, compiled; the same for all.

  The rows are split over the mesh's `data` axis, padded with rows of mask 0
  where the devices do not divide them; the feature table is replicated.

  Args:
    update: `(state, batch, *, axis=None) -> (state, metrics)`.
    mesh: from `make_mesh`; one device, if None.
    how: `jit` (default; user bank and parameters follow the mesh's sharding
      rules), `shard_map` or `pmap` (state replicated; plain data parallelism).
    donate: whether the state that is passed in may be overwritten; its arrays
      cannot be read afterwards. `pmap` broadcasts the state and keeps it.

  Raises:
    ValueError: `how` is none of the three, or the mesh has more than its data
      axis for `shard_map` or `pmap`.
  """
  if mesh is None:
    mesh = meshes.make_mesh(devices=jax.devices()[:1])
  if how == 'jit':
    return _jit(update, mesh, donate)
  if how not in ('shard_map', 'pmap'):
    raise ValueError(f"how={how!r}: give 'jit', 'shard_map' or 'pmap'")
  if mesh.shape['data'] != mesh.size:
    raise ValueError(
      f'{how} splits rows only, and the mesh is {dict(mesh.shape)}: '
      "use how='jit'"
    )
  if how == 'shard_map':
    return _shard_map(update, mesh, donate)
  return _pmap(update, mesh)


def _donated(donate: bool) -> tuple[int, ...]:
  return (0,) if donate else ()


def _jit(update: Update, mesh: Mesh, donate: bool) -> Compiled:
  if mesh.size == 1:
    return jax.jit(
      lambda state, batch: update(state, batch),
      donate_argnums=_donated(donate),
    )

  def constrained(state, batch):
    state, metrics = update(state, batch)
    where = meshes.shardings(state, mesh)
    return jax.lax.with_sharding_constraint(state, where), metrics

  compiled = jax.jit(constrained, donate_argnums=_donated(donate))

  def call(state, batch):
    state = jax.device_put(state, meshes.shardings(state, mesh))
    return compiled(state, _spread(batch, mesh))

  return call


def _shard_map(update: Update, mesh: Mesh, donate: bool) -> Compiled:
  mapped = jax.shard_map(
    lambda state, batch: update(state, batch, axis='data'),
    mesh=mesh,
    in_specs=(_EVERYWHERE, types.Batch(_EVERYWHERE, _ROWS)),  # type: ignore[arg-type]
    out_specs=_EVERYWHERE,
    # An objective may scan from a constant, which the check would refuse:
    # the constant is not 'varying' and the scan's result is.
    check_vma=False,
  )
  compiled = jax.jit(mapped, donate_argnums=_donated(donate))
  everywhere = NamedSharding(mesh, _EVERYWHERE)

  def call(state, batch):
    state = jax.device_put(state, everywhere)
    return compiled(state, _spread(batch, mesh))

  return call


def _pmap(update: Update, mesh: Mesh) -> Compiled:
  mapped = jax.pmap(
    lambda state, batch: update(state, batch, axis='data'),
    axis_name='data',
    in_axes=(None, types.Batch(None, 0)),  # type: ignore[arg-type]
    out_axes=None,
    devices=list(mesh.devices.flat),
  )
  count = mesh.size

  def call(state, batch):
    rows = jax.tree.map(
      lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]),
      pad_rows(batch.rows, count),
    )
    return mapped(state, types.Batch(batch.table, rows))

  return call


def _spread(batch: types.Batch, mesh: Mesh) -> types.Batch:
  """Returns the batch on the mesh: table everywhere, rows split."""
  rows = pad_rows(batch.rows, mesh.shape['data'])
  return types.Batch(
    jax.device_put(batch.table, NamedSharding(mesh, _EVERYWHERE)),
    jax.device_put(rows, NamedSharding(mesh, _ROWS)),
  )


def pad_rows(rows: types.Rows, multiple: int) -> types.Rows:
  """Returns the rows, padded to a multiple of `multiple` with mask 0.

  The padding repeats the last row, so that its values stay ordinary.

  Raises:
    ValueError: there are no rows.
  """
  count = len(rows.mask)
  if count == 0:
    raise ValueError('the batch has no rows')
  extra = -count % multiple
  if extra == 0:
    return rows

  def pad(leaf: Any) -> np.ndarray:
    leaf = np.asarray(leaf)
    return np.concatenate([leaf, np.repeat(leaf[-1:], extra, axis=0)])

  padded = jax.tree.map(pad, rows)
  padded.mask[count:] = 0
  return padded
