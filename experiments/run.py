"""Runs a study: --config=configs/NAME.py[:variant] --workdir=DIR.

Several processes and machines may share DIR: `--seeds=3 --notabulate` makes the
units of one seed alone, and a last run without either tables all of them.
"""

import importlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from prm_jax import places
from prm_jax.lab import study as studies
from prm_jax.runtime import checkpoint, writers
from prm_jax.runtime import mesh as meshes

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where everything is written.')
_MESH = flags.DEFINE_string('mesh', '', 'Devices that fits use, as data:8.')

_SEEDS = flags.DEFINE_string('seeds', '', "In place of the config's: 0..4.")
_GRID = flags.DEFINE_string(
  'grid', '', 'Runs every point, in a folder each: training.rate=0.1,0.2;...'
)
_TABULATE = flags.DEFINE_bool('tabulate', True, 'Whether to write results.')
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {argv[1:]}')
  config, workdir = _CONFIG.value, places.disk(str(_WORKDIR.value))
  if _SEEDS.value:
    config.seeds = tuple(studies.seeds(_SEEDS.value))
  points = studies.grid(_GRID.value)
  configs = [at(config, point) for point in points]  # all, before one is run
  for point, one in zip(points, configs, strict=True):
    # A folder of its own, unless there is but one.
    name = ','.join(f'{key}={value}' for key, value in point.items())
    run(one, workdir / name)


def run(config, workdir: Path) -> None:
  """Runs a study in a folder, and says where its page is."""
  writers.make_folder(workdir)
  # Plain JSON values, so that a resumed run compares equal; the folder may hold
  # units of any seed.
  plain = json.loads(config.to_json())
  fixed = {name: value for name, value in plain.items() if name != 'seeds'}
  checkpoint.check_config(workdir, fixed)
  started = time.time()
  writers.write_json_atomic(workdir / 'run.json', describe(plain))
  mesh = meshes.parse(_MESH.value) if _MESH.value else None
  with meshes.use(mesh):
    results = studies.run(
      named(config.study), config, workdir, tabulate=_TABULATE.value
    )
  if results:
    print('\n'.join(results['answer']))
    print(f'Read {workdir / "report" / "index.html"}')
  print(f'{time.time() - started:.0f} s.')


def named(name: str) -> studies.Study:
  """Returns a study of experiments/.

  Raises:
    ValueError: there is no such study.
  """
  known = sorted(
    path.parent.name for path in Path(__file__).parent.glob('*/experiment.py')
  )
  if name not in known:
    raise ValueError(f'no study {name!r}: one of {known}')
  return importlib.import_module(f'experiments.{name}.experiment').STUDY


def at(config, point: Mapping[str, str]):
  """Returns a config with some values in place of its own.

  Raises:
    KeyError: the config has no such name.
    TypeError: a value is of another kind.
  """
  if not point:
    return config
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(
    {name: _value(text) for name, text in point.items()}
  )
  return changed


def _value(text: str):
  try:
    return json.loads(text)
  except json.JSONDecodeError:
    return text


def describe(config: dict) -> dict:
  """Returns what a result depends on: config, versions, devices, revision."""
  git = subprocess.run(
    ['git', 'rev-parse', 'HEAD'],
    capture_output=True,
    text=True,
    check=False,
    cwd=Path(__file__).parent,
  )
  return {
    'config': config,
    'command': sys.argv,
    'python': platform.python_version(),
    'versions': {name: importlib.metadata.version(name) for name in _PACKAGES},
    'devices': [str(device) for device in jax.devices()],
    'revision': git.stdout.strip() or None,
  }


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  # Warnings alone, unless asked for more: libraries tell of every file read.
  app.run(main, [sys.argv[0], '--verbosity=-1', *sys.argv[1:]])
