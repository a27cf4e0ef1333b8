"""Gradients of every learner agree under jit, shard_map and pmap."""

import pytest

from prm_jax import registry
from tests.multidevice import devices

# Objectives that look at the whole batch; the last one has people, too.
BY_DEFAULT = ('mrm', 'polar', 'pref_debiased')
OTHERS = sorted(set(registry.LEARNERS) - set(BY_DEFAULT))


def compared(*arguments):
  return devices.report('spellings.py', 4, *arguments)


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
