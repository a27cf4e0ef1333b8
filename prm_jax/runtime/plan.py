"""What a step of a fit needs on every device, before there are any.

The step is compiled ahead of time from shapes, for the mesh that it would run
on: no weight is made. Needed are as many devices as the mesh has, which a
processor pretends to have (`--xla_force_host_platform_device_count`).
"""

import collections
import functools
import math
import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import hlo, people, train, trees
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import update as updates

GB = 1e9
_LISTED = 20  # collectives, and replicated leaves, that a plan names


class Step(NamedTuple):
  """A compiled step, and what it is given.

  Attributes:
    program: compiled.
    state: shapes of the state, and where its leaves live.
    phase: name of the phase.
    lowering: seconds.
    compiling: seconds.
  """

  program: Any
  state: types.TrainState
  phase: str
  lowering: float
  compiling: float


class Lowered(NamedTuple):
  """A step before it is compiled.

  Attributes:
    program: `jax.stages.Lowered`.
    state: shapes of the state, and where its leaves live.
    phase: name of the phase.
    seconds: that it took.
  """

  program: Any
  state: types.TrainState
  phase: str
  seconds: float


def lowered(
  learner: types.Learner, spec: types.Spec, batch: types.Batch, mesh: Mesh
) -> Lowered:
  """Returns the first phase's step that descends, lowered from shapes.

  Args:
    learner: whose step it is.
    spec: sizes.
    batch: arrays or shapes of the rows of a step, and of what they read.
    mesh: from `make_mesh`, of one device or more.

  Raises:
    ValueError: no phase takes steps, rows are not divided by the devices that
      share them, or the rules cannot lay out the state.
  """
  index = next((i for i, p in enumerate(learner.phases) if p.steps), None)
  if index is None:
    raise ValueError('no phase of this learner takes steps: nothing to plan')
  phase = learner.phases[index]
  devices = meshes.row_devices(mesh)
  rows = len(batch.rows.mask)
  if rows % devices:
    raise ValueError(
      f'{rows} rows are not divided by the {devices} devices that share them '
      f'(data x fsdp): take {-(-rows // devices) * devices}'
    )
  state = jax.eval_shape(lambda: learner.init(jax.random.key(0), spec))
  state = train.started(learner, state, index)
  state = jax.eval_shape(
    functools.partial(people.padded, multiple=devices), state
  )
  state = meshes.on_mesh(state, mesh)
  where = NamedSharding(mesh, meshes.ROWS)
  batch = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
    batch,
  )
  update = updates.make_update(phase, whole_people=False)
  program = compiling.program(update, mesh, donate=True)
  start = time.perf_counter()
  with jax.set_mesh(mesh):
    made = program.lower(state, batch)
  return Lowered(made, state, phase.name, time.perf_counter() - start)


def step(
  learner: types.Learner, spec: types.Spec, batch: types.Batch, mesh: Mesh
) -> Step:
  """Returns the first phase's step that descends, compiled; see `lowered`."""
  made = lowered(learner, spec, batch, mesh)
  start = time.perf_counter()
  compiled = made.program.compile()
  seconds = time.perf_counter() - start
  return Step(compiled, made.state, made.phase, made.seconds, seconds)


def report(made: Step, mesh: Mesh) -> dict[str, Any]:
  """Returns what a compiled step needs, as plain data.

  Bytes are those of one device. Temporaries are of the compiler that
  compiled: a processor's widens half precision here and there.

  Args:
    made: from `step`.
    mesh: that of the step.
  """
  memory = made.program.memory_analysis()
  program = hlo.read(made.program.as_text())
  whole = replicated(made.state)
  return {
    'phase': made.phase,
    'devices': mesh.size,
    'mesh': dict(mesh.shape),
    'argument_gb': memory.argument_size_in_bytes / GB,
    'temporary_gb': memory.temp_size_in_bytes / GB,
    'output_gb': memory.output_size_in_bytes / GB,
    # What of the output is written over the arguments, and takes no room.
    'reused_gb': memory.alias_size_in_bytes / GB,
    'parameters': count(made.state.params),
    'flops_per_step': program.flops * mesh.size,
    'flops_per_device': program.flops,
    'loops_counted_once': program.unknown,
    'exchanged_gb': sum(c.bytes * c.times for c in program.collectives) / GB,
    'collectives': [
      {
        'kind': one.kind,
        'shapes': dict(collections.Counter(one.shapes)),
        'times': one.times,
        'gb': one.bytes / GB,
        'elements': one.elements,
      }
      for one in program.collectives[:_LISTED]
    ],
    'largest_collective_gb': max(
      (one.bytes for one in program.collectives), default=0
    )
    / GB,
    'collectives_in_all': len(program.collectives),
    'replicated_gb': sum(leaf['gb'] for leaf in whole),
    'replicated': whole[:_LISTED],
    'lowering_seconds': made.lowering,
    'compiling_seconds': made.compiling,
  }


def count(tree: types.PyTree) -> int:
  """Returns the number of elements of all leaves."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def replicated(state: types.PyTree) -> list[dict[str, Any]]:
  """Returns the leaves that every device holds whole, the largest first.

  Args:
    state: shapes that say where they live.
  """
  found = [
    {
      'path': path,
      'shape': list(leaf.shape),
      'gb': math.prod(leaf.shape) * leaf.dtype.itemsize / GB,
    }
    for path, leaf in trees.flat(state).items()
    if leaf.sharding.is_fully_replicated
  ]
  return sorted(found, key=lambda leaf: -leaf['gb'])
