"""Runs a script of this folder on fake devices, and reads what it prints."""

import json
import os
import pathlib
import socket
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
  done = subprocess.run(
    [sys.executable, *_WARNINGS, str(_HERE / script), *arguments],
    env=environment(devices, flags),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def environment(devices: int, flags: str = '') -> dict[str, str]:
  """Returns the environment of a process that seems to have devices.

  Args:
    devices: how many there seem to be.
    flags: of XLA, besides.
  """
  # Threads of fake devices wait for each other, longer where others work, too.
  patience = '--xla_cpu_collective_call_terminate_timeout_seconds=300'
  count = f'--xla_force_host_platform_device_count={devices} {patience}'
  paths = _HERE.parents[1], _HERE.parent, _HERE.parent / 'runtime', _HERE
  return os.environ | {
    'XLA_FLAGS': f'{count} {flags}',
    'JAX_PLATFORMS': 'cpu',
    'TQDM_MININTERVAL': '30',  # a pipe that nobody reads yet fills up
    'PYTHONPATH': os.pathsep.join(map(str, paths)),
  }


def free_port() -> int:
  """Returns a port that nobody listens on."""
  with socket.socket() as found:
    found.bind(('localhost', 0))
    return found.getsockname()[1]


def started(
  devices: int, *command: str, count: int = 2, last: str = ''
) -> list[subprocess.Popen[str]]:
  """Returns processes that share a fit, which have only just begun.

  Args:
    devices: of each.
    *command: behind Python; `--coordinator` and `--process` are added.
    count: of processes.
    last: an option more of the last one.
  """
  port = free_port()
  return [
    subprocess.Popen(
      [
        *(sys.executable, *command, f'--coordinator=localhost:{port}'),
        f'--process={number}',
        *([last] if last and number == count - 1 else []),
      ],
      env=environment(devices),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(count)
  ]


def reports(script: str, devices: int, *arguments: str) -> list[dict]:
  """Returns what two processes print last, JSON, which share a fit.

  Args:
    script: its file, in this folder.
    devices: of each.
    *arguments: of the script.
  """
  both = started(devices, *_WARNINGS, str(_HERE / script), *arguments)
  try:
    done = [one.communicate(timeout=600) for one in both]
  finally:
    for one in both:
      one.kill()
  for one, (_, errors) in zip(both, done, strict=True):
    assert one.returncode == 0, errors[-3000:]
  return [json.loads(output.splitlines()[-1]) for output, _ in done]


def collectives(program: str) -> dict[str, set[str]]:
  """Returns which arrays every kind of collective moves in a program's text."""
  moved: dict[str, set[str]] = {}
  for one in hlo.read(program).collectives:
    moved.setdefault(one.kind, set()).update(one.shapes)
  return moved
