"""The loop of statements: who goes where, and what they are served."""

import numpy as np
import pytest

from prm_jax.audits import opinion_loop


def world(U=120, S=40):
  rng = np.random.default_rng(0)
  position, stance = rng.normal(size=U), rng.normal(size=S)
  logit = np.outer(position, stance)
  return opinion_loop.World(
    position,
    stance,
    logit,
    stance,
    score=logit,
    loading=stance,
    base=np.zeros((U, S)) + 0.1 * rng.normal(size=S),
  )


def share(loop):
  return loop.own.sum() / loop.dividing.sum()


def test_people_move_within_the_radius_and_not_beyond():
  made = world()
  kept = {'seed': 0, 'rounds': 5}
  still = opinion_loop.simulate(made, 'random', step=0.0, radius=9.0, **kept)
  np.testing.assert_array_equal(still.position, made.position)
  none = opinion_loop.simulate(made, 'random', step=0.3, radius=0.0, **kept)
  np.testing.assert_array_equal(none.position, made.position)
  one = opinion_loop.simulate(
    made, 'random', step=1.0, radius=99.0, seed=0, rounds=1
  )
  # A whole step: everybody stands where the statement does.
  apart = np.abs(one.position[:, None] - made.stance).min(1)
  np.testing.assert_allclose(apart, 0, atol=1e-12)


def test_a_personal_server_serves_the_own_side_and_a_held_one_does_not():
  made = world()
  kept = {'seed': 0, 'rounds': 20, 'step': 0.0, 'radius': 1.0}
  served = {
    name: share(opinion_loop.simulate(made, name, **kept))
    for name in opinion_loop.SERVERS
  }
  assert served['personal'] > served['aggregate'] + 0.2
  assert abs(served['held'] - served['aggregate']) < 0.1
  assert abs(served['random'] - 0.5) < 0.06
  with pytest.raises(ValueError, match='no server'):
    opinion_loop.simulate(made, 'nobody', **kept)


def test_a_server_that_learns_follows_who_moves():
  # People at zero, of whom the server knows nothing, agree with one side.
  made = world()
  flat = made._replace(score=0 * made.score)
  kept = {'rounds': 40, 'step': 0.0, 'radius': 1.0}
  late = share(opinion_loop.simulate(flat, 'personal', seed=0, **kept))
  first = share(
    opinion_loop.simulate(flat, 'personal', seed=0, **{**kept, 'rounds': 1})
  )
  assert late > first + 0.05
