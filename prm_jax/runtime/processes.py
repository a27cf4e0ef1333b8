"""Several processes that share one fit: a mesh of devices of all of them.

Every process runs the same program on the same data, and holds the parts of
arrays that lie on its own devices. What is written is written by the first.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from prm_jax import types

AUTO = 'auto'
_FOUND_BY = (
  *('SLURM_JOB_ID', 'OMPI_MCA_orte_hnp_uri', 'KUBERNETES_SERVICE_HOST'),
  *('TPU_WORKER_HOSTNAMES', 'TPU_PROCESS_ADDRESSES', 'TPU_NAME'),
)


class AgreedError(ValueError):
  """What all processes raise at once."""


def start(
  processes: str | int,
  *,
  coordinator: str | None = None,
  process: int | None = None,
) -> None:
  """Makes this process one of several; before JAX looks for devices.

  Args:
    processes: how many, or 'auto': JAX finds the others by itself on a TPU pod,
      and where Slurm (`srun`), Open MPI or Kubernetes started it.
    coordinator: `HOST:PORT` of the first process, which listens there; JAX
      finds it where `processes` is 'auto'.
    process: this one's number, from 0; likewise.

  Raises:
    ValueError: the numbers do not go together, or the others are not found.
  """
  alone = (coordinator, process) == (None, None)
  if processes == AUTO and not alone:
    raise ValueError(
      '--coordinator, --process: --processes=auto finds them; give the number '
      'of processes, or leave them out'
    )
  if processes != AUTO:
    count = _number('processes', processes, 1)
    if coordinator is None or process is None:
      raise ValueError(
        f'--processes={count}: give --coordinator=HOST:PORT of the first, and '
        "--process, this one's number; or --processes=auto"
      )
    number = _number('process', process, 0)
    host, _, port = coordinator.rpartition(':')
    if not host or not port.isdecimal():
      raise ValueError(f'--coordinator={coordinator}: write HOST:PORT')
    if number >= count:
      raise ValueError(f'--process={number}: of {count}, from 0 to {count - 1}')
  # Of processors alone; other devices have their own. Programs in the
  # background share few threads, and one that waits for others keeps its own:
  # two that wait block each other for good, which was seen.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  try:
    if processes == AUTO:
      jax.distributed.initialize()
    else:
      jax.distributed.initialize(coordinator, count, number)
  except (ValueError, RuntimeError) as error:
    seen = [name for name in _FOUND_BY if name in os.environ]
    raise ValueError(
      f'the processes of this fit do not find each other ({error}); of what '
      f'they are found by the environment has {seen or "nothing"}: start them '
      'with srun or on a TPU pod, or give --coordinator, --processes, --process'
    ) from error


def _number(name: str, text: str | int, least: int) -> int:
  if not str(text).isdecimal() or int(text) < least:
    raise ValueError(f'--{name}={text}: a whole number, at least {least}')
  return int(text)


def first() -> bool:
  """Returns whether this process writes: it is the first, or the only one."""
  return jax.process_index() == 0


def share(mesh: Mesh | None) -> bool:
  """Returns whether several processes share a fit on a mesh."""
  if mesh is None:
    return False
  return len({device.process_index for device in mesh.devices.flat}) > 1


def check(mesh: Mesh) -> None:
  """Raises ValueError where a mesh leaves out a process, which would wait."""
  used = {device.process_index for device in mesh.devices.flat}
  left = sorted(set(range(jax.process_count())) - used)
  if left:
    raise ValueError(
      f'the mesh of {mesh.size} devices leaves out the processes {left}: take '
      f'one of all {jax.device_count()}'
    )


def on_first(act: Callable[[], Any]) -> None:
  """Does something in the first process alone; all wait, and all fail.

  Args:
    act: what is done; its result is dropped.

  Raises:
    AgreedError: in all, with the first one's message; of a process that is
      alone its own error.
  """
  if jax.process_count() == 1:
    act()
    return
  text, cause = '', None
  if first():
    try:
      act()
    except (ValueError, OSError) as error:
      text, cause = str(error) or repr(error), error
  text = _from_first(text)
  if text:
    raise AgreedError(text) from cause


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Ends this process at once where it alone fails, so that all end.

  The others would wait for it; JAX ends them when they cannot hear it.
  """
  try:
    yield
  except AgreedError:
    raise
  except Exception as error:
    try:
      if not isinstance(error, (ValueError, KeyError, OSError)):
        traceback.print_exc()  # a defect
      print(f'prm: process {jax.process_index()}: {error}', file=sys.stderr)
      sys.stderr.flush()
    finally:  # nobody may read what is said
      os._exit(2)


_LETTERS = 4096  # of a message between processes


def _from_first(text: str) -> str:
  """Returns the first process's text, as much of it as is passed on."""
  told = text.encode()[:_LETTERS].ljust(_LETTERS, b'\0')
  data = multihost_utils.broadcast_one_to_all(np.frombuffer(told, np.uint8))
  return bytes(np.asarray(data)).rstrip(b'\0').decode(errors='replace')


def same(what: str, text: str) -> None:
  """Raises AgreedError where processes differ in what they fit.

  Args:
    what: is compared, in words.
    text: that is to be the same in all.
  """
  if jax.process_count() > 1:
    other = _from_first(text)
    differs = other != text.encode()[:_LETTERS].decode(errors='replace')
    found = multihost_utils.process_allgather(np.array(differs))
    if found.any():
      raise AgreedError(
        f'{what} differ between processes {np.flatnonzero(found).tolist()} and '
        'the first: give all the same command and files'
      )


def put(tree: Any, where: Any) -> Any:
  """Returns arrays where shardings say, as `jax.device_put` does.

  Of an array that every process has, each puts the parts of its own devices.

  Args:
    tree: arrays.
    where: a sharding, or one for each array.
  """
  if jax.process_count() == 1:
    return jax.device_put(tree, where)
  if isinstance(where, Sharding):
    return jax.tree.map(lambda leaf: _put(leaf, where), tree)
  return jax.tree.map(_put, tree, where)


def _put(leaf: Any, where: Sharding) -> jax.Array:
  if isinstance(leaf, jax.Array):
    if leaf.sharding.is_equivalent_to(where, leaf.ndim):
      return leaf
    if where.is_fully_addressable or not leaf.is_fully_addressable:
      return jax.device_put(leaf, where)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      data = _put(jax.random.key_data(leaf), where)
      return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
  values = np.asarray(leaf)
  return jax.make_array_from_callback(
    values.shape, where, lambda index: values[index]
  )


def everywhere(tree: types.PyTree) -> types.PyTree:
  """Returns shapes of a tree that every device of every process holds whole."""
  devices = np.array(jax.devices())
  where = NamedSharding(Mesh(devices, ('all',)), PartitionSpec())
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
    tree,
  )


def local(tree: types.PyTree) -> types.PyTree:
  """Returns arrays, whole, on this process's first device.

  Every process calls it at once where the arrays are spread over several.
  """
  return jax.tree.map(_local, tree)


def _local(leaf: Any) -> Any:
  if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
    return leaf
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    data = _local(jax.random.key_data(leaf))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
  if leaf.is_fully_replicated:
    return jnp.asarray(np.asarray(leaf))
  return jnp.asarray(multihost_utils.process_allgather(leaf, tiled=True))


_asked = 0  # of all fits of this process, for the count has no gaps


def stops() -> bool:
  """Returns whether all processes stop before their next step.

  When one gets SIGTERM, JAX agrees with the others on a step. To be called
  before every step, by all.
  """
  global _asked
  _asked += 1
  return multihost_utils.reached_preemption_sync_point(_asked)
