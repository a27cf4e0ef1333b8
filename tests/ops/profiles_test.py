"""What an answer tells of the others, against integrals over each answer."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from prm_jax.ops import profiles

J, N = 3, 7


def entropy(p):
  return -special.xlogy(p, p) - special.xlogy(1 - p, 1 - p)


def guess(mean, covariance, x):
  m, v = x @ mean, x @ covariance @ x
  return special.expit(m / np.sqrt(1 + np.pi * v / 8))


def told(mean, covariance, x, y, likelihood):
  """Moments of the coefficients after an answer, by integration over x . w."""
  m, v = x @ mean, x @ covariance @ x
  d = m + np.sqrt(v) * np.linspace(-12, 12, 20_001)
  weight = stats.norm.pdf(d, m, np.sqrt(v)) * likelihood(d if y else -d)
  weight /= weight.sum()
  first = weight @ d
  second = weight @ (d - first) ** 2
  gain = covariance @ x / v
  return mean + gain * (first - m), covariance + np.outer(gain, gain) * (
    second - v
  )


def probit(d):
  return stats.norm.cdf(np.sqrt(np.pi / 8) * d)


def gain(mean, covariance, pool, q, rest, likelihood=probit):
  """Pep's binary information gain of question q about the rest, in nats."""
  now = sum(entropy(guess(mean, covariance, pool[r])) for r in rest)
  p = guess(mean, covariance, pool[q])
  for y, chance in ((1, p), (0, 1 - p)):
    after = told(mean, covariance, pool[q], y, likelihood)
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
  def test_gain_is_what_integrals_say(self):
    pool, mean, factor = world()
    counts = 1.0 - np.eye(N)
    counts[:, 2] = 0.0  # asked already
    found = self.variant(profiles.profile_gain)(
      *arrays(pool.T, mean, factor, pool.T, counts)
    )
    covariance = factor @ factor.T
    for q in range(N):
      rest = [r for r in range(N) if r not in (q, 2)]
      want = gain(mean, covariance, pool, q, rest)
      assert want > 0.05
      np.testing.assert_allclose(found[q], want, atol=2e-5, rtol=1e-5)
      # What the probit in the logistic's place makes of it.
      exact = gain(mean, covariance, pool, q, rest, special.expit)
      np.testing.assert_allclose(found[q], exact, rtol=0.1)

  def test_where_nothing_is_gained_the_most_uncertain_is_asked(self):
    pool = np.array([[1.0, 0.0], [0.5, 0.0]])
    mean, factor = np.array([3.0, 0.0]), np.diag([1.2, 1.0])
    less = -np.ones((2, 1))  # as if it were good to know less
    score = GAIN(*arrays(pool.T, mean, factor, [[1.0], [0.0]], less))
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
