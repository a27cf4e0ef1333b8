"""How many answers reach a target, and how intervals are taken."""

import numpy as np
import pytest

from configs import ten_questions
from experiments.ten_questions import settings, tables
from prm_jax.lab import asking, units


def groups(rise):
  """Two seeds of people whose accuracy grows by `rise` an answer."""
  rng = np.random.default_rng(0)
  made = []
  for seed in range(2):
    noise = 0.01 * rng.normal(size=(40, 1))
    arrays = {}
    for name, slope in rise.items():
      curve = 0.5 + slope * np.arange(21) + noise
      arrays[f'correct|{name}'] = curve
      arrays[f'regret|{name}'] = 1 - curve
    names = {'data': 'gaussian', 'features': 'known', 'method': 'pref'}
    made.append(units.Unit({**names, 'seed': seed}, arrays))
  return tables.groups(made, 200)


def test_share_of_random_by_hand():
  (row,) = [
    row
    for row in tables.answers_needed(
      groups({'random': 0.01, 'variance': 0.02}), (0.65,)
    )
    if row['acquisition'] == 'variance'
  ]
  assert row['answers'] == pytest.approx(7.5, abs=0.2)
  assert row['random_answers'] == pytest.approx(15, abs=0.4)
  assert row['share_of_random'] == pytest.approx(0.5, abs=0.01)
  low, high = row['share_of_random_low'], row['share_of_random_high']
  assert low <= row['share_of_random'] <= high < low + 0.1
  assert (row['people'], row['seeds']) == (80, 2)


def test_a_target_that_random_never_reaches_is_a_bound():
  rows = tables.answers_needed(
    groups({'random': 0.005, 'variance': 0.02}), (0.8, 0.95)
  )
  # Nobody reaches 0.95: no row.
  assert [row['target'] for row in rows] == [0.8]
  assert rows[0]['random_answers'] is None
  assert rows[0]['share_of_random'] == pytest.approx(15 / 21, abs=0.02)


def test_what_asks_less_than_random_has_a_curve_and_no_need():
  known = groups({'random': 0.01, 'profile': 0.02})
  (people,) = known.values()
  for cell in people.cells:
    for name in ('correct', 'regret'):
      cell.arrays[f'{name}|profile'] = cell.arrays[f'{name}|profile'][:, :11]
  needed = tables.answers_needed(known, (0.6,))
  assert [row['acquisition'] for row in needed] == ['random']
  asked = [row['answers'] for row in tables.curve(known, (5, 10, 20))]
  assert asked == [5, 10, 20, 5, 10]


def test_the_curve_has_a_row_for_what_was_asked_and_one_for_the_aggregate():
  known = groups({'random': 0.01, 'variance': 0.02})
  (people,) = known.values()
  for cell in people.cells:
    for name in ('correct', 'regret'):
      cell.arrays[f'{name}|aggregate'] = np.full((40, 1), 0.25)
  rows = tables.curve(known, (0, 10, 99))
  found = {
    (r['method'], r['acquisition'], r['answers']): r['accuracy'] for r in rows
  }
  assert list(found) == [
    ('pref', 'random', 0),
    ('pref', 'random', 10),
    ('pref', 'variance', 0),
    ('pref', 'variance', 10),
    ('aggregate', 'none', 0),
  ]
  assert found['pref', 'variance', 10] == pytest.approx(0.7, abs=0.01)
  assert found['aggregate', 'none', 0] == 0.25


def test_the_gaussian_truth_predicts_itself():
  config = ten_questions.get_config('smoke')
  (found,) = settings.settings(config, 'gaussian', 0, None)
  assert isinstance(found, asking.Setting)
  # Probabilities of small differences are not rounded to 0 or 1.
  small = np.argsort(np.linalg.norm(found.difference, axis=0))[:50]
  p = found.probability[:, small]
  weights = np.linalg.lstsq(
    found.difference[:, small].T, np.log(p / (1 - p)).T, rcond=None
  )[0].T
  correct, regret = asking.scores(found, weights)
  np.testing.assert_allclose(correct, 1.0, atol=0.01)
  np.testing.assert_allclose(regret, 0.0, atol=0.01)


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    ten_questions.get_config('huge')
