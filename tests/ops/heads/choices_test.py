import chex
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from scipy import integrate, stats

from prm_jax import types
from prm_jax.ops.heads import choices


class BradleyTerryTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
  def test_hand_computed(self):
    difference = jnp.array([[0.0, 2.0, -1.0, 3.0]])
    label = jnp.array([[1.0, 1.0, 0.0, 0.5]])
    value = self.variant(choices.bradley_terry)(difference, label)
    # log 2; log(1 + e^-2); log(1 + e^-1); mean of both sides at 3
    want = [0.693147, 0.126928, 0.313262, 1.548587]
    np.testing.assert_allclose(value[0], want, atol=1e-5)

  @parameterized.parameters(1.0, 0.0)
  def test_margin_shifts_the_winner(self, label):
    difference = jnp.array([0.7])
    sign = 2 * label - 1
    np.testing.assert_allclose(
      choices.bradley_terry(difference, jnp.array([label]), margin=0.5),
      np.logaddexp(0, -(sign * 0.7 - 0.5)),
      rtol=1e-6,
    )

  def test_smoothing_is_a_mixture_with_coin_flips(self):
    d, y = jnp.array([1.3]), jnp.array([1.0])
    p = 1 / (1 + np.exp(-1.3))
    want = -(0.95 * np.log(p) + 0.05 * np.log(1 - p))
    np.testing.assert_allclose(
      choices.bradley_terry(d, y, smoothing=0.1), want, rtol=1e-5
    )

  def test_exchange(self):
    d, y = jnp.linspace(-30, 30, 7), jnp.linspace(0, 1, 7)
    np.testing.assert_allclose(
      choices.bradley_terry(d, y), choices.bradley_terry(-d, 1 - y), rtol=1e-5
    )

  def test_shapes_must_agree(self):
    with pytest.raises(AssertionError):
      choices.bradley_terry(jnp.zeros(3), jnp.zeros((3, 1)))


def test_moderated_probability_is_near_the_integral():
  for mean, sd in [(0.0, 1.0), (1.0, 2.0), (-2.0, 3.0), (4.0, 0.1)]:

    def integrand(x, mean=mean, sd=sd):
      return stats.norm.pdf(x, mean, sd) / (1 + np.exp(-x))

    want, _ = integrate.quad(integrand, mean - 9 * sd, mean + 9 * sd)
    value = choices.moderated_probability(jnp.array(mean), jnp.array(sd**2))
    assert abs(float(value) - want) < 0.02


def test_pair_probability_uses_the_whole_covariance():
  score = jnp.array([[1.5, 0.5]])
  point = choices.pair_probability(types.RewardOutput(score))
  np.testing.assert_allclose(point, 1 / (1 + np.exp(-1.0)), rtol=1e-6)
  # Perfectly correlated scores: the difference is certain.
  certain = types.RewardOutput(score, jnp.full((1, 2, 2), 4.0))
  np.testing.assert_allclose(
    choices.pair_probability(certain), point, rtol=1e-6
  )
  unsure = types.RewardOutput(score, 4.0 * jnp.eye(2)[None])
  want = 1 / (1 + np.exp(-1.0 / np.sqrt(1 + np.pi)))
  np.testing.assert_allclose(choices.pair_probability(unsure), want, rtol=1e-5)
