"""People of several units, drawn again and again."""

import numpy as np
import pytest

from prm_jax.lab import bootstrap, units


def cells(*values, name='x'):
  """A unit a seed, with a value of each of its people."""
  return [
    units.Unit({'seed': seed}, {name: np.asarray(column, float)})
    for seed, column in enumerate(values)
  ]


def drawn(*values, by_seed=False, replicates=2000):
  return bootstrap.people(cells(*values), replicates, by_seed=by_seed)


def test_people_of_all_units_are_put_together():
  people = drawn([1.0, 2.0, 3.0], [4.0])
  np.testing.assert_array_equal(people.of('x'), [1, 2, 3, 4])
  np.testing.assert_array_equal(people.seed, [0, 0, 0, 1])
  assert people.counts == {'people': 4, 'seeds': 2}
  np.testing.assert_allclose(people.weights.mean(1), 1)


def test_the_mean_and_its_interval_over_people():
  values = np.random.default_rng(0).normal(size=400)
  people = drawn(values)
  row = people.interval('gain', values)
  assert row['gain'] == pytest.approx(values.mean())
  error = 1.96 * values.std() / 20  # what the bootstrap's percentiles tend to
  assert row['gain_low'] == pytest.approx(values.mean() - error, abs=0.02)
  assert row['gain_high'] == pytest.approx(values.mean() + error, abs=0.02)


def test_who_has_no_value_is_left_out():
  values = np.array([1.0, 3.0, np.nan, 3.0, 1.0])
  row = drawn(values).interval('regret', values)
  assert row['regret'] == 2
  assert 1 <= row['regret_low'] < 2 < row['regret_high'] <= 3


def test_a_statistic_of_two_means_is_taken_in_every_draw():
  """A ratio of which both parts are the same is 1 in every draw."""
  values = np.random.default_rng(0).uniform(1, 9, 30)
  row = drawn(values).interval(
    'ratio', np.stack([2 * values, values], 1), lambda m: m[..., 0] / m[..., 1]
  )
  assert row == {
    name: pytest.approx(2) for name in ('ratio', 'ratio_low', 'ratio_high')
  }


def test_means_in_every_draw_by_hand():
  people = drawn([1.0, 3.0])._replace(weights=np.array([[2.0, 0], [0.5, 1.5]]))
  np.testing.assert_allclose(people.means(np.array([1.0, 3.0])), [1.0, 2.5])
  both = people.means(np.array([[1.0, 10.0], [3.0, 30.0]]))
  np.testing.assert_allclose(both, [[1.0, 10.0], [2.5, 25.0]])


def test_what_a_seed_shares_widens_intervals_over_seeds_alone():
  """Nobody differs from the others of a seed: all there is is the seeds'."""
  worlds = [np.full(50, mean) for mean in (0.0, 1.0, 2.0)]
  values = np.concatenate(worlds)
  wide, narrow = (
    drawn(*worlds, by_seed=by_seed).interval('x', values)
    for by_seed in (True, False)
  )
  assert (wide['x_low'], wide['x_high']) == (0, 2)
  assert 0.8 < narrow['x_low'] < narrow['x_high'] < 1.2
