"""Columns of tables: no mean without its interval."""

import math

import pytest

from prm_jax.lab import columns


def test_a_mean_and_students_interval_by_hand():
  # Standard error 1 / sqrt(3); Student's 0.975 quantile of 2 degrees 4.302653.
  width = 4.302653 / math.sqrt(3)
  row = columns.mean('gain', [1.0, 2.0, 3.0, math.nan])
  assert row == {
    'gain': 2.0,
    'gain_low': pytest.approx(2 - width, abs=1e-6),
    'gain_high': pytest.approx(2 + width, abs=1e-6),
  }


def test_a_mean_of_shares_ends_where_shares_end():
  row = columns.mean('share', [1.0, 0.99, 1.0], least=0.0, most=1.0)
  free = columns.mean('share', [1.0, 0.99, 1.0])
  assert free['share_high'] > 1
  assert row == {**free, 'share_high': 1.0}
  alone = columns.mean('share', [0.5], least=0.0, most=1.0)
  assert alone == {'share': 0.5, 'share_low': None, 'share_high': None}


@pytest.mark.parametrize(
  ('values', 'value'), [([0.5], 0.5), ([math.nan, 0.5], 0.5), ([], None)]
)
def test_one_value_has_no_interval_and_none_has_nothing(values, value):
  expected = {'x': value, 'x_low': None, 'x_high': None}
  assert columns.mean('x', values) == expected


def test_a_share_has_clopper_and_pearsons_limits():
  # Of 0 in n the upper limit is 1 - (0.025)^(1 / n).
  row = columns.share('leak', 0, 20)
  assert (row['leak'], row['leak_low']) == (0, 0)
  assert row['leak_high'] == pytest.approx(1 - 0.025 ** (1 / 20))


def test_limits_that_are_not_finite_are_null():
  row = columns.interval('r', (1.0, -math.inf, math.nan))
  assert row == {'r': 1.0, 'r_low': None, 'r_high': None}


def test_more_than_three_limits_may_be_given():
  """Intervals that say more, such as how many units there were."""
  row = columns.interval('r', (1.0, 0.5, 2.0, 0.1, 99))
  assert row == {'r': 1.0, 'r_low': 0.5, 'r_high': 2.0}


def test_records_are_grouped_in_order_of_appearance():
  rows = [{'a': a, 'b': b} for a, b in ((2, 'x'), (1, 'x'), (2, 'x'), (2, 'y'))]
  groups = columns.grouped(rows, 'a', 'b')
  assert list(groups) == [(2, 'x'), (1, 'x'), (2, 'y')]
  assert groups[2, 'x'] == [rows[0], rows[2]]
  assert list(columns.grouped(rows, 'b')) == [('x',), ('y',)]


def test_records_by_seed():
  rows = [{'seed': 2, 'n': 'c'}, {'seed': 0, 'n': 'a'}, {'seed': 1, 'n': 'b'}]
  found = columns.by_seed(rows)
  assert [row['n'] for row in found.values()] == ['a', 'b', 'c']
  assert list(found) == [0, 1, 2]


@pytest.mark.parametrize(
  ('limits', 'said'),
  [
    ((0.5, 0.25, 0.75), '50.0 % [25.0, 75.0]'),
    ((0.5, None, None), '50.0 %'),
    ((None, None, None), 'not measured'),
  ],
)
def test_a_share_in_words(limits, said):
  row = dict(zip(('s', 's_low', 's_high'), limits, strict=True))
  assert columns.percent(row, 's') == said


def test_gains_are_paired_by_seed():
  mine = {0: 0.5, 1: 0.75, 3: 9.0}
  row = columns.gain('gain', mine, {1: 0.5, 0: 0.25, 2: 0.0})
  assert row == {'gain': 0.25, 'gain_low': 0.25, 'gain_high': 0.25}
  assert columns.gain('gain', {0: 1.0}, {1: 1.0})['gain'] is None


def test_the_best_is_of_those_that_are_there():
  values = {'a': {0: 1.0, 1: 3.0}, 'b': {0: 2.5}, 'c': {0: 9.0}}
  assert columns.best(values, ('a', 'b', 'nobody')) == 'b'
  assert columns.best(values, ('nobody',)) is None


def test_what_is_not_finite_is_null():
  row = columns.mean('x', [0.5, float('nan')])
  assert row == {'x': pytest.approx(0.5), 'x_low': None, 'x_high': None}
