"""How likely the policy of some references wrote a candidate, by Gaussians.

A policy discriminator with few parameters: with tens of policies to learn
from, a decoder that compares texts freely remembers them.
"""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import discrimination

_START = -2.0  # policies are alike until rows say otherwise


def likeness(*, dim: int, same_prompt: bool = False) -> types.RewardModel:
  """Returns the log ratio of a candidate's chance given references.

      r = log p(z | references) - log p(z) + taste . z,   z = (x - mean) project

  The context is `users.references.References` of encodings `[J]`. Without
  any reference only the taste is left, a linear reward.

  params `{'mean': [D], 'scale': [D], 'project': [D, J], 'log_between': [J],
  'taste': [J]}`.

  Args:
    dim: J.
    same_prompt: whether references and candidates answer one prompt, whose
      part in them then cancels (`ops.discrimination.difference_ratio`).
  """
  ratio_of = (
    discrimination.difference_ratio
    if same_prompt
    else discrimination.likelihood_ratio
  )

  def init(key, spec):
    D = spec.features
    project = jax.random.normal(key, (D, dim)) / D**0.5
    return {
      'mean': jnp.zeros(D),
      'scale': jnp.ones(D),
      'project': project,
      'log_between': jnp.full(dim, _START),
      'taste': jnp.zeros(dim),
    }

  def encode(params, features):
    return (features - params['mean']) / params['scale'] @ params['project']

  def score(params, encoded, context):
    B, K, J = encoded.shape
    R = context.mask.shape[1]
    ratio = ratio_of(
      encoded,
      jnp.broadcast_to(context.encoded[:, None], (B, K, R, J)),
      jnp.broadcast_to(context.mask[:, None], (B, K, R)),
      jnp.exp(params['log_between']),
    )
    return types.RewardOutput(ratio + encoded @ params['taste'])

  return types.RewardModel(init, encode, score)
