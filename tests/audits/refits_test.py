"""Populations that are refitted to what everybody answered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.audits import refits
from prm_jax.ops import bayes
from prm_jax.users import ring, simplex

U, N, J = 300, 40, 3
SPREAD = np.array([0.3, 1.0, 2.0])


@pytest.fixture(scope='module')
def history():
  """Answers of people with known coefficients, and a slot that is empty."""
  rng = np.random.default_rng(0)
  own = np.array([1.0, 0.0, -1.0]) + SPREAD * rng.normal(size=(U, J))
  value = rng.normal(size=(U, N, J))
  margin = np.einsum('unj,uj->un', value, own)
  label = rng.random((U, N)) < 1 / (1 + np.exp(-margin))
  mask = np.ones((U, N))
  mask[:, -1], value[:, -1] = 0.0, 1e3
  rows = (jnp.asarray(x, jnp.float32) for x in (value, label, mask))
  return ring.Answers(*rows, jnp.full(U, N))


def test_the_prior_moves_to_the_people(history):
  found = bayes.isotropic_prior(jnp.zeros(J), 1.0)
  step = jax.jit(refits.prior)
  for _ in range(30):
    found = step(found, history)
  np.testing.assert_allclose(found.mean, [1.0, 0.0, -1.0], atol=0.25)
  spread = np.sqrt(np.diag(found.factor @ found.factor.T))
  np.testing.assert_allclose(spread, SPREAD, rtol=0.35, atol=0.1)


def test_one_weight_for_everybody_is_pulled_to_the_old_one(history):
  still = bayes.GaussianPrior(jnp.full(J, 5.0), jnp.zeros((J, J)))
  few = jax.tree.map(lambda leaf: leaf[:1, :2], history._replace(kept=None))
  found = jax.jit(refits.shared_weight)(still, few._replace(kept=None))
  # Two answers against ten.
  assert np.abs(found.mean - 5.0).max() < 1.0
  assert not found.factor.any()
  found = jax.jit(refits.shared_weight)(still, history)
  x, y = history.value[:, :-1].reshape(-1, J), history.label[:, :-1].ravel()
  # The gradient of the likelihood is that of the pull, but for few steps.
  residual = x.T @ (y - jax.nn.sigmoid(x @ found.mean))
  np.testing.assert_allclose(
    residual / len(y), 10.0 * (found.mean - 5.0) / len(y), atol=0.02
  )


def test_the_mixture_is_the_mean_of_everybody_s(history):
  population = simplex.Params(jnp.log(jnp.full(J, 1 / 3)), jnp.float32(1.0))
  found = jax.jit(refits.mixture)(population, history)
  weight = np.exp(found.log_weight)
  assert weight.sum() == pytest.approx(1.0, abs=1e-4)
  # Bases that people weigh are those with positive coefficients.
  assert weight[0] > weight[1] > weight[2]
  assert float(found.strength) == 1.0
