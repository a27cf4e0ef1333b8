"""Highest layers that train with a reward, on a mesh and on one device.

Prints what differs, and what every device holds, of each FORM@DATA,FSDP,MODEL;
behind `--resumed` also of a run that the mesh begins and one device ends.
"""

import json
import os
import pathlib
import sys
import tempfile

import checkpoints  # of tests/
import jax
import numpy as np

from prm_jax import adapting
from prm_jax import setting as settings
from prm_jax.lab import fitting
from prm_jax.models import classifier, ends, features, sharding
from prm_jax.runtime import checkpoint, hlo, train
from prm_jax.runtime import mesh as meshes

WORDS = ['tea', 'milk', 'hot', 'cold', 'please', 'dude', 'sir', 'what', 'x']
TEXTS, PEOPLE, COLUMNS, ROWS = 40, 5, 3, 160
OPTIONS = {'lora:2:4': ('pref', {'dim': 2}), 'full:1': ('aggregate', {})}
RATES = {'lora:2:4': 0.02, 'full:1': 0.01}


def parsed(sizes: str):
  """Returns the mesh of `2,2,2`; None of nothing."""
  if not sizes:
    return None
  named = zip(meshes.AXES, sizes.split(','), strict=True)
  return meshes.parse(','.join(f'{axis}:{size}' for axis, size in named))


def begun(source, prompts, texts, form):
  """Returns what `adapting.fit` takes."""
  plan = adapting.parse(form, {'trunk_rate': RATES[form], 'epochs': 3})
  states = adapting.Texts(plan, source.trunk, prompts, texts, memory=1.0)
  both = prompts, texts
  reader = features.fit(
    features.BACKBONE, source, *both, np.arange(TEXTS), COLUMNS - 1
  )
  table = reader(source, *both)
  rng = np.random.default_rng(1)
  items = np.stack([rng.permutation(TEXTS)[:2] for _ in range(ROWS)])
  like = np.array([text.split().count('dude') for text in texts])
  label = like[items[:, 0]] + rng.random(ROWS) > like[items[:, 1]] + 0.5
  judged = fitting.judgements(rng.integers(0, PEOPLE, ROWS), items, label)
  fits = np.arange(ROWS) % 4 > 0
  method, options = OPTIONS[form]
  known = settings.Setting(
    *(method, options, PEOPLE, COLUMNS, 0, None),
    *(features.BACKBONE, COLUMNS - 1, ROWS, 'backbone', None),
  )
  batch = judged.masked(fits).over(table)
  state = train.fit(known.learner(), batch, key=known.key, spec=known.spec)
  rows = adapting.Rows(judged, fits, ~fits)
  fixed = plan, states, rows, state, reader.reductions[features.BACKBONE]
  return fixed, {'method': method, 'options': options, 'seed': 0}


class Killed(BaseException):
  """What ends a run."""


def once(folder, form, sizes, *, workdir=None, killed=False):
  """Returns features before and after, and the source after."""
  os.environ['PRM_CACHE_DIR'] = tempfile.mkdtemp()
  rng = np.random.default_rng(0)
  texts = [
    ' '.join(rng.choice(WORDS, rng.integers(3, 7))) for _ in range(TEXTS)
  ]
  prompts = ['say it'] * TEXTS
  save = checkpoint.Checkpoints.save

  def saved(manager, *arguments):
    save(manager, *arguments)
    manager.wait()
    raise Killed

  with meshes.use(parsed(sizes)):
    source = settings.source(backbone=folder)
    fixed, named = begun(source, prompts, texts, form)
    if killed:
      checkpoint.Checkpoints.save = saved
    try:
      changes = adapting.fit(*fixed, **named, workdir=workdir)
    except Killed:
      return None
    finally:
      checkpoint.Checkpoints.save = save
    after = source.changed(changes)
    before = source.together(prompts, texts)
    return before, after.together(prompts, texts), after


def gap(found, want):
  """Returns the largest difference, of the largest entry.

  Features are compared, and not factors: where nothing depends on an entry its
  gradient is rounding, and Adam takes as large a step along it.
  """
  return float(np.abs(found - want).max() / np.abs(want).max())


def held(source) -> float:
  """Returns which share of the decoder's kernels a device holds."""
  leaves = [x for x in jax.tree.leaves(source.trunk.model.params) if x.ndim > 2]
  own = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
  return own / sum(leaf.nbytes for leaf in leaves)


def exchanged(source, rows=64, tokens=32) -> float:
  """Returns the largest exchange of a reading, in shares of all activations."""
  model = source.trunk.model
  ids = np.ones((rows, tokens), np.int32)
  with sharding.traced_on(sharding.mesh_of(model.params)):
    run = classifier.program(model.config, False, np.dtype(np.float32))
    lowered = run.lower(model.params, model.score, ids, ids > 0)
    moved = hlo.read(lowered.compile().as_text()).collectives
  most = max(one.elements for one in moved)
  return most / (rows * tokens * model.config.hidden_size)


def main():
  """Prints the report."""
  folder = checkpoints.write(
    pathlib.Path(tempfile.mkdtemp()),
    *([*WORDS, 'y', 'z'],),
    **{'num_hidden_layers': 3, 'num_key_value_heads': 2},
  )
  ends._SHORT = 0  # of texts of any length the last layer is taken apart
  found, alone = {}, {}
  resumes = '--resumed' in sys.argv
  for name in sys.argv[1 + resumes :]:
    form, _, sizes = name.partition('@')
    if form not in alone:
      alone[form] = once(folder, form, '')
    before, after, source = once(folder, form, sizes)
    want = alone[form]
    found[name] = {
      'before': gap(before, want[0]),
      'after': gap(after, want[1]),
      'moved': gap(after, before),
      'held': held(source),
      'exchanged': exchanged(source),
    }
    if resumes:
      work = pathlib.Path(tempfile.mkdtemp())
      once(folder, form, sizes, workdir=work, killed=True)
      steps = sorted(path.name for path in (work / 'adapting').iterdir())
      resumed = once(folder, form, '', workdir=work)
      found[name] |= {'killed': steps, 'resumed': gap(resumed[1], want[1])}
  print(json.dumps(found))


if __name__ == '__main__':
  main()
