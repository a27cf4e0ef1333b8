import math

import pytest

from prm_jax import registry
from prm_jax.report import names, tables


def test_points_with_interval():
  row = {'accuracy': 0.7061, 'accuracy_low': 0.6994, 'accuracy_high': 0.712}
  assert tables.points(row, 'accuracy') == '70.6 [69.9, 71.2]'
  assert tables.points(row, 'accuracy', scale=1) == '0.706 [0.699, 0.712]'


def test_differences_carry_a_sign_and_two_decimals():
  row = {'gain': 0.0034, 'gain_low': -0.0021, 'gain_high': 0.009}
  assert tables.points(row, 'gain', signed=True) == '+0.34 [-0.21, +0.90]'
  assert tables.points({'gain': -1e-9}, 'gain', signed=True) == '+0.00'


def test_missing_numbers_are_said_to_be_missing():
  for row in ({}, {'auc': None}, {'auc': math.nan}):
    assert tables.points(row, 'auc') == tables.MISSING
  assert tables.points({'auc': 0.5, 'auc_low': None}, 'auc') == '50.0'


def test_columns_that_hold_nothing_are_dropped():
  rows = [{'data': 'jester', 'method': 'pref', 'accuracy': 0.7, 'ece': None}]
  table = tables.accuracy_table({'tables': {'accuracy': rows}})
  assert table.header == ['data', 'method', 'accuracy']
  assert table.rows == [['Jester jokes', 'PReF', '70.0']]


def test_long_tables_start_closed():
  rows = [{'data': 'jester', 'accuracy': 0.7}]
  assert not tables.accuracy_table({'tables': {'accuracy': rows}}).closed
  assert tables.accuracy_table({'tables': {'accuracy': rows * 50}}).closed


def test_controls_are_read():
  def reading(control, low, **rest):
    return tables.reading({'control': control, 'value_low': low, **rest})

  assert reading('swapped_people', 0.001) == 'personal'
  assert reading('swapped_people', 0.0) == 'not personal'
  assert reading('population_coefficients', -0.1) == 'not personal'
  assert reading('swapped_people', None) == ''
  assert reading('slot_probe', 0.5, leak=True) == 'leak'
  assert reading('slot_probe', 0.5, leak=False) == 'no leak'
  assert reading('label_flip', 0.5) == ''


def test_control_values_have_the_unit_of_their_quantity():
  rows = [
    {'control': control, 'quantity': quantity, 'value': value}
    for control, quantity, value in (
      ('swapped_people', 'accuracy difference', 0.02),
      ('label_flip', 'share flipped', 0.3),
      ('exchange', 'largest gap', 2e-7),
    )
  ]
  table = tables.controls_table({'tables': {'controls': rows}})
  column = table.header.index('value')
  values = [row[column] for row in table.rows]
  assert values == ['+2.00', '30.0', '2e-07']


def test_an_unknown_table_is_shown_as_it_stands():
  rows = [{'a': 1, 'b': 0.25}, {'a': 2, 'c': 'x'}]
  table = tables.other_table({'tables': {'odd_one': rows}}, 'odd_one')
  assert table.title == 'Odd one'
  assert table.header == ['a', 'b', 'c']
  assert table.rows == [['1', '0.25', 'n/a'], ['2', 'n/a', 'x']]


@pytest.mark.parametrize(
  ('name', 'said'),
  [
    ('pref', 'PReF'),
    ('aggregate', 'one model for everyone'),
    ('traits', "everyone's model with each person's habits"),
    ('new_people_new_prompts', 'new people, new prompts'),
    ('copied_people', 'answers of somebody else'),
    ('some_new_method', 'some new method'),
    ('mine', 'mine'),
    (None, 'n/a'),
  ],
)
def test_names_that_people_use(name, said):
  assert tables.word(name) == said


def test_places_name_what_is_read():
  assert tables.place('preferences', 'text') == 'your data'
  assert tables.place('jester', 'text') == 'Jester jokes (text)'
  assert tables.place('my_file') == 'my file'


def test_no_two_learners_share_a_name():
  said = [names.word(name) for name in registry.LEARNERS]
  assert len(set(said)) == len(said)


def test_a_constant_column_is_left_out():
  table = tables.Table('t', '', ['data', 'x'], [['a', '1']], False)
  assert tables.without(table, 'data').rows == [['1']]
  assert tables.without(table, 'y') == table


def test_ties_have_their_scores(compared):
  table = tables.ties_table(compared)
  row = dict(zip(table.header, table.rows[0], strict=True))
  assert row['log loss'] == '0.910 [0.890, 0.930]'
  assert row['ties'] == '12.0'
  assert (row['people'], row['judgements']) == ('80', '2,700')
  assert row['resampled'] == 'people and prompts'


def test_controls_are_counted():
  rows = [
    {
      'data': data,
      'control': 'swapped_people',
      'value': value,
      'value_low': value - 0.01,
      'quantity': 'accuracy difference',
    }
    for data in ('jester', 'ukp_convarg')
    for value in (0.005, 0.02)
  ]
  table = tables.controls_summary({'tables': {'controls': rows}})
  (line,) = (dict(zip(table.header, r, strict=True)) for r in table.rows)
  assert line['reading'] == '2 not personal, 2 personal'
  assert line['smallest to largest'] == '+0.50 to +2.00'
  assert (line['comparisons'], line['data sets']) == ('4', '2')


def test_every_interval_has_its_n_and_what_was_resampled(compared):
  for made in (tables.gain_table, tables.accuracy_table, tables.ties_table):
    table = made(compared)
    for name in ('people', 'units', 'resampled'):
      assert name in table.header
