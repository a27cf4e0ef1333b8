"""PAL's base rewards are squared distances from the ideal point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.rewards import ideal_point


@pytest.mark.parametrize('prompt_features', [0, 2])
def test_differences_are_those_of_squared_distances(prompt_features):
  rng = np.random.default_rng(0)
  reward = ideal_point.ideal_point(
    dim=3, width=4, prompt_features=prompt_features
  )
  params = reward.init(jax.random.key(0), types.Spec(7, 1))
  aggregate = rng.normal(size=7).astype(np.float32)
  params = {**params, 'aggregate': jnp.asarray(aggregate)}
  texts = rng.normal(size=(5, 7)).astype(np.float32)
  if prompt_features:
    texts[:, 5:] = texts[0, 5:]  # answers to one prompt
  log_weight = jax.nn.log_softmax(jnp.array([0.3, -1.0, 0.8]))
  found = reward.score(
    params, reward.encode(params, texts)[None], log_weight[None]
  ).score[0]

  item = texts[:, : 7 - prompt_features] @ np.asarray(params['item'])
  prototypes = np.asarray(params['prototypes'])  # [P, K, H]
  if prompt_features:
    prototypes = np.einsum('p,pkh->kh', texts[0, 5:], prototypes)
  else:
    prototypes = prototypes[0]
  ideal = np.exp(np.asarray(log_weight)) @ prototypes
  want = texts @ aggregate - ((item - ideal) ** 2).sum(1)
  np.testing.assert_allclose(
    found[1:] - found[0], want[1:] - want[0], atol=1e-5
  )
