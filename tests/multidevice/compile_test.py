import pytest

from tests.multidevice import devices


@pytest.fixture(scope='module')
def report():
  return devices.report('agreement.py', 8)


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
