import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax import types
from prm_jax.runtime import update as updates


def _numpy_loss(basis, coefficients, table, batch, noise, ridge):
  rows, items = batch.rows, batch.inputs.index
  difference = (table[items[:, 0]] - table[items[:, 1]]) @ basis
  margin = np.sum(difference * coefficients[rows.user], 1) + 0.01 * noise
  nll = np.log1p(np.exp(-margin)) + (1 - rows.label) * margin
  data = np.sum(rows.mask * nll) / np.sum(rows.mask)
  charged = 0.01 * np.sum((coefficients - 1) ** 2) / np.sum(rows.mask)
  return data + charged, data + charged + ridge * np.sum(basis**2)


def begun(bilinear, phase, batch=None):
  """The state before a phase's first step, people weighed by their rows."""
  batch = batch or bilinear.data()
  weight = np.bincount(batch.rows.user, batch.rows.mask, bilinear.U)
  state = updates.initialize(bilinear.state(), phase)
  people = state.people._replace(weight=jnp.asarray(weight, jnp.float32))
  return state._replace(people=people)


def test_step_is_gradient_descent_on_the_masked_mean_plus_penalties(bilinear):
  batch = bilinear.data()
  phase = types.Phase(
    'sgd',
    objective=bilinear.objective,
    optimizer=optax.sgd(0.1),
    people=optax.sgd(0.1),
    steps=1,
  )
  state = begun(bilinear, phase)
  new, metrics = jax.jit(updates.make_update(phase))(state, batch)

  key = jax.random.fold_in(state.key, 0)
  noise = np.array(
    [jax.random.normal(jax.random.fold_in(key, i)) for i in range(96)],
    np.float64,
  )
  basis = np.asarray(state.params['reward']['basis'], np.float64)
  people = np.asarray(state.people.free['coefficients'], np.float64)
  table = batch.inputs.value.astype(np.float64)

  def numeric(which, index):
    value = []
    for sign in (1, -1):
      args = [basis.copy(), people.copy()]
      args[which][index] += sign * 1e-5
      value.append(_numpy_loss(*args, table, batch, noise, 0.01)[1])
    return (value[0] - value[1]) / 2e-5

  moved = np.asarray(new.params['reward']['basis']) - basis
  for index in [(0, 0), (4, 2), (2, 1)]:
    np.testing.assert_allclose(
      moved[index], -0.1 * numeric(0, index), atol=1e-5
    )
  moved = np.asarray(new.people.free['coefficients']) - people
  for index in [(0, 0), (7, 2), (3, 1)]:
    np.testing.assert_allclose(
      moved[index], -0.1 * numeric(1, index), atol=1e-5
    )
  loss, _ = _numpy_loss(basis, people, table, batch, noise, 0.01)
  np.testing.assert_allclose(metrics['loss'].compute(), loss, rtol=1e-5)
  assert float(metrics['nll'].count) == 89
  np.testing.assert_allclose(
    metrics['basis'].compute(), 0.01 * np.sum(basis**2), rtol=1e-5
  )
  assert float(metrics['correct'].count) == 89
  assert int(new.step) == 1
  # Parameters that the objective does not use stay as they are.
  np.testing.assert_array_equal(new.params['user']['mean'], np.zeros(3))


def test_masked_rows_change_nothing(bilinear):
  batch = bilinear.data()
  phase = bilinear.learner().phases[1]
  state = begun(bilinear, phase)
  update = jax.jit(updates.make_update(phase))
  garbage = batch.rows.label.copy()
  garbage[-7:] = 1e6
  other = batch._replace(rows=batch.rows._replace(label=garbage))
  for a, b in zip(
    bilinear.arrays(update(state, batch)),
    bilinear.arrays(update(state, other)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_no_row_that_counts_leaves_the_penalties(bilinear):
  batch = bilinear.data()
  rows = batch.rows._replace(mask=np.zeros(96, np.float32))
  phase = types.Phase(
    'sgd',
    objective=bilinear.objective,
    optimizer=optax.sgd(0.1),
    people=optax.sgd(0.1),
    steps=1,
  )
  state = begun(bilinear, phase)
  new, metrics = updates.make_update(phase)(state, batch._replace(rows=rows))
  basis = np.asarray(state.params['reward']['basis'])
  np.testing.assert_allclose(
    new.params['reward']['basis'], basis * (1 - 0.1 * 2 * 0.01), rtol=1e-6
  )
  assert float(metrics['nll'].count) == 0
  moved = np.asarray(new.people.free['coefficients'])
  np.testing.assert_array_equal(moved, state.people.free['coefficients'])


def test_start_phase_begins_and_resets(bilinear):
  data, learner = bilinear.seen(bilinear.data()), bilinear.learner()
  state = bilinear.state()._replace(step=jnp.int32(9))
  state = updates.start_phase(state, learner.phases[0], data)
  assert int(state.step) == 0
  assert state.opt_state == {}
  basis = np.asarray(state.params['reward']['basis'])
  np.testing.assert_allclose(basis.T @ basis, 0.25 * np.eye(3), atol=1e-6)
  state = updates.start_phase(state, learner.phases[1], data)
  moments = state.people.moments['joint'][0]
  # Everything of a person leads with the people, the count of steps, too.
  assert moments.count.shape == (8,)
  mu = moments.mu['coefficients']
  np.testing.assert_array_equal(mu, np.zeros((8, 3)))


def test_repeat_takes_the_same_steps(bilinear):
  batch = bilinear.data()
  phase = bilinear.learner().phases[1]
  state = begun(bilinear, phase)
  update = updates.make_update(phase)
  many, metrics = jax.jit(updates.repeat(update, 3))(state, batch)
  one, losses = state, []
  for _ in range(3):
    one, last = jax.jit(update)(one, batch)
    losses.append(float(last['loss'].compute()))
  np.testing.assert_allclose(metrics['loss'].compute(), losses, rtol=1e-5)
  for a, b in zip(bilinear.arrays(one), bilinear.arrays(many), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_wrong_shape_names_phase_and_value(bilinear):
  def column(*arguments):
    terms, penalties, aux = bilinear.objective(*arguments)
    total, count = terms['nll']
    return {'nll': (total[:, None], count)}, penalties, aux

  phase = types.Phase('bad', objective=column, optimizer=optax.sgd(0.1))
  state = begun(bilinear, phase)
  with pytest.raises(ValueError, match=r"'bad' returns 'nll' of shape \(96, 1"):
    updates.make_update(phase)(state, bilinear.data())


def test_phase_without_objective_is_named():
  with pytest.raises(ValueError, match="phase 'svd' takes 3 steps"):
    updates.make_update(types.Phase('svd', steps=3))
