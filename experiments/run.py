"""Runs a study: --config=configs/NAME.py[:variant] --workdir=DIR."""

import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from experiments.choose_for_a_person import experiment as choose_for_a_person
from experiments.critique_and_numbers import (
  experiment as critique_and_numbers,
)
from experiments.echo_chambers import experiment as echo_chambers
from experiments.evaluative_and_directive import (
  experiment as evaluative_and_directive,
)
from experiments.personalized_vs_aggregate import (
  experiment as personalized_vs_aggregate,
)
from experiments.policy_discriminators import (
  experiment as policy_discriminators,
)
from experiments.ten_questions import experiment as ten_questions
from prm_jax.runtime import checkpoint, writers
from prm_jax.runtime import mesh as meshes

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where everything is written.')
_MESH = flags.DEFINE_string('mesh', '', 'Devices that fits use, as data:8.')

STUDIES = {
  'choose_for_a_person': choose_for_a_person.run,
  'critique_and_numbers': critique_and_numbers.run,
  'echo_chambers': echo_chambers.run,
  'evaluative_and_directive': evaluative_and_directive.run,
  'personalized_vs_aggregate': personalized_vs_aggregate.run,
  'policy_discriminators': policy_discriminators.run,
  'ten_questions': ten_questions.run,
}
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {argv[1:]}')
  config, workdir = _CONFIG.value, Path(str(_WORKDIR.value))
  writers.make_folder(workdir)
  # Plain JSON values, so that a resumed run compares equal.
  plain = json.loads(config.to_json())
  checkpoint.check_config(workdir, plain)
  started = time.time()
  writers.write_json_atomic(workdir / 'run.json', describe(plain))
  mesh = meshes.parse(_MESH.value) if _MESH.value else None
  with meshes.use(mesh):
    results = STUDIES[config.study](config, workdir)
  print('\n'.join(results['answer']))
  print(
    f'{time.time() - started:.0f} s. Read {workdir / "report" / "index.html"}'
  )


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
