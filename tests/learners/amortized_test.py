"""What the amortised learners minimise, and whether a latent is used."""

import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.systems import amortization
from prm_jax.users import latent


def test_divergence_is_the_integral():
  mean, log_variance = 0.7, -0.9
  x = np.linspace(-12, 12, 200_001)
  sd = np.exp(0.5 * log_variance)
  q = np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
  ratio = -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) + 0.5 * x**2
  found = amortization.gaussian_divergence(
    jnp.array([mean]), jnp.array([log_variance])
  )
  np.testing.assert_allclose(found, np.trapezoid(q * ratio, x), rtol=1e-5)


@pytest.mark.parametrize(
  ('swapped_mean', 'swapped_log_variance', 'value'),
  [
    ([-2.0, 1.0], [0.5, 0.2], 0.0),  # opposite mean, same variance
    ([2.0, -1.0], [0.5, 0.2], 1.0),
    ([-2.0, 1.0], [-0.5, -0.2], 0.1),
    ([1.0, 2.0], [0.5, 0.2], 0.5),
  ],
)
def test_swap_guidance(swapped_mean, swapped_log_variance, value):
  found = amortization.swap_guidance(
    jnp.array([2.0, -1.0]),
    jnp.array([0.5, 0.2]),
    jnp.array(swapped_mean),
    jnp.array(swapped_log_variance),
  )
  np.testing.assert_allclose(found, value, atol=1e-5)


def test_active_units_are_those_whose_mean_varies():
  rng = np.random.default_rng(0)
  mean = np.zeros((500, 4), np.float32)
  mean[:, 1] = rng.normal(size=500)
  mean[:, 2] = 3.0  # shifted for everybody: says nothing of a person
  found = amortization.collapse(
    latent.Context(jnp.asarray(mean), jnp.zeros((500, 4)))
  )
  assert found.active_units == 0.25
  expected = 0.5 * (mean**2).sum(1).mean()
  np.testing.assert_allclose(found.kl, expected, rtol=1e-5)
