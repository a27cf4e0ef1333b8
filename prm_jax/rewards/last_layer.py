"""One linear reward for everybody, and how well its weights are known."""

import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import laplace


def last_layer() -> types.RewardModel:
  """Returns w . x with w ~ N(weight, (factor factor^T)^-1).

  params `{'weight': [D], 'factor': [D, D]}`, the factor lower triangular, of
  the precision (`ops.laplace.cholesky`). A text is encoded as its score and
  its whitened features, J = D + 1. Covariances are of scores less the mean of
  the K candidates, for judgements identify differences alone: `[B, 1]` has
  none.

  References:
    MacKay 1992; Kristiadi et al. 2020, arXiv:2002.10118 (the last layer).
  """

  def init(key, spec):
    del key
    D = spec.features
    return {'weight': jnp.zeros(D), 'factor': jnp.eye(D)}

  def encode(params, features):
    score = features @ params['weight']
    whitened = laplace.whiten(params['factor'], features)
    return jnp.concatenate([score[..., None], whitened], axis=-1)

  def score(params, encoded, context):
    del params, context
    covariance = laplace.centred_covariance(encoded[..., 1:])
    return types.RewardOutput(encoded[..., 0], covariance)

  return types.RewardModel(init, encode, score, centred=True)
