import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from prm_jax import types
from prm_jax.users import simplex


def objective(w, x, y, log_population, strength):
  margin = x @ w
  fit = (np.logaddexp(0, margin) - y * margin).sum()
  return fit + strength * np.sum(
    w * (np.log(np.maximum(w, 1e-30)) - log_population)
  )


def problem(seed, n=15, dim=4):
  rng = np.random.default_rng(seed)
  x = 2 * rng.normal(size=(n, dim))
  y = rng.integers(0, 2, n).astype(float)
  population = special.log_softmax(rng.normal(size=dim))
  return x, y, population


def descend(x, y, population, strength, iterations=2000):
  params = simplex.Params(jnp.asarray(population), jnp.float32(strength))
  return simplex.mirror_descent(
    params,
    jnp.asarray(x),
    jnp.asarray(y),
    jnp.ones(len(y)),
    iterations=iterations,
  )


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('strength', [0.3, 3.0])
def test_minimum_agrees_with_an_independent_solver(seed, strength):
  x, y, population = problem(seed)

  def value(logits):
    return objective(special.softmax(logits), x, y, population, strength)

  want = special.softmax(
    optimize.minimize(value, population, options={'gtol': 1e-8}).x
  )
  found = np.exp(descend(x, y, population, strength))
  np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)
  np.testing.assert_allclose(found, want, atol=2e-3)


def test_distance_from_the_minimum_is_within_the_bound():
  x, y, population = problem(9)
  best = np.exp(np.asarray(descend(x, y, population, 0.5, 20_000), float))
  least = objective(best, x, y, population, 0.5)
  L = np.sum(np.ptp(x, axis=1) ** 2) / 16
  divergence = np.sum(best * (np.log(best) - population))
  for steps in (1, 3, 10, 30, 100):
    found = np.exp(np.asarray(descend(x, y, population, 0.5, steps), float))
    value = objective(found, x, y, population, 0.5)
    assert value - least < 4 * L * divergence / (steps + 1) ** 2 + 1e-5


def test_strong_pull_and_no_answers_give_the_population():
  x, y, population = problem(1)
  strong = descend(x, y, population, 1e6)
  np.testing.assert_allclose(strong, population, atol=1e-3)
  user = simplex.simplex(dim=4, capacity=5)
  params = simplex.Params(jnp.asarray(population), jnp.float32(1.0))
  nothing = types.Pair(jnp.zeros((5, 2, 4)), jnp.zeros(5), jnp.zeros(5))
  state, _ = user.update(jax.random.key(0), params, user.prior(params), nothing)
  np.testing.assert_allclose(state.log_weight, population, atol=1e-5)
  inferred = user.infer(jax.random.key(0), params, nothing)
  np.testing.assert_allclose(inferred, population, atol=1e-5)
