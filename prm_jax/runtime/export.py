"""Parameters without people: what a fitted model is shipped as."""

import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from prm_jax import types
from prm_jax.runtime import writers

_METADATA = 'metadata.json'
_PARAMETERS = 'parameters'


def export_parameters(
  params: types.PyTree,
  folder: writers.PathLike,
  metadata: Mapping[str, Any],
  *,
  beside: Collection[str] = (),
) -> None:
  """Writes shared parameters, and nothing of any person, with Orbax.

  Args:
    params: `TrainState.params`: reward and population.
    folder: new or empty.
    metadata: plain data: configuration, features, licence.
    beside: names of what may be in the folder.

  Raises:
    FileExistsError: the folder has something else in it.
    PermissionError: files cannot be written there.
  """
  folder = writers.make_folder(folder).resolve()
  if any(path.name not in beside for path in folder.iterdir()):
    raise FileExistsError(f'{folder} is not empty: choose another folder')
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder / _PARAMETERS, jax.tree.map(jnp.asarray, params))
  writers.write_json_atomic(folder / _METADATA, metadata)


def load_parameters(
  folder: writers.PathLike, like: types.PyTree = None
) -> tuple[types.PyTree, dict[str, Any]]:
  """Returns the exported `(params, metadata)`.

  Args:
    folder: that `export_parameters` wrote.
    like: parameters or shapes of the same structure, whose containers the
      result takes; without it every container is a dict or a list.

  Raises:
    FileNotFoundError: the folder holds no finished export.
  """
  folder = pathlib.Path(folder).resolve()
  if not (folder / _METADATA).exists():
    raise FileNotFoundError(
      f'{folder} holds no finished export: {_METADATA} is missing'
    )
  metadata = json.loads((folder / _METADATA).read_text(encoding='utf-8'))
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])

  def target(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)

  with ocp.StandardCheckpointer() as checkpointer:
    path = folder / _PARAMETERS
    if like is None:
      like = checkpointer.metadata(path).item_metadata.tree
    params = checkpointer.restore(path, jax.tree.map(target, like))
  return params, metadata
