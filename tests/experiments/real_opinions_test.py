"""The study of real opinions on a made-up population."""

import jax
import numpy as np
import pytest

from configs import real_opinions
from experiments.real_opinions import (
  experiment,
  over,
  power,
  serving,
  text,
  votes,
)
from prm_jax.lab import populations, study


@pytest.fixture(scope='module')
def served():
  config = real_opinions.get_config('smoke')
  return serving.run(config, 'made_up')


def of(rows, **wanted):
  [row] = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
  return row


def test_a_personal_server_shows_two_camps_their_own_side(served):
  for kind in ('best', 'tilt'):
    rows = [row for row in served['hazard'] if row['serving'] == kind]
    personal = of(rows, server='personal')
    assert personal['own_side_over_aggregate_low'] > 0.2
    assert personal['stance_correlation'] > 0.7
    assert abs(of(rows, server='held')['own_side_over_aggregate']) < 0.06
    swapped = of(rows, server='swapped')
    assert swapped['stance_variance'] > 0.5 * personal['stance_variance']
    assert swapped['stance_correlation'] < 0.5
    assert swapped['agreement'] < personal['agreement']


def test_safeguards_remove_more_the_stronger_they_are(served):
  for serving_ in ('best', 'tilt'):
    rows = [row for row in served['safeguards'] if row['serving'] == serving_]
    assert of(rows, guard='personal')['removed'] == pytest.approx(0)
    for guard in ('matching', 'one_price', 'orthogonal', 'penalty'):
      half, whole = (of(rows, guard=guard, strength=s) for s in (0.5, 1.0))
      assert 0 < half['removed'] < whole['removed'], guard
      assert whole['removed'] > 0.4
    # A detector that is never wrong leaves nothing of what is counted.
    perfect = of(rows, guard='matching_true', strength=1.0)
    assert abs(perfect['own_side_added']) < 0.02


def test_detectors_stand_beside_what_they_remove(served):
  rows = over.joined(served['detectors'], served['safeguards'])
  crowd, true = (
    of(rows, detector=name) for name in ('matching', 'matching_true')
  )
  assert 0.7 < crowd['correlation'] < 1
  assert crowd['correlation_by_chance'] < 0.5
  whole = of(
    served['safeguards'], guard='matching', strength=1.0, serving='tilt'
  )
  assert crowd['removed_tilt'] == whole['removed']
  assert true['removed_best_low'] is not None


def test_nothing_of_fewer_than_ten_people_is_told():
  few = votes.made_up(90, 44)
  rows = few.person < 9
  cut = few._replace(
    person=few.person[rows],
    statement=few.statement[rows],
    agrees=few.agrees[rows],
  )
  with pytest.raises(ValueError, match='fewer than 10 people'):
    populations.halved(cut, seed=0, options=populations.Options())


def test_where_nobody_stands_apart_both_sides_are_everybody():
  agrees = np.array([[0.9, 0.2], [0.5, 0.4]])
  alike = populations._sides(agrees, np.zeros(2))
  np.testing.assert_allclose(alike, [[0.7, 0.3]] * 2)
  apart = populations._sides(agrees, np.array([1.0, -1.0]))
  np.testing.assert_allclose(apart, agrees)


def test_means_over_halvings_leave_out_what_is_not_known():
  def one(value):
    return populations.Measured(
      {'a': np.full((2, 3), value)}, {'a': np.ones(2)}, {'a': np.full(2, value)}
    )

  made = populations.averaged([one(np.nan), one(2.0)])
  np.testing.assert_array_equal(made.correlation['a'], 2.0)
  nothing = populations.averaged([one(np.nan)])
  assert np.isnan(nothing.means['a']).all()


def test_the_variance_that_predicts_is_chosen():
  found = votes.made_up(90, 44)
  shape = {'factors': 1, 'held_out': 0.2, 'seed': 0}
  key = jax.random.key(0)
  chosen = populations.chosen_variance(key, found.votes(), (1e-4, 1.0), **shape)
  assert chosen == 1.0
  mixed = np.random.default_rng(0).random(len(found.person)) < 0.7
  noise = found._replace(agrees=mixed)
  chosen = populations.chosen_variance(key, noise.votes(), (1e-4, 1.0), **shape)
  assert chosen == 1e-4


