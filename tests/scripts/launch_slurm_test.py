import os
import shlex
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'launch_slurm'
COMMAND = ('prm', 'compare', '--data=my data.jsonl', '--workdir=/shared/mine')


def run(*arguments, path=None):
  environment = os.environ | ({'PATH': path} if path else {})
  return subprocess.run(
    [str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    check=False,
    env=environment,
  )


def test_it_prints_what_it_would_do(tmp_path):
  done = run('--jobs=8', '--time=1:00:00', '--', *COMMAND)
  assert done.returncode == 0
  call = shlex.split(done.stdout)
  assert call[:3] == ['sbatch', '--array=0-7', '--time=1:00:00']
  assert shlex.split(call[3].removeprefix('--wrap=')) == list(COMMAND)


def test_it_does_it_when_told(tmp_path):
  """A stand-in for sbatch writes down what it is given."""
  stand_in = tmp_path / 'sbatch'
  stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\n')
  stand_in.chmod(0o755)
  path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
  run('--jobs=2', '--', *COMMAND, path=path)
  assert not (tmp_path / 'given').exists()
  assert run('--jobs=2', '--go', '--', *COMMAND, path=path).returncode == 0
  given = (tmp_path / 'given').read_text().splitlines()
  assert given[0] == '--array=0-1'
  assert shlex.split(given[1].removeprefix('--wrap=')) == list(COMMAND)


def test_nodes_share_one_fit():
  done = run('--nodes=4', '--gpus-per-node=8', '--', *COMMAND)
  call = shlex.split(done.stdout)
  assert call[:4] == [
    *('sbatch', '--nodes=4', '--ntasks-per-node=1', '--gpus-per-node=8')
  ]
  words = shlex.split(call[4].removeprefix('--wrap='))
  assert words == ['srun', *COMMAND, '--processes=auto']


@pytest.mark.parametrize(
  ('arguments', 'text'),
  [
    (('--nodes=0', '--', *COMMAND), '--nodes=0: at least 1'),
    (('--nodes=2', '--jobs=2', '--', *COMMAND), 'units, or nodes'),
    (('--', *COMMAND), 'how many jobs'),
    (('--jobs=0', '--', *COMMAND), 'how many jobs'),
    (('--jobs=2',), 'no command'),
    (('--jobs=2', '--', 'prm', 'compare'), 'that all nodes see'),
    (('--jobs=2', '--', 'prm', '--workdir=runs/mine'), '--workdir=runs/mine'),
    (('--jobs=2', '--array=0-9', '--', *COMMAND), 'what --jobs'),
    (('--jobs=2', 'prm', '--', *COMMAND), 'prm: write --name=value'),
  ],
)
def test_what_is_missing_is_said(arguments, text):
  done = run(*arguments)
  assert done.returncode == 2
  assert text in done.stderr
  assert not done.stdout
