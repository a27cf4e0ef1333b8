"""What an evaluation reads: no label of a test, and none of its validation."""

import dataclasses

import numpy as np
import pytest

from prm_jax import types
from prm_jax.lab import fitting, rows

PEOPLE, TEXTS, EACH = 12, 30, 40
METHODS = {
  'aggregate': {'kind': 'aggregate'},
  'pref': {'kind': 'pref', 'steps': 10, 'dim': 3},
  'hierarchical': {'kind': 'hierarchical'},
}
PROTOCOL = fitting.Protocol((0, 10), 10)
RIDGES = tuple({'features': 'levels', 'ridge': ridge} for ridge in (1.0, 3.0))


def run(given):
  """Every method's predictions, and records."""
  found, record = {}, {}
  for name, method in METHODS.items():
    unit = fitting.method_unit(given, PROTOCOL, method, RIDGES, people=5)
    record[name] = unit.record
    found |= {f'{name}|{key}': values for key, values in unit.arrays.items()}
  return {'predictions': found, 'record': record}


def problem(seed=0):
  rng = np.random.default_rng(seed)
  n = PEOPLE * EACH
  features = rng.normal(size=(TEXTS, 4)).astype(np.float32)
  taste = rng.normal(size=(PEOPLE, 4))
  user = np.repeat(np.arange(PEOPLE), EACH).astype(np.int32)
  index = rng.integers(0, TEXTS, (n, 2)).astype(np.int32)
  margin = np.sum(
    (features[index[:, 0]] - features[index[:, 1]]) * taste[user], 1
  )
  label = (margin > 0).astype(np.float32)
  said = types.Judgements(
    user, label, np.ones(n, np.float32), np.arange(n, dtype=np.int32)
  )
  turn = np.tile(np.arange(EACH), PEOPLE)
  seen = user < 8
  split = np.where(turn < 30, fitting.TRAIN, 'new_pairs').astype(object)
  split[~seen] = np.where(turn < 30, fitting.CALIBRATION, 'new_people')[~seen]
  inner = np.where(turn < 20, fitting.FIT, fitting.VALIDATE)
  inner[split != fitting.TRAIN] = fitting.UNUSED
  return fitting.Problem(
    data='made',
    seed=seed,
    fold=0,
    user_ids=[f'u{u}' for u in range(PEOPLE)],
    prompt_ids=[str(t) for t in range(TEXTS)],
    texts=[str(t) for t in range(TEXTS)],
    unit=[str(t) for t in range(TEXTS)],
    units='texts',
    judged=types.Batch(said, types.Inputs(None, index)),
    split=split.astype(str),
    inner=inner,
    features={'levels': lambda: features, 'length': lambda: features[:, :1]},
    oracle=np.full(n, np.nan),
  )


def with_labels(given, chosen):
  rows = given.judged.rows
  label = np.where(chosen, 1 - rows.label, rows.label)
  judged = given.judged._replace(rows=rows._replace(label=label))
  return dataclasses.replace(given, judged=judged)


@pytest.fixture(scope='module')
def plain():
  return run(problem())


def test_no_prediction_reads_a_test_label(plain):
  given = problem()
  asked = np.isin(given.split, ['new_pairs', 'new_people'])
  other = run(with_labels(given, asked))
  assert set(other['predictions']) == set(plain['predictions'])
  for name, values in plain['predictions'].items():
    np.testing.assert_array_equal(values, other['predictions'][name], name)
  for name, record in plain['record'].items():
    assert record['scores'] == other['record'][name]['scores']


def test_new_people_have_the_controls_of_a_personal_gain(plain):
  for method in ('pref', 'hierarchical'):
    start = f'{method}|new_people|10|'
    found = {name for name in plain['predictions'] if name.startswith(start)}
    variants = ('', 'swapped', 'population', 'flipped')
    assert found == {start + variant for variant in variants}
    # Without answers a new person is the population.
    np.testing.assert_allclose(
      plain['predictions'][f'{start}population'],
      plain['predictions'][f'{method}|new_people|0|'],
      atol=1e-6,
    )


def test_what_a_person_answered_does_move_predictions(plain):
  given = problem()
  answered = given.split == fitting.CALIBRATION
  other = run(with_labels(given, answered))
  moved = {
    name
    for name, values in plain['predictions'].items()
    if np.abs(values - other['predictions'][name]).max() > 1e-3
  }
  assert {'pref|new_people|10|', 'hierarchical|new_people|10|'} <= moved
  assert not any('|new_pairs|' in name for name in moved)
  assert not any('|0|' in name for name in moved)


def test_a_search_fits_some_rows_and_scores_others():
  given, seen = problem(), []

  class Spy(fitting.Fitted):
    @classmethod
    def fit(cls, method, choice, problem, training, sets):
      found = super().fit(method, choice, problem, training, sets)
      seen.append([cls._of(training)])
      return found

    @staticmethod
    def _of(batch):
      return set(batch.rows.example_id[np.asarray(batch.rows.mask) > 0])

    def contexts(self, judged, limit=None):
      seen[-1].append(self._of(judged))
      return super().contexts(judged, limit)

    def predict(self, contexts, asked):
      seen[-1].append(self._of(asked))
      return super().predict(contexts, asked)

  choice, scores, _ = fitting.search(
    {'kind': 'aggregate'},
    RIDGES,
    given,
    fitting.FeatureSets(given),
    100,
    fit=Spy.fit,
  )
  fit = set(np.flatnonzero(given.inner == fitting.FIT))
  validate = set(np.flatnonzero(given.inner == fitting.VALIDATE))
  assert seen == [[fit, fit, validate]] * 2
  best = min(scores, key=lambda row: row['nll'])
  assert choice['ridge'] == best['ridge']


