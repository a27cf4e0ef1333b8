"""A phase that stops when other rows say so."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax import types
from prm_jax.runtime import checkpoint, early, trees
from prm_jax.systems import optimizers, states
from prm_jax.users import bank

BETTER = 0.5  # what other rows want; these rows want 1


def objective(params, people, state, batch, gather):
  own = people.free['own'][batch.rows.user, 0]
  apart = params['reward']['moves'] + own - batch.rows.label
  ones = jnp.ones_like(apart)
  return {'nll': (apart**2, ones), 'charge': (9 * own**2, ones)}, {}, {}


def phase(steps=12):
  return types.Phase(
    'joint',
    objective=objective,
    optimizer=optax.sgd(0.05),
    people=optimizers.people_adam(0.01, steps),
    train='-still',
    steps=steps,
  )


def start():
  params = {'reward': {'moves': jnp.zeros(()), 'still': jnp.ones(3)}}
  people = bank.empty(2, {'own': jnp.zeros(1)}, ())
  return states.state_of(jax.random.key(0), params, people)


def rows(label):
  ones = np.ones(2, np.float32)
  said = types.Judgements(np.arange(2), label * ones, ones, np.arange(2))
  return types.Batch(said)


def run(steps=12, batch=lambda step: rows(1.0), validation=BETTER, **options):
  known = {'stretch': 1, 'patience': 2, **options}
  return early.fit(phase(steps), start(), batch, [rows(validation)], **known)


def test_the_best_step_is_kept_and_steps_end():
  found = run()
  best = int(np.argmin(found.losses))
  assert 0 < best < 10
  assert found.step == best
  assert len(found.losses) == best + 3  # two in a row were no better
  assert len(found.trained) == best + 2
  assert found.best['reward']['still'] is None
  moved = float(found.best['reward']['moves'])
  wanted = 1 - 0.9 ** np.arange(20)  # people move a little, too
  assert abs(moved - wanted[best]) < 0.05
  np.testing.assert_allclose(found.losses[0], BETTER**2, rtol=1e-6)
  assert found.trained[0] == 1.0


@pytest.mark.slow
def test_steps_end_where_nothing_is_better_or_there_are_no_more():
  far = run(4, validation=9.0, stretch=3)
  assert (far.step, len(far.losses), len(far.trained)) == (4, 3, 4)
  worse = run(validation=-1.0)
  assert (worse.step, len(worse.losses)) == (0, 3)
  assert worse.best['reward']['moves'] == 0


@pytest.mark.slow
def test_a_killed_run_ends_where_it_would_have_ended(tmp_path):
  whole, steps = run(), []

  def killed(step):
    steps.append(step)
    if len(steps) == 4:
      raise KeyboardInterrupt
    return rows(1.0)

  with (
    checkpoint.Checkpoints(tmp_path, keep=1) as manager,
    pytest.raises(KeyboardInterrupt),
  ):
    run(batch=killed, manager=manager)
  with checkpoint.Checkpoints(tmp_path, keep=1) as manager:
    again = run(batch=killed, manager=manager)
  assert steps[3:5] == [3, 3]
  np.testing.assert_array_equal(again.losses, whole.losses)
  np.testing.assert_array_equal(again.trained, whole.trained)
  assert again.step == whole.step
  for path, leaf in trees.flat(whole.best).items():
    np.testing.assert_array_equal(trees.flat(again.best)[path], leaf)


def test_what_cannot_be_run_is_named():
  with pytest.raises(FloatingPointError, match=r'nan after step 0: lower'):
    run(validation=np.nan)
  with pytest.raises(ValueError, match='patience of 1 at least'):
    run(patience=0)