def test_what_is_added_to_a_share_by_hand():
  counts = np.array([[[1.0, 1.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])
  policy = np.array([[0.5, 0.5], [1.0, 0.0]])
  base = np.array([[0.0, 1.0], [0.5, 0.5]])
  there = np.ones((2, 2), bool)
  person, statement = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
  shared = power.intervals.crossing(person, statement)
  assert power.share(policy, counts) == pytest.approx(1.5 / 2)
  found = power.added(policy, base, counts, there, shared)
  assert found.value == pytest.approx(1.5 / 2 - 0.5 / 1.5)
  # Residuals by hand: of people, then of statements.
  rows = np.array([0.0625, -0.1875, 0.125, 0.0])
  rows -= np.array([0.0, -2 / 9, 2 / 9, 0.0])
  by = [
    np.square(np.bincount(unit, rows)).sum() for unit in (person, statement)
  ]
  both = max(*[2 * b for b in by], 2 * sum(by) - np.square(rows).sum())
  assert found.standard_error == pytest.approx(np.sqrt(both))


def test_a_reader_of_texts_finds_what_is_in_them_and_no_more():
  rng = np.random.default_rng(1)
  x = text.components(rng.normal(size=(200, 5)), 5)
  assert np.mean((x**2).sum(1)) == pytest.approx(1)
  told = 1.0 + x @ rng.normal(size=x.shape[1])
  assert np.corrcoef(text.seen(x, told), told)[0, 1] > 0.99
  noise = rng.normal(size=200)
  assert text.seen(x, noise).std() < 0.3 * noise.std()


@pytest.mark.slow
def test_a_taste_that_texts_say_is_predicted_of_them():
  """Two camps like opposite texts; everybody alike, texts say nothing."""
  found = votes.made_up(60, 40)
  train = np.random.default_rng(0).random(len(found.person)) < 0.5
  known = found.votes(train)
  base = populations.fit(jax.random.key(0), known, factors=0)
  loading = np.random.default_rng(0).normal(size=40)  # the camps' own
  read = np.stack([loading, np.roll(loading, 7)], 1)
  factors = populations.fit(jax.random.key(0), known, factors=3, held=0.3)
  made = text.predicted(known, base, factors, read)
  rows = ~train
  where = found.person[rows], found.statement[rows]
  losses = dict(
    zip(
      text.MODELS,
      [populations.log_loss(p[where], found.agrees[rows]).mean() for p in made],
      strict=True,
    )
  )
  assert losses['text_personal'] < losses['text_person'] - 0.02
  assert losses['crowd_and_text'] < losses['text_personal']
  assert losses['pref'] < losses['text_person'] - 0.02


def test_what_nobody_or_one_voted_on_and_who_agrees_with_all_is_predicted():
  found = votes.made_up(60, 40)
  known = found.votes()
  weight = known.weight.at[:, :2].set(0.0).at[3, 1].set(1.0)
  agrees = known.agrees.at[:12].set(1.0)
  known = known._replace(agrees=agrees, weight=weight.at[20].set(0.0))
  base = populations.fit(jax.random.key(0), known, factors=0)
  factors = populations.fit(jax.random.key(0), known, factors=3, held=0.3)
  read = np.random.default_rng(0).normal(size=(40, 2))
  made = text.predicted(known, base, factors, read)
  for model, chance in zip(text.MODELS, made, strict=True):
    assert ((chance > 0) & (chance < 1)).all(), model
    # Who has no vote is told by everybody's; who agrees with all agrees.
    assert chance[:12, 2:].mean() >= chance[20, 2:].mean() - 1e-6, model


@pytest.mark.slow
def test_the_study_runs_and_names_nobody(tmp_path):
  config = real_opinions.get_config('smoke')
  results = study.run(experiment.STUDY, config, tmp_path)
  planted = {row['lean']: row for row in results['tables']['power']}
  assert planted[0.1]['found'] >= planted[0.0]['found']
  apart = planted[0.1]['mean_added'] - planted[0.0]['mean_added']
  assert apart == pytest.approx(0.1, abs=0.03)
  rows = results['tables']['prediction']
  held = of(rows, split='random', model='held')
  assert held['gain_nats_low'] > 0
  [row] = results['tables']['answers']
  assert row['gain_nats'] > 0 > row['swapped_over_statement_mean']
  assert 'Statement 3.' not in (tmp_path / 'results.json').read_text()
  assert min(row['people'] for row in rows) >= 10
