"""Tables of cells: how much of the oracle's advantage is recovered."""

import numpy as np
import pytest

from prm_jax.lab import rows
from prm_jax.ops import statistics


def run(correct, people=20, units=10):
  """Predictions of which so many in 100 are right, drawn anew for each row."""
  person, unit = np.divmod(np.arange(people * units), units)
  label = (person + unit) % 2
  order = np.random.default_rng(0).permutation(len(label))
  right = order < correct * len(label) // 100
  return statistics.Run(
    np.where(right, 0.8 * label + 0.1, 0.9 - 0.8 * label),
    label,
    person,
    statistics.Units('jokes', unit),
  )


def test_what_is_recovered_by_hand():
  found = rows.recovered([run(80)], [run(90)])
  assert found['accuracy'] == pytest.approx(0.8)
  assert found['oracle'] == pytest.approx(0.9)
  assert found['ratio'] == pytest.approx(0.75)
  assert found['ratio_low'] < 0.75 < found['ratio_high']
  assert (found['people'], found['units']) == (20, 10)
  assert (found['pairs'], found['seeds']) == (200, 1)
  assert found['resampled'] == 'people and jokes'


def test_all_is_recovered_by_the_oracle_itself():
  found = rows.recovered([run(90)], [run(90)])
  assert found['ratio'] == pytest.approx(1)


def cell(oracle):
  one = run(80)
  return rows.Cell(
    data='made',
    features='text',
    seed=0,
    user_ids=np.array([f'u{i}' for i in range(20)]),
    prompt_ids=np.array(['p']),
    unit_names=np.array([f'j{i}' for i in range(10)]),
    arrays={
      'new_pairs#label': one.label,
      'new_pairs#user': one.person,
      'new_pairs#oracle': oracle,
      'new_pairs#unit': np.stack([one.units.of] * 2, 1),
      'mine|new_pairs|all|': one.probability,
      'mine|new_pairs|all|swapped': one.probability,
      'majority_of_others|new_pairs|all|': one.probability,
    },
    record={'units': 'jokes'},
  )


def test_methods_are_set_beside_the_oracle_where_it_is_known():
  known = rows.group([cell(run(90).probability)])
  (row,) = rows.recovery_table(known)  # neither controls nor other people
  assert (row['data'], row['method'], row['split']) == (
    'made',
    'mine',
    'new_pairs',
  )
  assert row['ratio'] == pytest.approx(0.75)
  nobody = rows.group([cell(np.full(200, np.nan))])
  assert rows.recovery_table(nobody) == []
