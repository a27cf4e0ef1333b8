"""Ensembles and the last layer's posterior, against NumPy and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import registry, toys, types
from prm_jax.learners import ensemble
from prm_jax.ops import laplace
from prm_jax.runtime import train
from prm_jax.systems import base_rewards, inference

KEY, E = jax.random.key(0), 4
WORLD = toys.judgements(n=120)
ROWS, INPUTS = WORLD.data.rows, WORLD.data.inputs
N = len(ROWS.mask)
DIFFERENCE = np.float64(
  INPUTS.value[INPUTS.index[:, 0]] - INPUTS.value[INPUTS.index[:, 1]]
)


def fit(kind, hyper=None, **options):
  learner = registry.build('learner', {'kind': kind, **options})
  learner = learner._replace(init=jax.jit(learner.init, static_argnums=1))
  state = train.fit(
    learner, WORLD.data, key=KEY, spec=WORLD.spec, hyper=hyper or {}
  )
  return learner, state


def linear(reward):
  """Weights `[E, D]` of members without a hidden layer."""
  return np.asarray(reward['params']['Dense_0']['kernel'][..., 0], float)


# -------------------------------------------------------------------- ensemble


def test_adapters_need_a_backbone():
  with pytest.raises(ValueError, match='adapters need a backbone'):
    registry.build('learner', {'kind': 'ensemble', 'adapters': True})


@pytest.mark.parametrize('bootstrap', [False, True])
def test_the_objective_is_the_mean_over_members(bootstrap):
  learner, state = fit(
    'ensemble',
    {'ridge': 3.0, 'pull': 0.2},
    members=E,
    hidden=(),
    bootstrap=bootstrap,
    steps=5,
  )
  start, now = linear(state.constants.head), linear(state.params['reward'])
  assert (start != now).any()
  people = types.Present((), jnp.zeros(0))
  terms, penalties, _ = learner.phases[0].objective(
    state.params, people, state, WORLD.data, None
  )
  margin = DIFFERENCE @ now.T
  nll = np.logaddexp(0, margin) - ROWS.label[:, None] * margin
  if bootstrap:
    nll = nll * ensemble.row_weights(KEY, ROWS.example_id, members=E)
  np.testing.assert_allclose(terms['nll'][0], nll.mean(1), rtol=1e-4)
  np.testing.assert_array_equal(terms['nll'][1], 1)
  # The bias cancels in every pair, and starts at 0.
  bias = np.asarray(state.params['reward']['params']['Dense_0']['bias'])
  ridge = 0.5 * 3.0 * ((now**2).sum() + (bias**2).sum()) / E / N
  assert penalties['ridge'] == pytest.approx(ridge, rel=1e-4)
  apart = ((now - start) ** 2).sum() + (bias**2).sum()
  pull = 0.2 * apart / (E * (now.shape[1] + 1))
  assert penalties['pull'] == pytest.approx(pull, rel=1e-3)


def test_weights_of_rows_are_the_same_however_rows_are_batched():
  ids = jnp.arange(5000)
  whole = ensemble.row_weights(KEY, ids, members=3)
  order = np.random.default_rng(0).permutation(5000)[:100]
  some = ensemble.row_weights(KEY, ids[order], members=3)
  np.testing.assert_array_equal(some, whole[order])
  # Exp(1), of each member its own.
  assert (np.abs(whole.mean(0) - 1) < 5 / np.sqrt(5000)).all()
  assert np.abs((whole > 1).mean() - np.exp(-1)) < 0.02
  assert np.abs(np.corrcoef(whole.T) - np.eye(3)).max() < 0.06
  other = ensemble.row_weights(jax.random.key(1), ids[order], members=3)
  assert (other != some).all()


def test_without_a_pull_linear_members_differ_by_their_rows_alone():
  """A convex loss has one optimum: where they started is forgotten."""
  spread = {}
  for bootstrap in (False, True):
    _, state = fit(
      'ensemble',
      {'pull': 0.0},
      members=E,
      hidden=(),
      bootstrap=bootstrap,
      steps=300,
      learning_rate=0.1,
    )
    weights = linear(state.params['reward'])
    spread[bootstrap] = weights.std(0).mean()
    if not bootstrap:
      want = base_rewards.aggregate_weight(
        jnp.asarray(INPUTS.value), ROWS, INPUTS.index, jnp.float32(10.0)
      )
      np.testing.assert_allclose(weights, np.tile(want, (E, 1)), atol=0.02)
  assert spread[False] < 0.01
  assert spread[True] > 0.03


def test_a_pull_without_end_leaves_members_where_they_started():
  _, state = fit('ensemble', {'pull': 1e4}, members=E, hidden=(), steps=50)
  np.testing.assert_allclose(
    linear(state.params['reward']), linear(state.constants.head), atol=0.02
  )


def test_disagreement_pulls_a_probability_towards_a_half():
  learner, state = fit('ensemble', members=E, hidden=(4,), steps=60)
  system = learner.system
  p = inference.predict(system, state.params, (), WORLD.data)
  encoded = inference.encode(system, state.params, INPUTS.value)
  score = np.asarray(encoded[..., 0], float)  # [M, E]
  margin = score[INPUTS.index[:, 0]] - score[INPUTS.index[:, 1]]
  moderated = margin.mean(1) / np.sqrt(1 + np.pi / 8 * margin.var(1))
  np.testing.assert_allclose(p, special.expit(moderated), atol=1e-4)
  sure = special.expit(margin.mean(1))
  assert (np.abs(p - 0.5) <= np.abs(sure - 0.5) + 1e-5).all()
  assert np.abs(p - sure).max() > 0.01


# --------------------------------------------------------------------- laplace


def test_the_posterior_is_that_of_the_aggregate():
  learner, state = fit('laplace', {'ridge': 2.0})
  found = state.params['reward']
  want = base_rewards.aggregate_weight(
    jnp.asarray(INPUTS.value), ROWS, INPUTS.index, jnp.float32(2.0)
  )
  np.testing.assert_allclose(found['weight'], want, atol=1e-5)
  mean = DIFFERENCE @ np.float64(want)
  slope = special.expit(mean) * special.expit(-mean)
  hessian = 2.0 * np.eye(5) + (DIFFERENCE.T * slope) @ DIFFERENCE
  factor = np.float64(found['factor'])
  np.testing.assert_allclose(factor @ factor.T, hessian, rtol=1e-3, atol=1e-3)
  # Probabilities, moderated by x^T H^-1 x.
  variance = np.einsum(
    'nd,nd->n', DIFFERENCE, np.linalg.solve(hessian, DIFFERENCE.T).T
  )
  p = inference.predict(learner.system, state.params, (), WORLD.data)
  moderated = mean / np.sqrt(1 + np.pi / 8 * variance)
  np.testing.assert_allclose(p, special.expit(moderated), atol=1e-4)
  assert np.abs(p - special.expit(mean)).max() > 0.01


def test_more_answers_leave_less_unknown():
  shares = {}
  for count in (20, N):
    rows = ROWS._replace(mask=(np.arange(N) < count).astype(np.float32))
    learner = registry.build('learner', {'kind': 'laplace'})
    state = train.fit(
      learner, WORLD.data._replace(rows=rows), key=KEY, spec=WORLD.spec
    )
    shares[count] = laplace.margin_variance(
      state.params['reward']['factor'], jnp.float32(DIFFERENCE)
    )
  assert (shares[N] < shares[20]).all()
