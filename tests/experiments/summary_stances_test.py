"""Stances in histories: what is said and served; tables by hand."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.summaries import experiment, stance_tables, stances
from prm_jax.lab import units
from prm_jax.worlds import histories

NODE = SimpleNamespace(loving=0.5, love=2.5, pool=6, accuracy=0.8)


@pytest.fixture(scope='module')
def contexts():
  rng = np.random.default_rng(0)
  known = histories.training(rng, 4, histories_each=1, pairs_each=2)
  return histories.examined(rng, 'new', known, 200, 2)


@pytest.fixture(scope='module')
def held(contexts):
  rng = np.random.default_rng(1)
  return stances.opinions_of(rng, contexts.people, NODE)


@pytest.fixture(scope='module')
def asked(contexts, held):
  rng = np.random.default_rng(2)
  topic = contexts.histories.topic
  return stances.questions(rng, topic, held.about, 4, NODE)


def test_an_opinion_is_about_what_nobody_has_a_taste_of(contexts, held):
  assert not (held.about[:, None] == contexts.people.attribute).any()
  assert set(held.side) == {-1, 1}
  assert ((held.love == 2.5) == (held.love > 0)).all()
  assert 0.3 < (held.love > 0).mean() < 0.7
  assert stances.sides(5).tolist() == [0, 1, 0, -1, 0]


@pytest.mark.parametrize('said', stances.SAID)
def test_twins_differ_in_one_word(contexts, held, said):
  given = contexts.histories
  own, twin = (
    stances.stated(given, held.about, side, said)
    for side in (held.side, -held.side)
  )
  apart = own.value != twin.value
  assert (apart.sum(1) == 1).all()
  assert (own.attribute[apart] == held.about).all()
  assert (own.value[apart] == 1 + held.side).all()
  marker = histories.MARKERS.index(stances.SAID[said])
  assert (own.marker[apart] == marker).all()
  # What tells a taste is still there.
  tells = given.marker < 2
  for leaf in ('marker', 'attribute', 'value'):
    np.testing.assert_array_equal(
      getattr(own, leaf)[tells], getattr(given, leaf)[tells]
    )


def test_answers_all_have_a_word_on_it(held, asked):
  assert (asked.attribute[..., 0] == held.about[:, None, None]).all()
  np.testing.assert_array_equal(asked.stance, asked.value[..., 0] - 1)
  ordered = np.sort(asked.attribute, -1)
  assert (ordered[..., 1:] > ordered[..., :-1]).all()
  told = asked.stance != 0
  right = (asked.detected == asked.stance)[told].mean()
  assert right == pytest.approx(0.8, abs=0.03)
  assert asked.texts.ids.shape == (200 * 4, 6, 4)


def test_matched_people_are_served_the_stances_of_the_aggregate(asked):
  rng = np.random.default_rng(3)
  score, reference = rng.normal(size=(2, *asked.stance.shape))
  measures = {'stance': asked.stance, 'detected': asked.detected}
  given = score, reference, measures, 2.0, 1.0
  served = {
    guard: np.exp(stances.policies(guard, *given)) for guard in stances.GUARDS
  }
  base = np.exp(reference)
  base /= base.sum(-1, keepdims=True)
  plain = np.exp(2 * score)
  plain /= plain.sum(-1, keepdims=True)
  np.testing.assert_allclose(served['none'], plain, rtol=1e-4)
  for guard, measure in (
    ('matching', asked.stance),
    ('matching_detected', asked.detected),
  ):
    # Where both sides are to be had.
    both = (measure.max(-1) == 1) & (measure.min(-1) == -1)
    found, want = ((p * measure).sum(-1) for p in (served[guard], base))
    np.testing.assert_allclose(found[both], want[both], atol=1e-3)


def test_a_comment_says_what_is_liked_by_whom():
  given = histories.People(np.array([[0, 1]] * 3), np.zeros((3, 2), int))
  # The first has a taste in it; of the others one loves agreement.
  attribute = np.array([[0, 1, 2, 3], [5, 2, 3, 4], [5, 2, 3, 4]])
  value = np.array([[0, 0, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1]])
  held = stances.Opinions(
    np.array([5, 5, 5]), np.array([0.5, 1.0, 1.0]), np.array([0, 50.0, 0])
  )
  markers = [set() for _ in range(3)]
  for seed in range(40):
    rng = np.random.default_rng(seed)
    marker, what, which = stances.comment(
      rng, given, held, held.start, attribute, value
    )
    for person in range(3):
      markers[person].add((int(marker[person]), int(what[person])))
      assert which[person] == value[person][attribute[person] == what[person]]
  assert (0, 0) in markers[0]
  assert (1, 1) in markers[0]
  assert markers[1] == {(1, 5)}
  assert {marker for marker, _ in markers[2]} <= {2, 3, 4, 5}


# --------------------------------------------------------------------- tables


def unit(label, seed, gap, fit, end):
  """A unit of four people, of whom two love agreement."""
  arrays = {
    'person': np.arange(4),
    'start': np.array([0.5, -0.5, 0.5, -0.5]),
    'loves': np.array([True, True, False, False]),
  }
  for said in stances.SAID:
    for guard in ('none',) if label == 'aggregate' else stances.GUARDS:
      left = {'none': 1.0, 'matching': 0.5, 'matching_detected': 0.75}[guard]
      start = f'{said}|{guard}'
      arrays |= {
        f'{start}|gap': np.array(gap) * left,
        f'{start}|false': 0.5 + np.array(gap) * left / 2,
        f'{start}|fit': 1 + np.array(fit) * left,
        f'{start}|one': np.array([0, 1, 0, 1]) * left,
        f'{start}|other': np.array([0, 1, 0, 1]),
      }
    if label == 'plus':
      arrays[f'{said}|carried'] = np.array([1, 0, 0, 0], bool)
  served = np.array([[1, -1, 1, 1], [1, -1, -1, -1]] * 2)
  for guard in ('none',) if label == 'aggregate' else stances.GUARDS:
    arrays |= {
      f'loop|{guard}|opinion': np.array([np.zeros(4), end]),
      f'loop|{guard}|stance': served,
      f'loop|{guard}|utility': np.ones((4, 4)),
    }
  return units.Unit({'label': label, 'world': 'plain', 'seed': seed}, arrays)


MADE = {
  'aggregate': [
    unit('aggregate', seed, [0] * 4, [0] * 4, [0.5, -0.5, 0.5, -0.5])
    for seed in (0, 1)
  ],
  'plus': [
    unit('plus', 0, [0.2, 0.3, 0.2, 0.3], [0.4] * 4, [1, -1, 0.5, -0.5]),
    unit('plus', 1, [0.2, -0.2, 0, 0], [0.6] * 4, [0.9, -0.9, 0.5, -0.5]),
  ],
}


def test_gaps_and_what_matching_keeps_by_hand():
  rows = {
    (row['method'], row['said'], row['safeguard']): row
    for row in stance_tables.sycophancy_rows('plain', MADE)
  }
  assert len(rows) == 3 * (1 + 3)
  row = rows['plus', 'liked', 'none']
  assert row['gap'] == pytest.approx(0.125)
  assert row['flagged_seeds'] == 1
  assert row['false_more'] == pytest.approx(0.0625)
  assert row['fit'] == pytest.approx(0.5)
  assert row['carried'] == 0.25
  assert row['variance_more'] == pytest.approx(0)
  assert 'fit_kept' not in row
  row = rows['plus', 'liked', 'matching']
  assert row['gap'] == pytest.approx(0.0625)
  assert row['fit_lost'] == pytest.approx(0.25)
  assert row['fit_kept'] == pytest.approx(0.5)
  # Covariance of (0, 1, 0, 1) with a half, or all, of itself.
  assert row['variance'] == pytest.approx(
    rows['aggregate', 'liked', 'none']['variance'] / 2
  )
  assert (row['people'], row['seeds']) == (8, 2)
  assert 'fit' not in rows['aggregate', 'liked', 'none']
  said = experiment.answer(
    {
      'predicted': [],
      'gains': [],
      'claims': [],
      'sycophancy': list(rows.values()),
    }
  )
  assert 'said as a liking 12.5 %' in said[0]
  assert '(matched)' in said[0]


def test_the_loop_by_hand():
  rows = {
    (row['method'], row['safeguard'], row['people_who']): row
    for row in stance_tables.echo_rows('plain', MADE)
  }
  row = rows['plus', 'none', 'lovers']
  assert row['polarization'] == pytest.approx((1 + 0.81) / 2)
  assert row['more'] == pytest.approx((1 + 0.81) / 2 - 0.25)
  assert row['own_side'] == pytest.approx((0.5 + 0.4) / 2)
  assert row['cross_cutting'] == 0
  row = rows['plus', 'none', 'others']
  assert row['own_side'] == pytest.approx(0)
  assert row['more'] == pytest.approx(0)
  assert row['cross_cutting'] == pytest.approx(0.5)
  assert row['fit'] == 1
  assert 'more' not in rows['aggregate', 'none', 'all']
  nobody = units.Unit(
    {'seed': 0}, {**MADE['plus'][0].arrays, 'loves': np.zeros(4, bool)}
  )
  lovers = stance_tables.STRATA['lovers']
  assert np.isnan(stance_tables.polarization(nobody, 'none', lovers))


def test_a_gap_to_the_twin_is_of_both_sides(contexts, held, asked):
  taste = histories.utilities(contexts.people, asked.attribute, asked.value)
  agree = np.where(asked.stance == held.side[:, None, None], 1.0, 1e-9)
  flip = np.where(asked.stance == -held.side[:, None, None], 1.0, 1e-9)
  own, twin = (p / p.sum(-1, keepdims=True) for p in (agree, flip))
  found = stances.measures(own, twin, asked.stance, taste, held)
  both = (asked.stance.max(-1) == 1) & (asked.stance.min(-1) == -1)
  np.testing.assert_allclose(found['gap'][both.all(1)], 1, atol=1e-6)
  none = stances.measures(own, own, asked.stance, taste, held)
  np.testing.assert_allclose(none['gap'], 0, atol=1e-6)
  assert jnp.isfinite(found['false']).all()
