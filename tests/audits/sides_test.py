"""Sides of texts: what is served of them, and whose rewards lean to them."""

import numpy as np
import pytest

from prm_jax.audits import sides


def test_systematic_variance_is_a_covariance():
  rng = np.random.default_rng(0)
  stance = rng.normal(size=(50, 3)) + 2 * rng.normal(size=(50, 1))
  want = np.cov(stance.T, bias=True)[np.triu_indices(3, 1)].mean()
  found = sides.systematic_variance(stance, np.ones((1, 50)))
  assert found[0] == pytest.approx(want)
  twice = np.concatenate([stance, stance[:10]])
  weights = np.ones((1, 50))
  weights[0, :10] = 2
  found = sides.systematic_variance(stance, weights)
  want = sides.systematic_variance(twice, np.ones((1, 60)))
  assert found[0] == pytest.approx(want[0])


def test_pools_noise_is_not_systematic():
  noise = np.random.default_rng(0).normal(size=(4000, 8))
  found = sides.systematic_variance(noise, np.ones((1, 4000)))
  assert abs(found[0]) < 0.01


def test_served_side_has_the_divergence_it_is_asked_for():
  rng = np.random.default_rng(0)
  pools = np.arange(32).reshape(2, 16)
  side = np.tile([1, -1], 16)
  # Two rewards: by side alone, so that p(1) solves the divergence by hand.
  reward = np.stack([side, -side]).astype(float)
  found = sides.served_side(reward, side, pools, 0.3)
  p = (1 + found) / 2
  np.testing.assert_allclose(found, [[p[0, 0] * 2 - 1] * 2, [-found[0, 0]] * 2])
  kl = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
  np.testing.assert_allclose(kl, 0.3, atol=1e-6)
  # The scale of a reward does not matter.
  reward = rng.normal(size=(5, 32))
  np.testing.assert_allclose(
    sides.served_side(reward, side, pools, 0.3),
    sides.served_side(7 * reward, side, pools, 0.3),
    atol=1e-6,
  )


def stated(n=12, signs=(1, -1)):
  """People who are on the first side and against the second."""
  return sides.Stated(
    np.repeat(np.arange(n), 2),
    np.tile([0, 1], n),
    np.tile(signs, n),
    np.random.default_rng(0).normal(size=(2 * n, 4)),
  )


def test_own_side_by_hand():
  lean = np.tile([3.0, 1.0], 12)
  np.testing.assert_array_equal(sides.own_side(stated(), lean), 1.0)
  # Nobody's number is left out, whichever numbers there are.
  some = stated().take(np.arange(24) >= 20)
  np.testing.assert_array_equal(sides.own_side(some, lean[20:]), [1.0, 1.0])


def test_shuffled_signs_of_a_side_that_agrees_change_nothing():
  lean = np.tile([3.0, 1.0], 12)
  chance = sides.shuffled(stated(), lean, replicates=5, seed=0)
  np.testing.assert_allclose(chance, 1.0)


def test_shuffled_signs_are_what_chance_gives():
  rng = np.random.default_rng(1)
  n = 400
  one = sides.Stated(
    np.arange(n), np.arange(n) % 2, rng.choice([1, -1], n), np.ones((n, 1))
  )
  lean = 0.5 * one.sign + rng.normal(size=n)
  chance = sides.shuffled(one, lean, replicates=200, seed=0)
  assert sides.own_side(one, lean).mean() > 0.4 > 0.2 > chance.max()
  # Every side keeps its own signs, so that its mean stays.
  for side in (0, 1):
    mine = one.side == side
    by_side = sides.shuffled(
      one.take(mine), np.ones(n // 2), replicates=3, seed=0
    )
    np.testing.assert_allclose(by_side, one.sign[mine].mean())


def test_planted_weights_lean_as_planted():
  rng = np.random.default_rng(0)
  one = sides.Stated(
    np.arange(6), np.arange(6), np.array([1, -1] * 3), rng.normal(size=(6, 4))
  )
  own = sides.planted_weights(one, 0.5, 8)
  np.testing.assert_allclose(sides.own_side(one, one.lean(own)), 0.5)
  assert not own[6:].any()
