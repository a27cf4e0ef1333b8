"""Habits as a baseline, and methods beside them, on people who are known."""

import dataclasses

import numpy as np
import pytest

from prm_jax.lab import fitting, habits, rows
from prm_jax.ops import traits

PEOPLE, TEXTS, EACH = 40, 40, 60
PROTOCOL = fitting.Protocol((0, 2, 10), 10)


def problem(seed=0, side=1.0, longer=1.0, spread=1.0):
  """People who go by side and length alone, and tie as they do."""
  rng = np.random.default_rng(seed)
  n = PEOPLE * EACH
  length = rng.normal(size=(TEXTS, 1)).astype(np.float32)
  user = np.repeat(np.arange(PEOPLE), EACH).astype(np.int32)
  index = rng.integers(0, TEXTS, (n, 2)).astype(np.int32)
  own = rng.normal((side, longer, -0.5), spread, (PEOPLE, 3))
  margin = own[user, 0] + own[user, 1] * (
    length[index[:, 0], 0] - length[index[:, 1], 0]
  )
  p = np.exp(np.asarray(traits.log_probability(margin, own[user, 2])))
  label = 1 - (rng.random((n, 1)) > np.cumsum(p, 1)[:, :2]).sum(1) / 2
  turn = np.tile(np.arange(EACH), PEOPLE)
  seen = user < 30
  split = np.where(turn < 40, fitting.TRAIN, 'new_pairs').astype(object)
  split[~seen] = np.where(turn < 40, fitting.CALIBRATION, 'new_people')[~seen]
  inner = np.where(turn < 30, fitting.FIT, fitting.VALIDATE)
  inner[split != fitting.TRAIN] = fitting.UNUSED
  names = [str(t) for t in range(TEXTS)]
  made = fitting.Problem(
    data='made',
    seed=seed,
    fold=0,
    user_ids=[f'u{u}' for u in range(PEOPLE)],
    prompt_ids=names,
    texts=names,
    unit=names,
    units='texts',
    judged=fitting.judgements(user, index, label),
    split=split.astype(str),
    inner=inner,
    features={
      'noise': lambda: rng.normal(size=(TEXTS, 3)).astype(np.float32),
      'length': lambda: length,
    },
    oracle=np.full(n, np.nan),
  )
  return made, own


@pytest.fixture(scope='module')
def unit():
  made, own = problem()
  return made, own, run(made)


def run(made):
  return habits.unit(
    made,
    PROTOCOL,
    {'features': 'noise', 'ridge': 100.0},
    np.arange(len(made.split)) % 5,
    people=100,
    sets=fitting.FeatureSets(made),
  )


def right(made, p, split):
  index = made.index(PROTOCOL)[split]
  label = made.judged.rows.label[index]
  strict = label != 0.5
  return ((p > 0.5) == (label > 0.5))[strict].mean()


def test_habits_of_the_population_are_found(unit):
  _, own, found = unit
  mean = [found.record['mean'][name] for name in habits.NAMES]
  spread = [found.record['variance'][name] ** 0.5 for name in habits.NAMES]
  np.testing.assert_allclose(mean, own[:30].mean(0), atol=0.35)
  np.testing.assert_allclose(spread, own[:30].std(0), atol=0.35)


def test_each_one_s_habits_beat_those_that_all_share(unit):
  made, _, found = unit
  own = right(made, found.arrays['new_pairs|all|'], 'new_pairs')
  all_ = right(made, found.arrays['new_pairs|all|shared_habits'], 'new_pairs')
  assert own > all_ + 0.03
  assert all_ > 0.6


def test_a_new_person_s_habits_follow_their_answers(unit):
  made, _, found = unit
  none, ten = (
    right(made, found.arrays[f'new_people|{n}|'], 'new_people') for n in (0, 10)
  )
  assert ten > none
  np.testing.assert_allclose(
    found.arrays['new_people|0|'],
    found.arrays['new_people|0|shared_habits'],
    atol=1e-6,
  )


def test_no_test_label_is_read(unit):
  made, _, found = unit
  rows_ = made.judged.rows
  asked = np.isin(made.split, ['new_pairs', 'new_people'])
  label = np.where(asked, 1 - rows_.label, rows_.label)
  turned = made.judged._replace(rows=rows_._replace(label=label))
  other = run(
    dataclasses.replace(made, judged=turned, features=dict(made.features))
  )
  # The features are drawn anew, and say nothing: habits stay.
  for name in habits.NAMES:
    assert other.record['mean'][name] == pytest.approx(
      found.record['mean'][name], abs=0.05
    )


def test_answers_are_counted_without_ties():
  made, _ = problem()
  user = np.asarray(made.judged.rows.user)
  known = habits._first(made, 2)
  for person in range(30, PEOPLE):
    mine = known & (user == person)
    assert made.strict[mine].sum() == 2
    order = np.flatnonzero((user == person) & (made.split == 'calibration'))
    last = np.flatnonzero(mine)[-1]
    assert mine[order[order <= last]].all()
  assert not habits._first(made, 0).any()


def test_beside_adds_habits_with_weights_of_validation_rows(unit):
  made, _, found = unit
  index = made.index(PROTOCOL)['new_pairs']
  half = np.full(len(index), 0.5, np.float32)
  arrays = {
    'new_pairs|all|': half,
    'validate': np.full(len(found.arrays['validate']), 0.5),
  }
  both = habits.beside(arrays, found.arrays)
  assert list(both) == [f'new_pairs|all|{rows.TRAITS}']
  # A method that says nothing leaves the habits.
  own = right(made, found.arrays['new_pairs|all|'], 'new_pairs')
  p = both[f'new_pairs|all|{rows.TRAITS}']
  assert right(made, p, 'new_pairs') == pytest.approx(own, abs=0.02)
  assert habits.beside({'new_pairs|all|': half}, found.arrays) == {}


def test_ties_are_predicted_better_with_each_one_s_width(unit):
  made, _, found = unit
  made_rows = fitting.rows_unit(made, PROTOCOL)
  arrays = dict(made_rows.arrays)
  arrays |= {f'traits|{k}': v for k, v in found.arrays.items() if '|' in k}
  plain = np.full_like(arrays['traits|new_pairs|all|'], 0.5)
  arrays['aggregate|new_pairs|all|'] = plain
  cell = rows.Cell(
    'made',
    '',
    0,
    arrays.pop('user_ids'),
    arrays.pop('prompt_ids'),
    arrays.pop('unit_names'),
    arrays,
    made_rows.record | {'methods': {'aggregate': {}, 'traits': found.record}},
  )
  table = habits.tie_table(rows.group([cell]))
  loss = {row['method']: row for row in table if row['split'] == 'new_pairs'}
  assert loss['traits']['log_loss_high'] < loss['aggregate']['log_loss_low']
  label = cell.arrays['new_pairs#label']
  assert loss['traits']['tie_share'] == pytest.approx((label == 0.5).mean())
  said = traits.log_probability(
    np.zeros(len(label)), np.full(len(label), found.record['mean']['ties'])
  )
  column = np.round(2 * (1 - label)).astype(int)
  by_hand = -np.asarray(said)[np.arange(len(label)), column].mean()
  assert loss['aggregate']['log_loss'] == pytest.approx(by_hand, rel=1e-4)
  names = [row['trait'] for row in habits.trait_table(rows.group([cell]))]
  assert names == list(habits.NAMES)
