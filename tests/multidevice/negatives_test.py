import pytest

from tests.multidevice import devices


@pytest.fixture(scope='module')
def report():
  return devices.report('negatives.py', 8)


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
