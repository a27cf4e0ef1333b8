"""Gradients of every learner agree under jit, shard_map and pmap."""

import pytest

from prm_jax import registry
from tests.multidevice import devices

# Objectives that look at the whole batch; the last one has people, too.
BY_DEFAULT = ('mrm', 'polar', 'pref_debiased')
OTHERS = sorted(set(registry.LEARNERS) - set(BY_DEFAULT))


def compared(*arguments):
  # Compiled as quickly as elsewhere in tests; see tests/conftest.py.
  quick = '--xla_backend_optimization_level=0'
  return devices.report('spellings.py', 4, *arguments, flags=quick)


@pytest.fixture(scope='module')
def some():
  return compared(*BY_DEFAULT)


@pytest.fixture(scope='module')
def others(request):
  # Of these, those that were asked for: one learner is checked alone by -k.
  params = [getattr(item, 'callspec', None) for item in request.session.items]
  asked = {spec.params.get('kind') for spec in params if spec is not None}
  return compared(*(kind for kind in OTHERS if kind in asked))


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
