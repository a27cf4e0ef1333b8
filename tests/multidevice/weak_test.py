"""With the devices grow pairs and people; what a device needs stays."""

import pytest

from tests.multidevice import devices

# Seven seconds a program, and what starts Python with so many devices.
pytestmark = pytest.mark.slow


def test_a_device_needs_as_much_on_1_as_on_64():
  report = devices.report('weak.py', 64, '1', '2', '8', '64')
  assert report['devices'] == 64
  one, two = report['1'], report['2']
  assert one['flops_per_device'] > 1e8
  assert one['exchanged_gb'] == 0
  for count in ('2', '8', '64'):
    found = report[count]
    for what in (
      *('flops_per_device', 'argument_gb', 'temporary_gb', 'output_gb'),
    ):
      assert found[what] == pytest.approx(one[what], rel=0.05), (count, what)
    # The people of a step's pairs are exchanged, 8 coefficients and more of
    # each: 4 pairs a device, and gradients, which stay, besides.
    pairs = 4 * (int(count) - 2) * 160e-9
    assert found['exchanged_gb'] <= two['exchanged_gb'] * 1.005 + pairs
    assert found['exchanged_gb'] >= two['exchanged_gb']


def test_a_step_of_512_devices_is_lowered():
  report = devices.report('weak.py', 512, 'lower:512')
  assert report['lower:512'] == {'partitions': True}
