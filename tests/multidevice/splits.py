"""Prints what devices hold and how far they lie from one, of split decoders.

Arguments are `learner@data,fsdp,model`; `resume@...` for a run that this mesh
begins and others end; `plan@...`. On eight devices. Behind `--whole` fits and
programs are compared, too, and not the first step alone.
"""

import functools
import json
import pathlib
import sys
import tempfile

import backbones
import jax
import jax.numpy as jnp
import numpy as np
import spellings

from prm_jax import planning, registry, toys, types
from prm_jax.models import decoder
from prm_jax.runtime import checkpoint, hlo, plan, train
from prm_jax.runtime import mesh as meshes
from prm_jax.systems import inference

PEOPLE, TEXTS, ROWS, T, STEPS = 256, 64, 512, 8, 4
CONFIG = decoder.DecoderConfig(64, 32, 64, 2, 4, 4, 8)
OF_PEOPLE = ('aggregate', 'pref', 'lore')
KEY = jax.random.key(0)


def judged(kind):
  """Judgements of people on texts that a decoder reads."""
  rng = np.random.default_rng(0)
  mask = (np.arange(T) < rng.integers(3, T + 1, (TEXTS, 1))).astype(np.float32)
  ids = (rng.integers(1, CONFIG.vocab_size, (TEXTS, T)) * mask).astype(np.int32)
  index = np.stack([rng.permutation(TEXTS)[:2] for _ in range(ROWS)])
  user = np.arange(ROWS, dtype=np.int32) % PEOPLE
  taste = np.where(user % 2, 1.0, -1.0) + 1.0
  good = ids.mean(1)
  label = (taste * (good[index[:, 0]] - good[index[:, 1]]) > 0).astype(
    np.float32
  )
  said = types.Judgements(
    user, label, np.ones(ROWS, np.float32), np.arange(ROWS, dtype=np.int32)
  )
  inputs = types.Inputs(types.Tokens(ids, mask), index.astype(np.int32))
  trunk = {'config': CONFIG, 'trains': 'whole', 'learning_rate': 1e-3}
  own = {} if kind == 'aggregate' else {'dim': 3}
  return toys.World(
    {'backbone': trunk, 'steps': STEPS, **own},
    types.Batch(said, inputs),
    types.Spec(CONFIG.hidden_size, PEOPLE),
  )


