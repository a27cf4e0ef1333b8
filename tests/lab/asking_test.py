"""What new people are asked, and how well they were served."""

import types as simple

import numpy as np
import pytest
from scipy import special

from prm_jax.lab import asking, fitting
from prm_jax.users import gaussian

TRAIN, ANSWERS = fitting.TRAIN, fitting.CALIBRATION


def problem():
  """Four people, of whom the last two are new; six texts."""
  user = np.array([0, 1, 2, 3, 2])
  items = np.array([[0, 1], [1, 2], [3, 2], [2, 3], [4, 5]])
  return simple.SimpleNamespace(
    seed=0,
    judged=fitting.judgements(user, items, np.ones(5)),
    split=np.array([TRAIN, TRAIN, ANSWERS, ANSWERS, ANSWERS]),
  )


def test_pairs_are_each_once_and_the_same_for_everybody():
  found = asking.pairs(problem(), ANSWERS, 10, 6)
  assert sorted(map(tuple, found.tolist())) == [(2, 3), (4, 5)]
  np.testing.assert_array_equal(found, asking.pairs(problem(), ANSWERS, 10, 6))
  assert len(asking.pairs(problem(), ANSWERS, 1, 6)) == 1


def test_menus_hold_as_many_texts_of_each_group():
  group = np.array(['b', 'a', 'b', 'c', 'b', 'a'])
  np.testing.assert_array_equal(
    asking.menus(group, np.array(['b', 'a', 'b'])), [[1, 5], [0, 2]]
  )


def test_what_simulated_people_are_asked_by_hand():
  values = np.array([[0.0], [1], [2], [3], [4], [6]])
  weights = np.array([[9.0], [9], [1], [-2]])  # of all four people
  pool, test = np.array([[2, 3], [4, 5]]), np.array([[5, 4], [0, 3]])
  asked = asking.simulated(
    problem(),
    values,
    weights,
    0.5,
    pool=pool,
    test=test,
    menus=np.array([[0, 1, 5]]),
  )
  np.testing.assert_array_equal(asked.new, [2, 3])
  np.testing.assert_allclose(
    asked.probability, special.expit([[-0.5, -1.0], [1.0, 2.0]])
  )
  np.testing.assert_array_equal(asked.label, [[1, 0], [0, 1]])
  np.testing.assert_array_equal(asked.mask, 1)
  np.testing.assert_array_equal(asked.test, [test, test])
  np.testing.assert_array_equal(asked.utility, [[[0, 1, 6]], [[0, -2, -12]]])


def test_accuracy_counts_what_is_tested_and_half_of_what_is_open():
  test = asking.Test(
    np.zeros((2, 4, 1)),
    np.array([[1.0, 0, 1, 1], [1, 0, 0, 0]]),
    np.array([[1.0, 1, 1, 0], [1, 1, 0, 0]]),
  )
  margin = np.array([[2.0, 1, 0, -1], [-1, -1, 5, 5]])
  np.testing.assert_allclose(asking.right(margin, test), [0.5, 0.5])


def test_what_is_not_on_the_menu_is_not_picked():
  utility = np.array([[[1.0, np.nan, 3.0]]])
  score = np.array([[[0.0, 9.0, -1.0]]])
  np.testing.assert_array_equal(asking.picked(score, utility), [[1.0]])


@pytest.mark.parametrize('count', [0, 1])
def test_no_pairs_and_few_pairs(count):
  assert asking.pairs(problem(), ANSWERS, count, 7).shape == (count, 2)


def test_a_curve_reaches_its_target_between_two_answers():
  curves = np.array(
    [[0.5, 0.6, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5], [0.9, 0, 0, 0]]
  )
  found = asking.first_reach(curves, 0.7)
  np.testing.assert_allclose(found, [1.5, 4.0, 0.0])


def test_regret_is_one_for_a_random_pick_and_skips_empty_menus():
  rng = np.random.default_rng(0)
  utility = rng.normal(size=(3, 400, 8))
  utility[1, :, 1:] = np.nan  # one item is no choice
  score = rng.normal(size=(3, 400, 8))
  found = asking.regret(score, utility)
  assert np.isnan(found[1])
  np.testing.assert_allclose(found[[0, 2]], 1.0, atol=0.1)
  best = asking.regret(np.nan_to_num(utility, nan=-9), utility)
  np.testing.assert_allclose(best[[0, 2]], 0.0)


def test_best_of_n_by_hand():
  menus = np.array([[[1.0, 0], [0, 1], [2, 2]], [[0, 3], [1, 0], [0, 0]]])
  mean = np.array([[1.0, -1.0], [0.0, 1.0]])
  belief = gaussian.Context(mean, np.zeros((2, 2, 2)))
  found = asking.best(menus, belief)
  np.testing.assert_array_equal(found, [[0, 1], [2, 0]])


def test_judgements_of_each_person_stand_beside_each_other():
  judged = fitting.judgements(
    [7, 2, 7, 7], [[0, 1], [2, 3], [4, 5], [6, 7]], [1, 0, 0, 1]
  )
  items, label, mask = asking.by_person(judged, np.array([2, 7]))
  np.testing.assert_array_equal(mask, [[1, 0, 0], [1, 1, 1]])
  np.testing.assert_array_equal(label, [[0, 0, 0], [1, 0, 1]])
  np.testing.assert_array_equal(items[1], [[0, 1], [4, 5], [6, 7]])
  np.testing.assert_array_equal(items[0, 0], [2, 3])
