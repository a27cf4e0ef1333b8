import jax
import numpy as np

from prm_jax import types
from prm_jax.audits import controls


def rows(user, items, label):
  n = len(user)
  said = types.Judgements(
    np.array(user), np.array(label, float), np.ones(n), np.arange(n)
  )
  return types.Batch(said, types.Inputs(None, np.array(items)))


def test_swapped_people_keep_nothing_of_their_own():
  contexts = {'mean': np.arange(20.0)[:, None]}
  people = np.array([1, 4, 5, 17])
  swapped = controls.swapped_people(contexts, people, seed=0)['mean'][:, 0]
  assert (swapped[people] != people).all()
  assert sorted(swapped[people]) == sorted(people)
  others = np.setdiff1d(np.arange(20), people)
  np.testing.assert_array_equal(swapped[others], others)


def test_exchanging_twice_changes_nothing():
  data = rows([0, 1], [[1, 2], [3, 4]], [1, 0.25])
  once = controls.exchanged(data)
  np.testing.assert_array_equal(once.inputs.index, [[2, 1], [4, 3]])
  np.testing.assert_array_equal(once.rows.label, [0, 0.75])
  twice = controls.exchanged(once)
  jax.tree.map(np.testing.assert_array_equal, data, twice)


def test_majority_of_others_by_hand():
  known = rows([0, 1, 2, 2], [[1, 2], [2, 1], [1, 2], [7, 8]], [1, 0, 0, 1])
  asked = rows([0, 3, 3, 2], [[1, 2], [2, 1], [5, 6], [8, 7]], [0, 0, 0, 0])
  p = controls.majority_of_others(asked, known)
  # Person 0: of the others one preferred text 1, one did not.
  np.testing.assert_allclose(p[0], 1.5 / 3)
  # Person 3 knows all three answers, asked in the other order.
  np.testing.assert_allclose(p[1], 1 - 2.5 / 4)
  # Nobody judged (5, 6), and nobody but person 2 judged (7, 8).
  assert np.isnan(p[2:]).all()