def world_of(kind):
  if kind in OF_PEOPLE:
    return judged(kind)
  world = registry.LEARNERS[kind].small()
  known = world.options['config'].vocab_size
  config = decoder.DecoderConfig(-(-known // 8) * 8, 32, 64, 2, 4, 4, 8)
  return world._replace(options={**world.options, 'config': config})


def share(tree):
  """The largest part of all bytes that one device holds."""
  leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
  held: dict[int, int] = {}
  for leaf in leaves:
    for shard in leaf.addressable_shards:
      number = shard.device.id
      held[number] = held.get(number, 0) + shard.data.nbytes
  return max(held.values()) / sum(leaf.nbytes for leaf in leaves)


@functools.lru_cache(maxsize=1)
def alone(kind, begins=True):
  """The learner, its world, and what one device finds.

  Where it does not begin, the first step is that of parameters as drawn.
  """
  world = world_of(kind)
  learner = registry.build('learner', {'kind': kind, **world.options})
  if begins:
    state, batch = spellings.begun(learner, world)
  else:
    state, batch = learner.init(KEY, world.spec._replace(judgements=ROWS)), None
  found = spellings.gradients(learner, state, world.data, batch)
  return learner, world, (state, batch, found)


def fitted(learner, world, mesh=None, **options):
  return train.fit(
    learner, world.data, key=KEY, spec=world.spec, mesh=mesh, **options
  )


def predicted(learner, world, state):
  params = jax.device_get(state.params)
  contexts = inference.infer(
    learner.system, params, world.data, key=KEY, people=PEOPLE
  )
  return inference.predict(learner.system, params, contexts, world.data)


def exchanged(kind, world, mesh):
  """The collectives of a minibatch's step, of 16 rows and many people.

  Layers compute in half precision, so that what is gathered says whether it
  was cast before.
  """
  trunk = {**world.options['backbone'], 'dtype': jnp.bfloat16}
  learner = registry.build(
    'learner', {'kind': kind, **world.options, 'backbone': trunk}
  )
  rows, many = 16, 16 * PEOPLE
  texts = world.data.inputs.value
  batch = types.Batch(
    jax.tree.map(lambda leaf: leaf[:rows], world.data.rows),
    types.Inputs(
      jax.tree.map(lambda leaf: leaf[: 2 * rows].reshape(rows, 2, T), texts)
    ),
  )
  made = plan.step(learner, world.spec._replace(people=many), batch, mesh)
  program = hlo.read(made.program.as_text())
  return {
    'collectives': [
      [one.kind, list(one.shapes), one.times] for one in program.collectives
    ],
    'people': many,
    'tokens': 2 * rows * T,
    'parameters': plan.count(made.state.params),
  }


def resumed(learner, world, first, second):
  """A run that one mesh began and another ends."""
  with tempfile.TemporaryDirectory() as folder:
    with checkpoint.Checkpoints(folder, keep=9) as manager:
      fitted(learner, world, first, manager=manager, save_every=2)
    with checkpoint.Checkpoints(folder, keep=9) as manager:
      # The phase before counts one step: two of four are taken.
      return fitted(learner, world, second, manager=manager, restore_step=2)


def compare(kind, mesh, whole):
  """How one mesh differs from one device; whole: after a fit, too."""
  learner, world, (state, batch, one) = alone(
    kind, whole or kind not in OF_PEOPLE
  )
  state = spellings.stepped(learner, state, world.data, batch, mesh)
  report = {'gradients': spellings.apart(one, spellings.kept(state))}
  if whole:
    state = fitted(learner, world, mesh)
  moments = next(iter(state.opt_state.values()))
  report['parameters'] = share((state.params, moments))
  if kind not in OF_PEOPLE:
    return report
  report['people'] = share(state.people._replace(blank=()))
  if whole:
    report['program'] = exchanged(kind, world, mesh)
  # The aggregate's steps begin where its weight is solved: there its gradient
  # is rounding, to which Adam gives the size of a step, another on every mesh.
  if whole and kind != 'aggregate':
    base = predicted(learner, world, fitted(learner, world))
    found = predicted(learner, world, state)
    report['spread'] = float(np.std(base))
    report['predictions'] = float(np.abs(base - found).max())
  return report


def planned(mesh):
  """The plan of a toy, made in this process."""
  with tempfile.TemporaryDirectory() as folder:
    path = backbones.write(pathlib.Path(folder), 'toy')
    request = planning.Request(
      str(path), mesh=mesh, people=10_001, pairs=16, length=32
    )
    return planning.plan(request)


def main(names):
  whole = names[:1] == ['--whole']
  report = {'devices': jax.device_count()}
  for name in names[whole:]:
    kind, sizes = name.split('@')
    data, fsdp, model = map(int, sizes.split(','))
    mesh = meshes.make_mesh(data=data, fsdp=fsdp, model=model)
    if kind == 'plan':
      report[name] = planned(f'data:{data},fsdp:{fsdp},model:{model}')
      continue
    if kind != 'resume':
      report[name] = compare(kind, mesh, whole)
      continue
    learner, world, _ = alone('pref')
    base = predicted(learner, world, fitted(learner, world))
    found = {'spread': float(np.std(base))}
    for text, other in (('on 8', meshes.make_mesh()), ('on 1', None)):
      state = resumed(learner, world, mesh, other)
      after = predicted(learner, world, state)
      found[text] = float(np.abs(base - after).max())
    report[name] = found
  print(json.dumps(report))


if __name__ == '__main__':
  main(sys.argv[1:])
