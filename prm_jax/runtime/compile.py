"""One update, three spellings: jit, shard_map and pmap."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prm_jax import types
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import processes
from prm_jax.runtime import update as updates
from prm_jax.runtime.update import Metrics, Update

How = Literal['jit', 'shard_map', 'pmap']
Compiled = Callable[[Any, types.Batch], tuple[Any, Metrics]]

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

  The rows are split over the mesh, padded with rows of mask 0 where the
  devices do not divide them. Under jit the texts that `index` points into are
  split; under shard_map and pmap every device holds all.

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
    plain = jax.jit(_of_two(update), donate_argnums=_donated(donate))
    return _on_one(plain, mesh)
  compiled = program(update, mesh, donate=donate)

  def call(state, batch):
    state = processes.put(state, meshes.shardings(state, mesh))
    batch = spread(batch, mesh)
    with jax.set_mesh(mesh):  # which models ask for, to split what they make
      return compiled(state, batch)

  return call


def program(update: Update, mesh: Mesh, *, donate: bool = False) -> Any:
  """Returns the jitted update, whose state stays where the rules say.

  To be traced, called or lowered inside `jax.set_mesh(mesh)`, with a state and
  a batch that lie on the mesh, or shapes that say where they would.

  Args:
    update: `(state, batch) -> (state, metrics)`.
    mesh: from `make_mesh`.
    donate: whether the state that is passed in may be overwritten.
  """

  def constrained(state, batch):
    state, metrics = update(state, batch)
    where = meshes.shardings(state, mesh)
    return jax.lax.with_sharding_constraint(state, where), metrics

  return jax.jit(constrained, donate_argnums=_donated(donate))


def laid_out(state: Any, mesh: Mesh | None) -> Any:
  """Returns the state where the rules say; as it is without a mesh."""
  if mesh is None:
    return state
  return processes.put(state, meshes.shardings(state, mesh))


def initializer(phase: types.Phase, mesh: Mesh | None) -> Any:
  """Returns the jitted `update.initialize` of a phase.

  Moments are born where they will live: no device holds them whole.

  Args:
    phase: which starts.
    mesh: from `make_mesh`; None where all is on one device, or on every one.
  """

  def initialized(state, keep=()):
    state = updates.initialize(state, phase, keep)
    if mesh is None:
      return state
    where = meshes.shardings(state, mesh)
    return jax.lax.with_sharding_constraint(state, where)

  return jax.jit(initialized, static_argnames='keep')


def reader(read: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
  """Returns the jitted `(params, inputs) -> value`, traced on the mesh.

  Args:
    read: `features` or `below` of a reward.
    mesh: as of `initializer`.
  """
  program = jax.jit(read)

  def call(params, inputs):
    with jax.set_mesh(mesh):
      return program(params, inputs)

  return program if mesh is None else call


def _of_two(update: Update) -> Update:
  def plain(state, batch):
    return update(state, batch)

  return plain


def _on_one(compiled: Compiled, mesh: Mesh) -> Compiled:
  """Returns the program as it computes on a mesh's only device."""
  (device,) = mesh.devices.flat
  if device == jax.devices()[0]:
    return compiled

  def call(state, batch):
    return compiled(*jax.device_put((state, batch), device))

  return call


def _shard_map(update: Update, mesh: Mesh, donate: bool) -> Compiled:
  everywhere = NamedSharding(mesh, _EVERYWHERE)

  @functools.lru_cache(maxsize=4)
  def compiled(structure):
    mapped = jax.shard_map(
      lambda state, batch: update(state, batch, axis='data'),
      mesh=mesh,
      in_specs=(_EVERYWHERE, jax.tree.unflatten(structure, _specs(structure))),
      out_specs=_EVERYWHERE,
      # An objective may scan from a constant, which the check would refuse:
      # the constant is not 'varying' and the scan's result is.
      check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=_donated(donate))

  def call(state, batch):
    batch = _for_shard_map(batch, mesh)
    state = jax.device_put(state, everywhere)
    return compiled(jax.tree.structure(batch))(state, batch)

  return call


def _pmap(update: Update, mesh: Mesh) -> Compiled:
  count = mesh.size

  @functools.lru_cache(maxsize=4)
  def mapped(structure):
    axes = [0 if spec == _ROWS else None for spec in _specs(structure)]
    return jax.pmap(
      lambda state, batch: update(state, batch, axis='data'),
      axis_name='data',
      in_axes=(None, jax.tree.unflatten(structure, axes)),
      out_axes=None,
      devices=list(mesh.devices.flat),
    )

  def call(state, batch):
    batch = pad(batch, count)
    structure = jax.tree.structure(batch)
    leaves = [
      leaf.reshape(count, -1, *leaf.shape[1:]) if spec == _ROWS else leaf
      for leaf, spec in zip(
        jax.tree.leaves(batch), _specs(structure), strict=True
      )
    ]
    return mapped(structure)(state, jax.tree.unflatten(structure, leaves))

  return call


