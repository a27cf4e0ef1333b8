"""What an answer tells of the others, against loops over whole posteriors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from prm_jax.ops import profiles

J, N = 3, 7


def entropy(p):
  return -special.xlogy(p, p) - special.xlogy(1 - p, 1 - p)


def guess(mean, covariance, x):
  m, v = x @ mean, x @ covariance @ x
  return special.expit(m / np.sqrt(1 + np.pi * v / 8))


def posterior(mean, covariance, x, y):
  """The Laplace posterior in all J coordinates, its mode by minimisation."""
  inverse = np.linalg.inv(covariance)

  def loss(w):
    away = w - mean
    d = x @ w
    return np.logaddexp(0, d) - y * d + away @ inverse @ away / 2

  mode = optimize.minimize(loss, mean, method='BFGS', tol=1e-10).x
  p = special.expit(x @ mode)
  hessian = inverse + p * (1 - p) * np.outer(x, x)
  return mode, np.linalg.inv(hessian)


def gain(mean, covariance, pool, q, rest):
  """Pep's binary information gain of question q about the rest, in nats."""
  now = sum(entropy(guess(mean, covariance, pool[r])) for r in rest)
  p = guess(mean, covariance, pool[q])
  for y, chance in ((1, p), (0, 1 - p)):
    after = posterior(mean, covariance, pool[q], y)
    now -= chance * sum(entropy(guess(*after, pool[r])) for r in rest)
  return now


def world(seed=0):
  rng = np.random.default_rng(seed)
  pool = rng.normal(size=(N, J))
  factor = np.tril(rng.normal(size=(J, J))) + 1.5 * np.eye(J)
  return pool, 0.5 * rng.normal(size=J), factor


def arrays(*values):
  return [jnp.asarray(value, jnp.float32) for value in values]


GAIN = jax.jit(profiles.profile_gain)


class ProfileTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_gain_is_what_whole_posteriors_say(self):
    pool, mean, factor = world()
    counts = 1.0 - np.eye(N)
    counts[:, 2] = 0.0  # asked already
    found = self.variant(profiles.profile_gain)(
      *arrays(pool.T, mean, factor, pool.T, counts)
    )
    for q in range(N):
      rest = [r for r in range(N) if r not in (q, 2)]
      want = gain(mean, factor @ factor.T, pool, q, rest)
      if want >= 0:
        np.testing.assert_allclose(found[q], want, atol=2e-4)
      else:
        assert found[q] < 0

  def test_where_nothing_is_gained_the_most_uncertain_is_asked(self):
    # About an answer that is nearly known, another can make us less sure.
    pool = np.array([[1.0, 0.0], [0.5, 0.0]])
    mean, factor = np.array([3.0, 0.0]), np.diag([1.2, 1.0])
    assert gain(mean, factor @ factor.T, np.eye(2), 0, [0]) < -1e-3
    score = GAIN(*arrays(pool.T, mean, factor, [[1.0], [0.0]], [[1.0], [-1.0]]))
    p = [guess(mean, factor @ factor.T, x) for x in pool]
    want = -1.0 - np.abs(np.array(p) - 0.5)
    np.testing.assert_allclose(score, want, atol=1e-5)
    assert int(score.argmax()) == 1

  def test_certain_answers_are_not_asked(self):
    pool = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    factor, counts = 0.5 * np.eye(2), 1.0 - np.eye(3)
    score = GAIN(*arrays(pool.T, [9.0, 0.1], factor, pool.T, counts))
    assert float(score[0]) < -1.4
    assert float(score[1]) > 0.0


def test_everybody_at_once_is_one_by_one():
  rng = np.random.default_rng(3)
  U, places = 9, [6, 1, 3, 0]
  pool, mean = rng.normal(size=(J, N)), rng.normal(size=(U, J))
  factor = rng.normal(size=(U, J, J))
  available = rng.random((U, N)) < 0.7
  found = jax.jit(profiles.profile_gain_for_people)(
    *arrays(pool, mean, factor), jnp.array(places), jnp.asarray(available)
  )
  assert found.shape == (U, N)
  for u in range(U):
    counts = np.zeros((N, len(places)))
    for n in range(N):
      for r, place in enumerate(places):
        counts[n, r] = available[u, place] and place != n
    want = GAIN(*arrays(pool, mean[u], factor[u], pool[:, places], counts))
    np.testing.assert_allclose(found[u], want, atol=1e-5)
