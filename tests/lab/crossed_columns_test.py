"""Columns of means over two kinds of units at once."""

import numpy as np
import pytest

from prm_jax.lab import columns
from prm_jax.ops import intervals


def crossed(units, seed=0):
  rng = np.random.default_rng(seed)
  person, prompt = (grid.ravel() for grid in np.indices((units, units)))
  right = rng.random(len(person)) < 0.9
  shared = intervals.crossing(person, prompt)
  return intervals.crossed(right, np.ones(len(person)), shared)


def test_an_interval_ends_where_the_quantity_does():
  mean = crossed(20)
  row = columns.crossed('accuracy', mean)
  names = ('accuracy', 'accuracy_low', 'accuracy_high')
  assert row == dict(zip(names, mean[:3], strict=True))
  least, most = mean.value - 1e-3, mean.value + 1e-3
  assert mean.low < least < most < mean.high
  row = columns.crossed('accuracy', mean, least=least, most=most)
  assert (row['accuracy_low'], row['accuracy_high']) == (least, most)
  assert row['accuracy'] == pytest.approx(mean.value)


def test_few_units_say_how_often_intervals_hold():
  row = columns.crossed('gain', crossed(5))
  assert row['coverage'] == intervals.FEW_COVERAGE
  nothing = crossed(20)._replace(low=np.nan, high=np.nan)
  row = columns.crossed('gain', nothing, least=-1.0, most=1.0)
  assert row['gain_low'] is row['gain_high'] is None
