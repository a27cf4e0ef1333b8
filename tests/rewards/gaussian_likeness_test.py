"""The Gaussian policy discriminator as a reward."""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.rewards import gaussian_likeness
from prm_jax.users import references


def test_score_is_the_ratio_and_the_taste():
  reward = gaussian_likeness.likeness(dim=2)
  params = reward.init(jax.random.key(0), types.Spec(3, 1))
  params |= {
    'mean': jnp.array([1.0, 0.0, 0.0]),
    'scale': jnp.array([2.0, 1.0, 1.0]),
    'project': jnp.eye(3)[:, :2],
    'log_between': jnp.log(jnp.array([4.0, 1.0])),
    'taste': jnp.array([0.5, -1.0]),
  }
  texts = jnp.array([[3.0, 2.0, 9.0], [1.0, 0.0, 0.0]])
  encoded = reward.encode(params, texts)
  np.testing.assert_allclose(encoded, [[1, 2], [0, 0]])
  none = references.References(jnp.zeros((1, 0, 2)), jnp.zeros((1, 0)))
  score = reward.score(params, encoded[None], none).score
  np.testing.assert_allclose(score, [[0.5 - 2.0, 0.0]], atol=1e-6)
  # One reference at the first text; by hand for the second candidate, z = 0:
  # v = b / (1 + b) = (.8, .5), predictive N(v z, 1 + v).
  own = references.References(encoded[None, :1], jnp.ones((1, 1)))
  score = reward.score(params, encoded[None], own).score
  v, b, z = np.array([0.8, 0.5]), np.array([4.0, 1.0]), np.array([1.0, 2.0])
  want = -0.5 * ((v * z) ** 2 / (1 + v) + np.log1p(v) - np.log1p(b)).sum()
  np.testing.assert_allclose(score[0, 1], want, atol=1e-6)
  assert score[0, 0] > score[0, 1] - 1.5
