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
    'PYTHONPATH': str(_HERE.parents[1]),
  }
  done = subprocess.run(
    [sys.executable, '-W', 'error', str(_HERE / 'negatives.py')],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.parametrize('how', ['shard_map', 'shard_map unchecked', 'pmap'])
def test_negatives_of_eight_devices_are_those_of_the_batch(report, how):
  assert report['devices'] == 8
  assert report['gradient'] > 0.05  # there is something to agree on
  assert report[how]['loss'] < 1e-5
  assert report[how]['gradient'] < 1e-5


@pytest.mark.parametrize('how', ['not gathered', 'not shifted'])
def test_planted_faults_show(report, how):
  assert report[how]['loss'] > 0.1
  assert report[how]['gradient'] > 0.01
