"""The people's optimiser: by rows of the batch, with counts of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax import types
from prm_jax.runtime import people as peoples
from prm_jax.runtime import train
from prm_jax.runtime import update as updates
from prm_jax.systems import optimizers


def weighed(bilinear, batch, phase):
  state = bilinear.state()
  weight = np.bincount(batch.rows.user, batch.rows.mask, bilinear.U)
  people = state.people._replace(weight=jnp.asarray(weight, jnp.float32))
  return updates.initialize(state._replace(people=people), phase)


def sgd(bilinear, **options):
  return types.Phase(
    'sgd',
    objective=bilinear.objective,
    optimizer=optax.sgd(1.0),
    people=optax.sgd(1.0),
    steps=1,
    **options,
  )


def moved(before, after):
  """How parameters and people changed: minus the gradient, under SGD."""
  return jax.tree.map(
    lambda a, b: np.asarray(b - a, np.float64),
    (before.params['reward'], before.people.free),
    (after.params['reward'], after.people.free),
  )


def test_minibatches_of_all_rows_sum_to_the_full_gradient(bilinear):
  batch = bilinear.data()
  batch = batch.take(batch.rows.mask > 0)
  phase = sgd(bilinear)
  state = weighed(bilinear, batch, phase)
  whole = jax.jit(updates.make_update(phase))
  full = moved(state, whole(state, batch)[0])
  step = jax.jit(updates.make_update(phase, whole_people=False))
  rows = np.random.default_rng(0).permutation(len(batch.rows.user))
  parts = [
    (len(part), moved(state, step(state, batch.take(part))[0]))
    for part in np.array_split(rows, 7)
  ]
  total = jax.tree.map(
    lambda *leaves: (
      sum(n * leaf for (n, _), leaf in zip(parts, leaves, strict=True))
      / len(rows)
    ),
    *(part for _, part in parts),
  )
  for one, two in zip(
    jax.tree.leaves(full), jax.tree.leaves(total), strict=True
  ):
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_who_is_absent_does_not_move_and_comes_as_if_new(bilinear):
  """After 100 steps without person 3, their step is that of step 1."""
  batch = bilinear.data()
  steps, rate = 200, 0.05
  phase = types.Phase(
    'joint',
    objective=bilinear.objective,
    optimizer=optax.set_to_zero(),
    people=optimizers.people_adam(rate, steps),
    steps=steps,
  )
  state = weighed(bilinear, batch, phase)
  # Noise of the toy is by step: the same at both.
  step = jax.jit(updates.make_update(phase, whole_people=False))
  own = batch.take((batch.rows.user == 3) & (batch.rows.mask > 0))
  others = batch.take((batch.rows.user != 3) & (batch.rows.mask > 0))
  first = step(state, own)[0].people.free['coefficients'][3]
  for _ in range(100):
    state, _ = step(state, others)
  late = state.people
  np.testing.assert_array_equal(late.free['coefficients'][3], 1.0)
  assert int(late.moments['joint'].count[3]) == 0
  assert int(late.moments['joint'].count[2]) == 100
  now = step(state, own)[0].people.free['coefficients'][3]
  schedule = optax.cosine_decay_schedule(rate, steps, 0.01)
  np.testing.assert_allclose(
    (now - 1.0) / float(schedule(100)), (first - 1.0) / rate, rtol=1e-3
  )


def test_the_people_s_step_touches_the_batch_s_rows_alone(bilinear):
  """No operation of all people but gathers and scatters in place."""
  phase = sgd(bilinear)._replace(people=optax.adam(0.1))
  state = weighed(bilinear, bilinear.data(), phase)
  big, blank = 1003, state.people
  wide = blank._replace(
    ids=jnp.zeros((big, 2), jnp.uint32),
    weight=jnp.ones(big),
    free={'coefficients': jnp.ones((big, 3))},
    beliefs=(),
    blank=((), ()),
  )
  state = updates.initialize(state._replace(people=wide), phase)
  update = updates.make_update(phase, whole_people=False)
  jaxpr = jax.make_jaxpr(update)(state, bilinear.data())
  touching = {
    str(equation.primitive)
    for equation in equations(jaxpr.jaxpr)
    for value in equation.outvars
    if value.aval.shape[:1] == (big,)
  }
  assert touching <= {'scatter', 'pjit', 'jit'}, touching


def equations(jaxpr):
  for equation in jaxpr.eqns:
    inner = [v for v in equation.params.values() if hasattr(v, 'jaxpr')]
    if not inner:
      yield equation
    for each in inner:
      yield from equations(each.jaxpr)


def test_accumulated_batches_are_one_of_their_size(bilinear):
  batch = bilinear.data()
  parts = [batch.take(np.arange(i, 96, 4)) for i in range(4)]

  def fit(phase, batches):
    learner = types.Learner((phase,), bilinear.init)
    return train.go_on(learner, bilinear.state(), batch, batches=batches)

  one = fit(sgd(bilinear), iter([batch]))
  four = fit(sgd(bilinear, accumulate=4), iter(parts))
  for a, b in zip(
    jax.tree.leaves((one.params, one.people.free)),
    jax.tree.leaves((four.params, four.people.free)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, atol=1e-6)
  assert int(four.step) == 1


@pytest.mark.slow
def test_accumulation_leaves_absent_people_alone(bilinear):
  batch = bilinear.data()
  some = batch.take(batch.rows.user < 5)
  phase = sgd(bilinear, accumulate=2)._replace(
    people=optax.sgd(1.0, momentum=0.9), steps=2
  )
  learner = types.Learner((phase,), bilinear.init)
  state = train.go_on(
    learner, bilinear.state(), batch, batches=iter([batch, batch, some, some])
  )
  once = train.go_on(
    types.Learner((phase._replace(steps=1),), bilinear.init),
    bilinear.state(),
    batch,
    batches=iter([batch, batch]),
  )
  after, before = (s.people.free['coefficients'] for s in (state, once))
  np.testing.assert_array_equal(after[5:], before[5:])
  assert (np.abs(after[:5] - before[:5]) > 1e-4).any(1).all()


def test_padding_people_and_back(bilinear):
  phase = bilinear.learner().phases[1]
  state = weighed(bilinear, bilinear.data(), phase)
  wide = peoples.padded(state, 5)
  assert len(wide.people.ids) == 10
  np.testing.assert_array_equal(wide.people.free['coefficients'][8:], 1.0)
  np.testing.assert_array_equal(wide.people.weight[8:], 0.0)
  again = peoples.bare(wide, 8)
  for a, b in zip(bilinear.arrays(again), bilinear.arrays(state), strict=True):
    np.testing.assert_array_equal(a, b)
  assert peoples.padded(state, 4) is state


def test_free_people_that_no_phase_trains_are_refused(bilinear):
  phase = sgd(bilinear)._replace(people=None)
  learner = types.Learner((phase,), bilinear.init)
  with pytest.raises(ValueError, match='no phase trains them'):
    train.go_on(learner, bilinear.state(), bilinear.data())