def test_a_search_halves_its_choices_before_everybody_is_looked_at():
  given = problem()
  sets = fitting.FeatureSets(given)
  grid = [{'features': 'levels', 'ridge': 10.0**k} for k in range(-2, 3)]

  def search(people, first=None):
    method = {'kind': 'aggregate'}
    return fitting.search(method, grid, given, sets, people, first)

  def scores(found, people):
    return {
      row['ridge']: row['nll']
      for row in found.scores
      if row['people'] == people
    }

  few, all_, halved = search(2), search(100), search(100, fitting.First(2, 2))
  people = len(np.unique(given.judged.rows.user[given.inner > 0]))
  early = scores(few, 2)
  left = sorted(early, key=lambda ridge: early[ridge])[:2]
  assert scores(halved, people) == {r: scores(all_, people)[r] for r in left}
  fell_out = {r: early[r] for r in early if r not in left}
  assert scores(halved, 2) == fell_out
  assert halved.choice['ridge'] == min(left, key=scores(all_, people).get)
  assert (
    search(100, fitting.First(1000, 1)).scores == all_.scores
  )  # nobody to look at first


def test_a_search_reads_validation_labels_for_its_score_alone():
  given = problem()
  flipped = with_labels(given, given.inner == fitting.VALIDATE)

  def fit(problem):
    sets = fitting.FeatureSets(problem)
    method = {'kind': 'hierarchical'}
    return fitting.search(method, RIDGES, problem, sets, 100).scores

  # Of the same predictions the labels' other side: worse than a coin.
  assert all(row['nll'] < np.log(2) for row in fit(given))
  assert all(row['nll'] > np.log(2) for row in fit(flipped))


def cell(**more):
  """A cell of two new people's choices, by one method."""
  arrays = {
    'new_people#label': np.array([1.0, 0.0, 1.0]),
    'new_people#user': np.array([0, 1, 1]),
    'new_people#unit': np.array([[0, 1], [1, 2], [0, 2]]),
    'pref|new_people|5|': np.array([0.8, 0.3, 0.6]),
    'aggregate|new_people|5|': np.array([0.6, 0.4, 0.4]),
    **more,
  }
  return rows.Cell(
    'made',
    '',
    0,
    np.array(['u0', 'u1']),
    np.array(['p']),
    np.array(['a', 'b', 'c']),
    arrays,
    {'units': 'texts', 'methods': {'pref': {'role': 'personal'}}},
  )


def test_a_control_that_one_fold_has_not_is_of_the_others():
  swapped = {'pref|new_people|5|swapped': np.array([0.2, 0.3, 0.6])}
  # In the second fold there was one new person: nobody to swap with.
  groups = rows.group([cell(**swapped), cell()])
  table = rows.control_table(groups, 50)
  (row,) = [r for r in table if r['control'] == 'swapped_people']
  assert row['pairs'] == 3
  assert row['value'] == pytest.approx(1 / 3)


def test_ties_alone_have_no_controls():
  tied = cell(
    **{
      'new_people#label': np.full(3, 0.5),
      'pref|new_people|5|exchanged': np.full(3, 0.5),
    }
  )
  assert rows.control_table(rows.group([tied]), 50) == []


def test_judgements_alone_are_a_problem_that_is_searched_and_fitted():
  given = problem()
  features, rows = given.features['levels'](), given.judged.rows
  validates = np.arange(len(rows.user)) % 5 == 0
  bare = fitting.of_judgements(
    given.judged, features, people=PEOPLE, seed=3, validates=validates
  )
  np.testing.assert_array_equal(bare.training.rows.mask, 1.0)
  sets = fitting.FeatureSets(bare)
  method = {'kind': 'hierarchical'}
  grid = [{'features': 'given', 'spread': spread} for spread in (1e-2, 1.0)]
  found = fitting.search(method, grid, bare, sets, PEOPLE)
  # Tastes differ by one: with a prior that says so, answers are predicted.
  assert found.choice['spread'] == 1.0
  assert found.validate.shape == (validates.sum(),)
  seen = []

  def change(learner):
    seen.append(learner)
    return learner._replace(system=learner.system._replace(safeguard='mine'))

  fitted = fitting.Fitted.fit(
    method, found.choice, bare, bare.training, sets, change
  )
  assert fitted.learner.system.safeguard == 'mine'
  assert len(seen) == 1
  right = fitted.predict(fitted.contexts(bare.training), bare.judged) > 0.5
  assert np.mean(right == (rows.label > 0.5)) > 0.85


def test_one_person_or_one_label_is_that_of_all_rows():
  items = np.array([[0, 1, 2], [3, 4, 2]])
  judged = fitting.judgements(0, items, 1)
  np.testing.assert_array_equal(judged.inputs.index, items)
  np.testing.assert_array_equal(judged.rows.user, [0, 0])
  np.testing.assert_array_equal(judged.rows.label, [1.0, 1.0])
  user = np.array([5, 7])
  several = fitting.judgements(user, items, [0.5, 0.0]).rows
  user[0] = 0  # what was given may change
  np.testing.assert_array_equal(several.user, [5, 7])
  np.testing.assert_array_equal(several.label, [0.5, 0.0])
