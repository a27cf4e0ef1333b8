"""Prints what a fit on fake devices splits, and whether it finds the same."""

import json
import sys
import tempfile

import jax
import numpy as np

from prm_jax import registry, toys
from prm_jax.runtime import checkpoint, train
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import mesh as meshes
from prm_jax.systems import inference

KEY = jax.random.key(0)
WORLD = toys.judgements(steps=20, dim=3)  # 299 judgements of 6 people
LEARNER = registry.build('learner', {'kind': 'pref', **WORLD.options})
SPEC = WORLD.spec


def fit(**options):
  return train.fit(LEARNER, WORLD.data, key=KEY, spec=SPEC, **options)


def predictions(state):
  contexts = inference.infer(
    LEARNER.system, state.params, WORLD.data, key=KEY, people=SPEC.people
  )
  return inference.predict(LEARNER.system, state.params, contexts, WORLD.data)


def resumed(first, second):
  """A run that one mesh began and another ends."""
  with tempfile.TemporaryDirectory() as folder:
    with checkpoint.Checkpoints(folder, keep=100) as manager:
      fit(mesh=first, manager=manager, save_every=5)
    with checkpoint.Checkpoints(folder, keep=100) as manager:
      return fit(mesh=second, manager=manager, restore_step=10)


def split(mesh):
  """What devices hold of a step's state and batch, and its collectives."""
  captured = {}
  compiled = compiling.compile_update

  def spy(update, *arguments, **options):
    call = compiled(update, *arguments, **options)

    def run(state, batch):
      captured['value'] = batch.inputs.value
      captured['rows'] = batch.rows.user
      after = call(state, batch)
      captured['people'] = after[0].people.free['coefficients']
      return after

    return run

  compiling.compile_update = spy
  try:
    train._trainer.cache_clear()
    fit(mesh=mesh)
  finally:
    compiling.compile_update = compiled
    train._trainer.cache_clear()
  return {
    name: leaf.addressable_shards[0].data.shape[0]
    for name, leaf in captured.items()
  }


def main():
  devices = jax.devices()
  four = meshes.make_mesh(devices=devices[:4])
  square = meshes.make_mesh(data=2, fsdp=2, devices=devices[:4])
  last = meshes.make_mesh(devices=devices[3:4])
  alone = fit()
  one = predictions(alone)
  report = {'spread': float(np.std(one)), 'devices': len(devices)}
  for name, mesh in (('four', four), ('square', square), ('last', last)):
    state = fit(mesh=mesh)
    report[name] = float(np.abs(predictions(state) - one).max())
    report[f'{name} people'] = len(state.people.ids)
  report['on'] = sorted(
    str(d.id) for d in state.params['reward']['basis'].devices()
  )
  with meshes.use(four):
    used = fit().params['reward']['basis']
  report['in use'] = len(used.devices())
  for name, pair in (('4 to 1', (four, None)), ('1 to 4', (None, four))):
    report[name] = float(np.abs(predictions(resumed(*pair)) - one).max())
  report['split'] = split(four)
  print(json.dumps(report))


if __name__ == '__main__':
  main(*sys.argv[1:])
