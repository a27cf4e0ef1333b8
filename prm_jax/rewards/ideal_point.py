"""Rewards that fall with the distance from a person's ideal point (PAL)."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import factorization


def ideal_point(
  *, dim: int, width: int = 16, prompt_features: int = 0
) -> types.RewardModel:
  """Returns -|f(x) - a|^2 up to what the answers of one prompt share.

  With a = sum_k w_k p_k and w on the simplex,

      -|f(x) - a|^2 = sum_k w_k (2 p_k . f(x) - |f(x)|^2) - |a|^2

  so that the K = `dim` encodings of a text are base rewards and a person is a
  mixture of them: the posterior is LoRe's, and convex. Every base reward also
  holds the aggregate's score.

  Variant A has free prototypes p_k. In variant B, `prompt_features` > 0, the
  last columns of the features describe the prompt, and p_k is a linear map of
  them; |a|^2 is then the same for the answers of one prompt only.

  Args:
    dim: K prototypes.
    width: of the item map f, which is linear in the features.
    prompt_features: how many of the last columns describe the prompt.

  References:
    Chen et al. 2024 (PAL), arXiv:2406.08469.

  Notes:
    The released code scores by a cosine with a learned temperature; the
    squared distance is the paper's ideal point and keeps new people convex.
  """

  def init(key, spec):
    item = spec.features - prompt_features
    first, second = jax.random.split(key)
    shape = (max(prompt_features, 1), dim, width)
    return {
      'aggregate': jnp.zeros(spec.features),
      'item': 0.1 * jax.random.normal(first, (item, width)) / jnp.sqrt(item),
      'prototypes': 0.1 * jax.random.normal(second, shape),
    }

  def encode(params, features):
    item = features[..., : features.shape[-1] - prompt_features]
    point = item @ params['item']
    if prompt_features:
      prompt = features[..., -prompt_features:]
      prototypes = jnp.einsum('...p,pkh->...kh', prompt, params['prototypes'])
    else:
      prototypes = params['prototypes'][0]
    near = 2.0 * jnp.sum(prototypes * point[..., None, :], -1)
    near = near - jnp.sum(point**2, -1, keepdims=True)
    return (features @ params['aggregate'])[..., None] + near

  def score(params, encoded, context):
    del params
    return types.RewardOutput(factorization.simplex_score(encoded, context))

  return types.RewardModel(init, encode, score)
