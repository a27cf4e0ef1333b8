"""One reward for everybody."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import networks


def linear() -> types.RewardModel:
  """Returns the reward w . x: params `{'weight': [D]}`."""

  def init(key, spec):
    del key
    return {'weight': jnp.zeros(spec.features)}

  def encode(params, features):
    return (features @ params['weight'])[..., None]

  return types.RewardModel(init, encode, _score)


def mlp(*, hidden: tuple[int, ...] = (64,)) -> types.RewardModel:
  """Returns a reward that is a small network of the features.

  Args:
    hidden: widths of the hidden layers.
  """
  network = networks.MLP(widths=(*hidden, 1))

  def init(key, spec):
    return network.init(key, jnp.zeros((1, spec.features)))

  def encode(params, features):
    return network.apply(params, features)

  return types.RewardModel(init, encode, _score)


def _score(params, encoded: jax.Array, context) -> types.RewardOutput:
  """The encoding `[B, K, 1]` is the score."""
  del params, context
  return types.RewardOutput(encoded[..., 0])
