"""Runs a script of this folder on fake devices, and reads what it prints."""

import json
import os
import pathlib
import subprocess
import sys

from prm_jax.runtime import hlo

_HERE = pathlib.Path(__file__).parent
# As in setup.cfg: a program that another process has written half.
_WARNINGS = (
  *('-W', 'error'),
  *('-W', 'ignore:Error reading persistent compilation cache entry'),
)


def report(script: str, devices: int, *arguments: str, flags: str = '') -> dict:
  """Returns the last line that a script prints, which is JSON.

  XLA reads the number of devices once, hence a process of its own.

  Args:
    script: its file, in this folder.
    devices: how many there seem to be.
    *arguments: of the script.
    flags: of XLA, besides.
  """
  # Threads of fake devices wait for each other, longer where others work, too.
  patience = '--xla_cpu_collective_call_terminate_timeout_seconds=300'
  count = f'--xla_force_host_platform_device_count={devices} {patience}'
  environment = os.environ | {
    'XLA_FLAGS': f'{count} {flags}',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join(
      [
        str(p)
        for p in (_HERE.parents[1], _HERE.parent, _HERE.parent / 'runtime')
      ]
    ),
  }
  done = subprocess.run(
    [sys.executable, *_WARNINGS, str(_HERE / script), *arguments],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def collectives(program: str) -> dict[str, set[str]]:
  """Returns which arrays every kind of collective moves in a program's text."""
  moved: dict[str, set[str]] = {}
  for one in hlo.read(program).collectives:
    moved.setdefault(one.kind, set()).update(one.shapes)
  return moved
