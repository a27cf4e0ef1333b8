"""People of known coefficients: sizes, scales, and that seeds are apart."""

import numpy as np

from prm_jax.worlds import linear_people

SIZES = {
  'dim': 3,
  'people': 400,
  'candidates': 5000,
  'test_pairs': 7,
  'menus': 5,
  'menu_size': 4,
}


def made(seed=0, scale=2.0, spread=0.5):
  return linear_people.simulate(seed=seed, scale=scale, spread=spread, **SIZES)


def test_sizes():
  world = made()
  assert world.weights.shape == (400, 3)
  assert world.pool.shape == (3, 5000)
  assert world.test.shape == (7, 3)
  assert world.menus.shape == (5, 4, 3)


def test_weights_are_standard_normal_and_questions_as_large_as_asked():
  world, equal = made(), made(spread=0.0)
  np.testing.assert_allclose(np.cov(world.weights.T), np.eye(3), atol=0.2)
  np.testing.assert_allclose(equal.pool.std(1), 2.0, rtol=0.05)
  # A log-normal size has the mean square exp(2 spread^2).
  np.testing.assert_allclose(world.pool.std(1), 2.0 * np.exp(0.5**2), rtol=0.05)
  np.testing.assert_allclose(made(scale=1.0).pool, world.pool / 2)


def test_utility_by_hand():
  world = made()
  np.testing.assert_allclose(
    world.utility[3, 2, 1], world.menus[2, 1] @ world.weights[3]
  )


def test_a_seed_is_always_the_same_and_others_are_others():
  for one, again, other in zip(made(), made(), made(seed=1), strict=True):
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
