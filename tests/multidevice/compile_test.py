import json
import os
import pathlib
import subprocess
import sys

import pytest

_HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope='module')
def report():
  # XLA reads the number of devices once, hence a process of its own.
  environment = os.environ | {
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join(
      [str(_HERE.parents[1]), str(_HERE.parent / 'runtime')]
    ),
  }
  done = subprocess.run(
    [sys.executable, '-W', 'error', str(_HERE / 'agreement.py')],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.parametrize('how', ['jit', 'shard_map', 'pmap', 'jit 4x2'])
def test_eight_devices_step_as_one(report, how):
  assert report['devices'] == 8
  assert report['moved'] > 0.05
  assert report[how] < 1e-6


@pytest.mark.parametrize('how', ['jit', 'shard_map', 'pmap'])
def test_eight_devices_fit_as_one(report, how):
  assert report[f'fit {how}'] < 1e-5


def test_gradients_are_summed_once_under_the_replication_check(report):
  assert report['checked'] < 1e-6


def test_the_bank_is_split_over_devices(report):
  assert report['people on a device'] == 1
