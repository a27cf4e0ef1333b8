"""Runs a script of this folder on fake devices, and reads what it prints."""

import json
import os
import pathlib
import subprocess
import sys

_HERE = pathlib.Path(__file__).parent


def report(script: str, devices: int, *arguments: str) -> dict:
  """Returns the last line that a script prints, which is JSON.

  XLA reads the number of devices once, hence a process of its own.
  """
  environment = os.environ | {
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join(
      [str(_HERE.parents[1]), str(_HERE.parent / 'runtime')]
    ),
  }
  done = subprocess.run(
    [sys.executable, '-W', 'error', str(_HERE / script), *arguments],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])
