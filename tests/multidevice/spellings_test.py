"""Gradients of every learner agree under jit, shard_map and pmap."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from prm_jax import registry

_HERE = pathlib.Path(__file__).parent
# Objectives that look at the whole batch; the last one has people, too.
BY_DEFAULT = ('mrm', 'polar', 'pref_debiased')
OTHERS = sorted(set(registry.LEARNERS) - set(BY_DEFAULT))


def compared(*arguments):
  # XLA reads the number of devices once, hence a process of its own.
  environment = os.environ | {
    'XLA_FLAGS': '--xla_force_host_platform_device_count=4',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(_HERE.parents[1]),
  }
  done = subprocess.run(
    [sys.executable, '-W', 'error', str(_HERE / 'spellings.py'), *arguments],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout)


@pytest.fixture(scope='module')
def some():
  return compared(*BY_DEFAULT)


@pytest.fixture(scope='module')
def others():
  return compared(*OTHERS)


def check(report, kind):
  assert report['devices'] == 4
  found = report[kind]
  assert found.pop('size') > 1e-3  # there is something to agree on
  assert found
  assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize('kind', BY_DEFAULT)
def test_four_devices_have_the_gradients_of_one(some, kind):
  check(some, kind)


@pytest.mark.slow
@pytest.mark.parametrize('kind', OTHERS)
def test_four_devices_have_every_learner_s_gradients_of_one(others, kind):
  check(others, kind)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['critique_grpo', 'polar', 'pref', 'vpl'])
def test_whole_fits_agree(kind):
  found = compared('--fits', kind)[kind]
  for how, apart in found.items():
    assert apart < 1e-2, (how, apart)
