"""Distances of Gaussians against quantiles, weights against differences."""

import chex
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from prm_jax.ops import transport

K, Z = 4, 3


def world(seed=0):
  rng = np.random.default_rng(seed)
  return (
    rng.normal(size=Z),
    rng.normal(size=Z) - 1.0,
    rng.normal(size=(K, Z)),
    rng.normal(size=(K, Z)),
  )


def by_quantiles(m, s, other_m, other_s):
  """W2^2 on a line: the mean square of what lies between the quantiles."""
  q = (np.arange(200_000) + 0.5) / 200_000
  z = stats.norm.ppf(q)
  return np.mean((m + s * z - other_m - other_s * z) ** 2)


def weights(mean, log_variance, base_mean, base_log_variance, temperature):
  sd, base_sd = np.exp(log_variance / 2), np.exp(base_log_variance / 2)
  distance = ((mean - base_mean) ** 2).sum(1) + ((sd - base_sd) ** 2).sum(1)
  return special.softmax(-distance / temperature)


class TransportTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_distance_is_that_of_the_quantiles(self):
    mean, log_variance, base_mean, base_log_variance = world()
    found = self.variant(transport.wasserstein)(
      *(
        jnp.asarray(a, jnp.float32)
        for a in (mean, log_variance, base_mean[0], base_log_variance[0])
      )
    )
    want = sum(
      by_quantiles(
        mean[z],
        np.exp(log_variance[z] / 2),
        base_mean[0, z],
        np.exp(base_log_variance[0, z] / 2),
      )
      for z in range(Z)
    )
    np.testing.assert_allclose(found, want, rtol=1e-4)

  @chex.variants(with_jit=True, without_jit=True)
  def test_weights_and_how_they_move_with_the_mean(self):
    known = world(1)
    arrays = [jnp.asarray(a, jnp.float32) for a in known]
    found, root = self.variant(transport.matched_weights)(*arrays, 0.7)
    mean, *others = known
    np.testing.assert_allclose(found, weights(mean, *others, 0.7), atol=1e-6)
    step = 1e-5
    for z in range(Z):
      more, less = mean.copy(), mean.copy()
      more[z] += step
      less[z] -= step
      slope = weights(more, *others, 0.7) - weights(less, *others, 0.7)
      want = slope / (2 * step) * np.exp(others[0][z] / 2)
      np.testing.assert_allclose(root[:, z], want, atol=1e-5)

  def test_at_a_base_everything_is_near_it(self):
    _, _, base_mean, base_log_variance = world(2)
    weight, _ = transport.matched_weights(
      *(
        jnp.asarray(a, jnp.float32)
        for a in (base_mean[2], base_log_variance[2])
      ),
      jnp.asarray(base_mean, jnp.float32),
      jnp.asarray(base_log_variance, jnp.float32),
      0.05,
    )
    np.testing.assert_allclose(weight, np.eye(K)[2], atol=1e-4)
