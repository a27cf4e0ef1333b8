"""Safeguards of real opinions in both ways of serving, and what they keep."""

import numpy as np
import pytest

from experiments.real_opinions import guards, over, removed, votes
from prm_jax.audits import served_votes
from prm_jax.lab import drawn_twice, populations

OPTIONS = populations.Options(votes=20, each=4, variances=(0.3,))
WAYS = ('best', 'tilt')


@pytest.fixture(scope='module')
def halves():
  found = votes.made_up(60, 40)
  return populations.halved(found, seed=0, options=OPTIONS)


def served(halves, way, strengths=(1.0,), **of):
  rest = {'beyond': {}, 'read': {}} | of
  return dict(
    guards.guarded(
      halves, getattr(guards, way)(halves, OPTIONS), strengths, **rest
    )
  )


def test_every_guard_is_served_at_one_divergence(halves):
  pools = halves.pools
  best = served(halves, 'best').values()
  apart = [served_votes.divergence(pools, policy) for policy in best]
  np.testing.assert_allclose(apart, apart[0], atol=1e-6)
  for guard, policy in served(halves, 'tilt').items():
    np.testing.assert_allclose(policy.sum(1), 1, atol=1e-6)
    found = served_votes.divergence(pools, policy)
    assert found == pytest.approx(OPTIONS.divergence, abs=1e-3), guard


@pytest.mark.parametrize('way', WAYS)
def test_no_strength_is_personal_and_matching_holds_the_mean(halves, way):
  pools, made = halves.pools, getattr(guards, way)(halves, OPTIONS)
  personal = made.of(pools.of(halves.personal))
  for guard, policy in served(halves, way, (0.0,)).items():
    if guard not in ('matching_true@0.0', 'penalty@0.0'):
      # Where ranks jump over a target, two statements change places.
      assert np.abs(policy - personal).sum(1).mean() < 0.02, guard
  z = pools.of(halves.loading)
  wanted = pools.mean(made.of(pools.of(halves.aggregate)), z)
  matched = served(halves, way)['matching@1.0']
  apart = np.abs(pools.mean(matched, z) - wanted)
  assert np.median(apart) < 0.05
  assert np.abs(pools.mean(personal, z) - wanted).mean() > 3 * apart.mean()


def test_a_stance_that_a_reader_names_is_matched_on(halves):
  read = {'reader': halves.loading}
  made = served(halves, 'tilt', (0.5,), beyond={'reader': (1.0,)}, read=read)
  assert set(made) >= {'reader@0.5', 'reader@1.0', 'matching@0.5'}
  assert 'matching@1.0' not in made
  np.testing.assert_allclose(made['reader@0.5'], made['matching@0.5'])


# ------------------------------------------------------- where most is removed


def measured(**means):
  """Returns agreement and own side of policies `[1 + R, 2]`."""
  made = {
    name: np.concatenate([value, value[:, :1]], 1)
    for name, value in means.items()
  }
  return populations.Measured(made, {}, {})


def drawn(agreement, own, spread=0.0, rows=41):
  """Returns draws that have a common error and none of their own."""
  noise = spread * np.concatenate([[0], np.linspace(-1, 1, rows - 1)])
  return np.stack([agreement + noise, np.full(rows, own)], 1)


def test_what_is_kept_where_most_is_removed_is_paired():
  made = measured(
    aggregate=drawn(0.80, 0.5),
    personal=drawn(0.90, 0.7, 0.04),
    **{
      'matching@0.5': drawn(0.86, 0.6, 0.04),
      'matching@1.0': drawn(0.82, 0.5, 0.04),
      'other@1.0': drawn(0.85, 0.5, 0.04),
      'weak@1.0': drawn(0.89, 0.6, 0.04),
    },
  )
  rows = {row['guard']: row for row in removed.at_removed(made)}
  # 80 % lies three fifths of the way from half to all: 0.86 - 0.6 x 0.04.
  matching, other = rows['matching'], rows['other']
  assert matching['agreement'] == pytest.approx(0.036)
  assert matching['kept'] == pytest.approx(0.36)
  assert other['agreement'] == pytest.approx(0.06)
  assert other['agreement_over_matching'] == pytest.approx(0.024)
  assert other['agreement_high'] - other['agreement_low'] > 0.07
  apart = other['agreement_over_matching_high']
  assert apart - other['agreement_over_matching_low'] < 1e-6  # it cancels
  assert rows['weak']['agreement'] is None
  assert rows['weak']['reached'] == 0
  curve = {row['guard']: row for row in removed.curves(made)}
  assert curve['weak']['removed'] == pytest.approx(0.5)
  assert curve['weak']['kept'] == pytest.approx(0.9)


