"""Fits in one process or in two, and prints what it finds; see `main`."""

import argparse
import json
import pathlib

import jax
import numpy as np

from prm_jax import registry, toys
from prm_jax.data import pipelines
from prm_jax.runtime import checkpoint, processes, train
from prm_jax.runtime import mesh as meshes
from prm_jax.systems import inference

STEPS = 12


def of_kind(kind):
  """The learner and its world: features, or texts under a small decoder."""
  if kind == 'features':
    world = toys.judgements(steps=STEPS, dim=3)  # 299 rows of 6 people
  else:
    import splits  # which computes when it is imported

    world = splits.judged('pref')
    world = world._replace(options={**world.options, 'steps': STEPS})
  return registry.build('learner', {'kind': 'pref', **world.options}), world


def predictions(learner, world, state):
  contexts = inference.infer(
    learner.system,
    state.params,
    world.data,
    key=jax.random.key(0),
    people=world.spec.people,
  )
  return inference.predict(learner.system, state.params, contexts, world.data)


class Losses:
  """A writer that keeps losses, and whether anybody asked it to."""

  def __init__(self):
    self.rows = {}

  def write(self, step, phase, values):
    del phase
    self.rows[step] = values['loss']

  def truncate(self, step):
    self.rows = {at: loss for at, loss in self.rows.items() if at <= step}


def fitted(kind, mesh, folder, rows, restore_step=None, every=4):
  """A fit, its losses, predictions and what this process holds of it."""
  import splits

  learner, world = of_kind(kind)
  batches, losses = None, Losses()
  if rows:
    part = meshes.own_rows(mesh) if mesh is not None else (0, 1)
    batches = pipelines.batches(world.data, batch_size=rows, seed=0, part=part)
  with checkpoint.Checkpoints(folder, keep=99) as manager:
    state = train.fit(
      learner,
      world.data,
      key=jax.random.key(0),
      spec=world.spec,
      mesh=mesh,
      batches=batches,
      parts=bool(rows),
      manager=manager,
      save_every=every,
      restore_step=restore_step,
      writer=losses,
      log_every=1,
      paced=True,
    )
    steps = manager.steps()
  held = splits.share(state.params)
  found = predictions(learner, world, processes.local(state))
  return {
    'losses': losses.rows,
    'predictions': np.asarray(found).tolist(),
    'steps': steps,
    'held': held,
  }


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('fits', nargs='+', help='KIND@DATA,FSDP,MODEL@ROWS')
  parser.add_argument('--folder', type=pathlib.Path)
  parser.add_argument('--restore', type=int)
  parser.add_argument('--coordinator')
  parser.add_argument('--process', type=int)
  given = parser.parse_args()
  if given.coordinator:
    processes.start(2, coordinator=given.coordinator, process=given.process)
  report = {'processes': jax.process_count(), 'devices': jax.device_count()}
  for name in given.fits:
    kind, sizes, rows = name.split('@')
    data, fsdp, model = map(int, sizes.split(','))
    mesh = None
    if given.coordinator:
      mesh = meshes.make_mesh(data=data, fsdp=fsdp, model=model)
    report[name] = fitted(
      kind, mesh, given.folder / name, int(rows), given.restore
    )
  print(json.dumps(report))


if __name__ == '__main__':
  main()
