"""Aggregation of members by hand, and the law of total variance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import ensembles

# Four members of two candidates.
SCORES = jnp.array([[1.0, 4.0], [3.0, 4.0], [5.0, 4.0], [7.0, 4.0]])


class AggregationTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
  def test_by_hand(self):
    def all_(scores):
      scores = scores[0] if scores.ndim == 3 else scores  # pmap's own axis
      return (
        ensembles.mean(scores),
        ensembles.variance(scores),
        ensembles.worst(scores),
        ensembles.penalized(scores, strength=0.5),
        ensembles.lower_bound(scores, width=2.0),
        ensembles.quantile(scores, level=0.25),
      )

    found = self.variant(all_)(SCORES[None])
    deviation = np.sqrt(5.0)  # (9 + 1 + 1 + 9) / 4
    want = [4, 5, 1, 1.5, 4 - 2 * deviation, 2.5]
    for value, wanted in zip(found, want, strict=True):
      value = np.asarray(value).ravel()
      np.testing.assert_allclose(value, [wanted, value[1]], rtol=1e-6)
    # The members agree on the second candidate.
    for value, wanted in zip(found, [4, 0, 4, 4, 4, 4], strict=True):
      np.testing.assert_allclose(np.asarray(value).ravel()[1], wanted)


def test_one_member_is_itself():
  score = jnp.array([[2.0, -3.0]])
  for found in (
    ensembles.mean(score),
    ensembles.worst(score),
    ensembles.penalized(score, strength=1.0),
    ensembles.lower_bound(score, width=2.0),
    ensembles.quantile(score, level=0.1),
  ):
    np.testing.assert_array_equal(found, score[0])
  np.testing.assert_array_equal(ensembles.variance(score), 0)
  np.testing.assert_array_equal(ensembles.covariance(score), np.zeros((2, 2)))
  found = ensembles.decompose(score, jnp.ones((1, 2)))
  np.testing.assert_array_equal(found.epistemic, 0)
  np.testing.assert_array_equal(found.total, 1)


def test_the_gradient_of_a_bound_is_finite_where_members_agree():
  def total(scores):
    return ensembles.lower_bound(scores, width=2.0).sum()

  found = jax.grad(total)(SCORES)
  np.testing.assert_allclose(found[:, 1], 0.25)
  # d(mean - 2 sd) / ds_e = 1/4 - 2 (s_e - mean) / (4 sd)
  want = 0.25 - 0.5 * np.array([-3, -1, 1, 3]) / np.sqrt(5)
  np.testing.assert_allclose(found[:, 0], want, rtol=1e-5)


def test_covariance_is_numpy_s_of_the_population():
  scores = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
  found = ensembles.covariance(jnp.asarray(scores))
  for row in range(3):
    want = np.cov(scores[:, row].T, bias=True)
    np.testing.assert_allclose(found[row], want, atol=1e-5)
  diagonal = jnp.diagonal(found, axis1=1, axis2=2)
  np.testing.assert_allclose(diagonal, ensembles.variance(scores), atol=1e-5)


def test_decomposition_is_the_variance_of_the_mixture():
  rng = np.random.default_rng(1)
  mean, variance = rng.normal(size=(3, 2)), rng.uniform(0.5, 2, (3, 2))
  found = ensembles.decompose(jnp.float32(mean), jnp.float32(variance))
  member = rng.integers(0, 3, 400_000)
  drawn = mean[member] + np.sqrt(variance[member]) * rng.normal(
    size=(400_000, 2)
  )
  np.testing.assert_allclose(found.total, drawn.var(0), rtol=0.02)
  np.testing.assert_allclose(found.aleatoric, variance.mean(0), rtol=1e-5)
  np.testing.assert_allclose(found.epistemic, mean.var(0), rtol=1e-5)
  with pytest.raises(AssertionError):
    ensembles.decompose(jnp.ones((3, 2)), jnp.ones((2, 2)))


@pytest.mark.parametrize('scores', [jnp.float32(1.0), jnp.ones((0, 3))])
def test_no_member_is_refused(scores):
  with pytest.raises(ValueError, match='the first axis is of members'):
    ensembles.mean(scores)
