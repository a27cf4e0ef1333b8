"""Beliefs under any likelihood, against the solvers of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from prm_jax.ops import bayes, beliefs
from prm_jax.ops.heads import choices, ordinal

N, J = 12, 3


@pytest.fixture
def answers():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N, J)).astype(np.float32)
  label = (rng.random(N) < 0.6).astype(np.float32)
  return jnp.asarray(x), jnp.asarray(label)


def prior():
  rng = np.random.default_rng(1)
  factor = np.tril(rng.normal(size=(J, J))).astype(np.float32)
  return bayes.GaussianPrior(jnp.asarray([0.5, -1.0, 0.0]), jnp.asarray(factor))


def test_logistic_choices_give_the_posterior_of_their_own_solver(answers):
  x, label = answers

  def nll(w):
    return choices.bradley_terry(x @ w, label).sum()

  found = jax.jit(lambda: beliefs.posterior(prior(), nll))()
  known = bayes.laplace(prior(), x, label, jnp.ones(N))
  np.testing.assert_allclose(found.mode, known.mode, atol=1e-5)
  np.testing.assert_allclose(
    found.factor @ found.factor.T, known.factor @ known.factor.T, atol=1e-4
  )


def test_ties_give_the_mode_that_scipy_finds(answers):
  x, label = answers
  label = label.at[::3].set(0.5)

  def nll(w):
    return ordinal.rao_kupper(x @ w, label, 0.8)[0].sum()

  def value(z):
    z = jnp.asarray(z, jnp.float32)
    own = prior().mean + prior().factor @ z
    return float(nll(own) + 0.5 * z @ z)

  want = optimize.minimize(value, np.zeros(J), method='Nelder-Mead', tol=1e-9)
  found = beliefs.posterior(prior(), nll)
  np.testing.assert_allclose(found.mode, want.x, atol=3e-3)


def test_a_likelihood_that_curves_down_leaves_the_prior_width():
  found = beliefs.posterior(prior(), lambda w: -0.2 * jnp.sum(w**2) * 1e-3)
  np.testing.assert_allclose(found.factor, jnp.eye(J), atol=1e-3)


def test_nothing_said_is_the_prior():
  found = beliefs.posterior(prior(), lambda w: 0.0 * w.sum())
  np.testing.assert_array_equal(found.mode, 0.0)
  np.testing.assert_allclose(found.factor, jnp.eye(J), atol=1e-6)


def test_a_minimum_goes_down_from_where_newton_overshoots():
  def value(point):
    return jnp.sum(jnp.log(jnp.cosh(point - jnp.array([3.0, -2.0]))))

  found = beliefs.minimum(value, jnp.array([12.0, 9.0]), iterations=60)
  np.testing.assert_allclose(found, [3.0, -2.0], atol=1e-3)


def test_values_that_are_not_numbers_are_not_gone_to():
  def value(point):
    return jnp.where(point[0] > 1.0, jnp.nan, (point[0] - 2.0) ** 2)

  found = beliefs.minimum(value, jnp.zeros(1), iterations=5)
  assert np.isfinite(found).all()
  assert 0.0 < found[0] <= 1.0
