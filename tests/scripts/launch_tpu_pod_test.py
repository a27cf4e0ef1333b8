import os
import shlex
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'launch_tpu_pod'
POD = ('--tpu=pod', '--zone=us-central2-b')
COMMAND = ('prm', 'train', '--data=my data.jsonl', '--workdir=/shared/mine')


def run(*arguments, path=None):
  environment = os.environ | ({'PATH': path} if path else {})
  return subprocess.run(
    [str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    check=False,
    env=environment,
  )


def remote(call):
  """The words that a host's shell is told to run."""
  (text,) = (word for word in call if word.startswith('--command='))
  return shlex.split(text.removeprefix('--command='))


def test_it_prints_what_it_would_do():
  done = run(*POD, '--dry-run', '--project=ours', '--', *COMMAND)
  assert done.returncode == 0
  call = shlex.split(done.stdout)
  assert call[:6] == ['gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', 'pod']
  assert {'--zone=us-central2-b', '--worker=all', '--project=ours'} < {*call}
  assert remote(call) == [
    *('cd', 'prm_jax', '&&', 'exec', *COMMAND, '--processes=auto')
  ]


def test_what_the_command_says_of_processes_stays():
  command = (*COMMAND, '--processes=4')
  call = shlex.split(run(*POD, '--directory=/a b', '--', *command).stdout)
  assert remote(call) == ['cd', '/a b', '&&', 'exec', *command]
  other = ('prm', 'compare', '--workdir=/shared/mine')
  assert remote(shlex.split(run(*POD, '--', *other).stdout))[4:] == [*other]


def test_it_does_it_when_told(tmp_path):
  """A stand-in for gcloud writes down what it is given."""
  stand_in = tmp_path / 'gcloud'
  stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\n')
  stand_in.chmod(0o755)
  path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
  run(*POD, '--', *COMMAND, path=path)
  assert not (tmp_path / 'given').exists()
  assert run(*POD, '--go', '--', *COMMAND, path=path).returncode == 0
  given = (tmp_path / 'given').read_text().splitlines()
  assert given[:5] == ['compute', 'tpus', 'tpu-vm', 'ssh', 'pod']
  assert remote(given)[4:] == [*COMMAND, '--processes=auto']


@pytest.mark.parametrize(
  ('arguments', 'text'),
  [
    (('--zone=z', '--', *COMMAND), '--tpu: which pod'),
    (('--tpu=pod', '--', *COMMAND), '--zone: where'),
    (POD, 'no command'),
    ((*POD, '--', 'prm', 'train'), 'that all hosts see'),
    ((*POD, '--worker=0', '--', *COMMAND), 'on all hosts'),
    ((*POD, 'prm', '--', *COMMAND), 'prm: write --name=value'),
  ],
)
def test_what_is_missing_is_said(arguments, text):
  done = run(*arguments)
  assert done.returncode == 2
  assert text in done.stderr
  assert not done.stdout