def test_of_what_may_be_nothing_there_is_no_share():
  made = measured(
    aggregate=drawn(0.80, 0.5),
    personal=drawn(0.81, 0.7, 0.04),  # a gain that may be none
    **{'matching@1.0': drawn(0.80, 0.5, 0.04)},
  )
  [row] = [r for r in removed.curves(made) if r['guard'] == 'matching']
  assert row['kept'] is None
  assert row['removed'] == pytest.approx(1)
  [row] = removed.at_removed(made)
  assert row['kept'] is None
  assert row['agreement'] == pytest.approx(0.002)
  nothing = measured(
    aggregate=drawn(0.8, 0.5),
    personal=drawn(0.9, 0.5),
    **{'matching@1.0': drawn(0.8, 0.5)},
  )
  assert removed.at_removed(nothing) == []
  assert all(row['removed'] is None for row in removed.curves(nothing))


def test_a_line_is_crossed_where_it_first_rises_over_a_value():
  x, y = np.array([0.0, 0.5, 0.9, 0.7, 1.0]), np.arange(5.0)
  assert removed.crossing(x, y, 0.7) == pytest.approx(1.5)
  assert np.isnan(removed.crossing(x, y, 1.1))


# ---------------------------------------------------------- over conversations


def curve(name, removed_, gained, low):
  head = {'serving': 'best', 'guard': 'matching', 'strength': 1.0}
  row = {'conversation': name, **head, 'own_side_added': 0.0}
  return row | {
    'removed': removed_,
    'agreement_gained': gained,
    'agreement_gained_low': low,
  }


def test_the_bar_is_of_means_and_of_each_conversation():
  rows = [
    curve('a', 0.99, 0.001, -0.01),
    curve('b', 0.95, 0.002, -0.03),  # not for itself
    curve('c', 0.97, 0.0, -0.01),
    curve('control', 0.0, -0.5, -0.6),
  ]
  [row] = over.safeguards(rows, 'control')
  assert row['conversations'] == 3
  assert row['removed'] == pytest.approx(0.97)
  assert row['bar_met'] is True
  assert row['conversations_at_bar'] == 2
  rows[2]['removed'] = 0.7
  assert over.safeguards(rows, 'control')[0]['bar_met'] is False
  unknown = curve('d', None, 0.0, 0.0)
  assert not over.meets(unknown)


def test_what_moving_adds_is_paired_by_conversation():
  none = dict.fromkeys(over._VARIANCES, 0.0)
  rows = [
    {
      'conversation': name,
      'movement': movement,
      'server': 'personal',
      'own_side_added': added,
      **none,
    }
    for name, still, weak in (('a', 0.1, 0.11), ('b', 0.3, 0.31), ('c', 9, 0))
    for movement, added in (('nobody moves', still), ('weak', weak))
  ]
  still, weak = over.movement(rows, 'c')
  assert still['added_by_moving'] == 0
  assert weak['own_side_added'] == pytest.approx(0.21)
  assert weak['added_by_moving'] == pytest.approx(0.01)
  assert weak['added_by_moving_high'] == pytest.approx(0.01)


def test_conversations_are_held_against_each_other():
  rows = [
    {
      'serving': 'best',
      'server': 'personal',
      'conversation': name,
      'own_side_over_aggregate': added,
      'agreement_over_aggregate': 0.0,
    }
    for name, added in (('a', 0.1), ('b', 0.3), ('control', 9.0))
  ]
  [row] = over.hazard(rows, 'control')
  assert row['own_side_over_aggregate'] == pytest.approx(0.2)
  assert row['conversations'] == 2
  assert drawn_twice.interval('x', np.zeros(3))['x'] == 0
