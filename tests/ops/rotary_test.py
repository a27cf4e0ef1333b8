import math

import numpy as np
import pytest

from prm_jax.ops import rotary


def by_hand(theta, size, scaling):
  """Every pair alone, in float64, as the papers say it."""
  found = []
  for pair in range(size // 2):
    plain = 1 / theta ** (2 * pair / size)
    slow = plain / scaling.factor
    wave = 2 * math.pi / plain  # tokens of a turn
    if scaling.kind == 'linear':
      found.append(slow)
    elif scaling.kind == 'llama3':
      if wave < scaling.original / scaling.high:
        found.append(plain)
      elif wave > scaling.original / scaling.low:
        found.append(slow)
      else:
        part = scaling.original / wave - scaling.low
        part /= scaling.high - scaling.low
        found.append((1 - part) * slow + part * plain)
    else:
      low, high = (
        size * math.log(scaling.original / (b * 2 * math.pi)) / 2
        / math.log(theta)
        for b in (scaling.fast, scaling.slow)
      )  # fmt: skip
      if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
      low, high = max(low, 0), min(high, size - 1)
      ramp = min(max((pair - low) / (high - low), 0), 1)
      found.append(slow * ramp + plain * (1 - ramp))
  return found


@pytest.mark.parametrize(
  'scaling',
  [
    rotary.Scaling('linear', 8.0),
    rotary.Scaling('llama3', 32.0, 8192, 1.0, 4.0),
    rotary.Scaling('llama3', 8.0, 64, 0.7, 5.0),
    rotary.Scaling('yarn', 4.0, 32768),
    rotary.Scaling('yarn', 16.0, 64, slow=0.5, fast=9.0),
    rotary.Scaling('yarn', 16.0, 64, slow=0.5, fast=9.0, truncate=False),
  ],
)
@pytest.mark.parametrize(('theta', 'size'), [(1e4, 32), (5e5, 128)])
def test_frequencies_of_every_kind(scaling, theta, size):
  found = rotary.frequencies(theta, size, scaling)
  plain = rotary.frequencies(theta, size, rotary.Scaling())
  np.testing.assert_allclose(found, by_hand(theta, size, scaling), rtol=2e-6)
  assert (np.asarray(found) <= np.asarray(plain) * (1 + 1e-6)).all()
  if scaling.kind != 'linear':
    assert found[0] == plain[0]  # what turns fast stays


def test_plain_frequencies():
  found = rotary.frequencies(100.0, 4, rotary.Scaling())
  np.testing.assert_allclose(found, [1, 0.1], rtol=1e-6)


def test_bounds_that_meet_do_not_divide_by_zero():
  scaling = rotary.Scaling('yarn', 4.0, 64, slow=3.0, fast=3.0, truncate=False)
  assert np.isfinite(rotary.frequencies(1e4, 16, scaling)).all()


def test_unknown_kinds_are_refused():
  with pytest.raises(ValueError, match="kind 'dynamic': one of"):
    rotary.frequencies(1e4, 16, rotary.Scaling('dynamic', 2.0))