def _specs(structure: Any) -> list[PartitionSpec]:
  """Returns how each leaf of a batch is split: rows, and texts beside rows."""
  batch = jax.tree.unflatten(structure, range(structure.num_leaves))
  texts = set()
  if batch.inputs is not None and batch.inputs.index is not None:
    texts = set(jax.tree.leaves(batch.inputs.value))
  return [
    _EVERYWHERE if leaf in texts else _ROWS
    for leaf in range(structure.num_leaves)
  ]


def placed(
  batch: types.Batch, mesh: Mesh | None, how: How, *, rows: bool
) -> types.Batch:
  """Returns the batch where programs read it, so that no step moves it.

  Args:
    batch: the whole data.
    mesh: of more than one device, or None.
    how: the programs' spelling.
    rows: whether the rows are read at every step, and not the values alone.
  """
  if mesh is not None and how == 'jit':
    both = spread(batch, mesh)
  elif mesh is not None and how == 'shard_map':
    both = _for_shard_map(batch, mesh)
  else:
    both = jax.tree.map(jnp.asarray, batch)
  if rows or batch.inputs is None:
    return both if rows else batch
  return batch.over(both.inputs.value)


def _for_shard_map(batch: types.Batch, mesh: Mesh) -> types.Batch:
  batch = pad(batch, mesh.size)
  structure = jax.tree.structure(batch)
  where = [NamedSharding(mesh, spec) for spec in _specs(structure)]
  return jax.device_put(batch, jax.tree.unflatten(structure, where))


def spread(batch: types.Batch, mesh: Mesh) -> types.Batch:
  """Returns the batch on the mesh: rows split, and the texts, too.

  Where the devices do not divide them, rows are padded with mask 0, and texts
  with copies of the last one.
  """
  batch = pad(batch, meshes.row_devices(mesh))
  indexed = batch.inputs is not None and batch.inputs.index is not None
  if indexed:
    value = jax.tree.map(
      functools.partial(_pad, meshes.row_devices(mesh)), batch.inputs.value
    )
    batch = batch.over(value)
  return processes.put(batch, NamedSharding(mesh, meshes.ROWS))


def joined(batch: types.Batch, mesh: Mesh | None) -> types.Batch:
  """Returns the batch of all processes, each of which has its own rows.

  Args:
    batch: this process's part, see `mesh.own_rows`; as many rows in each.
    mesh: of devices of all; None where there is one device.
  """
  if mesh is None:
    return batch
  parts = meshes.own_rows(mesh)[1]
  batch = pad(batch, meshes.row_devices(mesh) // parts)
  where = NamedSharding(mesh, meshes.ROWS)

  def join(leaf):
    return jax.make_array_from_process_local_data(where, np.asarray(leaf))

  rows, inputs = jax.tree.map(join, batch.rows), batch.inputs
  if inputs is not None and inputs.index is not None:
    inputs = inputs._replace(index=join(inputs.index))
  elif inputs is not None:
    inputs = inputs._replace(value=jax.tree.map(join, inputs.value))
  return types.Batch(rows, inputs)


def pad(batch: types.Batch, multiple: int) -> types.Batch:
  """Returns the batch, its rows padded to a multiple with mask 0.

  The padding repeats the last row, so that its values stay ordinary.

  Raises:
    ValueError: there are no rows.
  """
  count = len(batch.rows.mask)
  if count == 0:
    raise ValueError('the batch has no rows')
  if count % multiple == 0:
    return batch
  longer = functools.partial(_pad, multiple)
  rows = jax.tree.map(longer, batch.rows)
  mask = np.array(rows.mask)
  mask[count:] = 0
  inputs = batch.inputs
  if inputs is not None and inputs.index is not None:
    inputs = inputs._replace(index=longer(inputs.index))
  elif inputs is not None:
    inputs = inputs._replace(value=jax.tree.map(longer, inputs.value))
  return types.Batch(rows._replace(mask=mask), inputs)


def _pad(multiple: int, leaf: Any) -> Any:
  extra = -len(leaf) % multiple
  if not extra:
    return leaf
  leaf = np.asarray(leaf)
  return np.concatenate([leaf, np.repeat(leaf[-1:], extra, axis=0)])
