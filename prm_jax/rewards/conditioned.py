"""Rewards told by a network who is asking, on top of the aggregate's.

A text is encoded as the aggregate's score and J - 1 learned projections. The
personal part starts at zero, so that before training everybody gets the
aggregate.
"""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import sets


def latent(
  *, dim: int, latent: int, width: int = 64, film: bool = False
) -> types.RewardModel:
  """Returns a reward told a latent vector (VPL, and SPL with `film`).

  The context is `users.latent.Context`.

  Args:
    dim: J, the aggregate's score included.
    latent: Z.
    width: of the hidden layers.
    film: scale and shift the hidden layers, rather than join the inputs.

  References:
    Poddar et al. 2024 (VPL), arXiv:2408.10075; Perez et al. 2018 (FiLM),
    arXiv:1709.07871.
  """
  network = (sets.FilmDecoder if film else sets.Decoder)(width)

  def init(key, spec):
    first, second = jax.random.split(key)
    blank = jnp.zeros((1, dim)), jnp.zeros(latent)
    return {
      **_projection(first, spec.features, dim),
      'network': network.init(second, *blank),
    }

  def score(params, encoded, context):
    personal = network.apply(params['network'], encoded, context.mean)
    return types.RewardOutput(encoded[..., 0] + personal)

  return types.RewardModel(init, encode, score)


def weighted(*, dim: int, bases: int = 8) -> types.RewardModel:
  """Returns a reward with weights on K = `bases` base rewards (VRF).

      r_u(x) = e_1 + sum_k w_uk (M^T e)_k,  e = W^T x

  The context is `users.gaussian.Context` of the weights, `[K]` and `[K, Z]`;
  the score's covariance is that of the weights.

  Args:
    dim: J, the aggregate's score included.
    bases: K.

  References:
    Lee et al. 2026 (VRF), arXiv:2604.00997.
  """

  def init(key, spec):
    mix = jnp.zeros((dim, bases))
    return {**_projection(key, spec.features, dim), 'network': {'mix': mix}}

  def score(params, encoded, context):
    base = encoded @ params['network']['mix']
    spread = jnp.einsum('...ck,...kz->...cz', base, context.factor)
    personal = jnp.einsum('...ck,...k->...c', base, context.mean)
    return types.RewardOutput(
      encoded[..., 0] + personal,
      jnp.einsum('...cz,...dz->...cd', spread, spread),
    )

  return types.RewardModel(init, encode, score)


def in_context(
  *, dim: int, width: int = 32, layers: int = 2, uncertain: bool = False
) -> types.RewardModel:
  """Returns a reward that attends to a person's answers.

  The context is `users.in_context.Context` of as many layers.

  Args:
    dim: J, the aggregate's score included.
    width: of the tokens.
    layers: L.
    uncertain: also predict each score's variance, as a neural process does.

  References:
    Zhao et al. 2023 (GPO), arXiv:2310.11523.
  """
  network = sets.ContextReader(width, 2 if uncertain else 1)

  def init(key, spec):
    first, second = jax.random.split(key)
    blank = jnp.zeros((1, dim)), jnp.zeros((layers, 1, width)), jnp.zeros(1)
    return {
      **_projection(first, spec.features, dim),
      'network': network.init(second, *blank),
    }

  def score(params, encoded, context):
    def one(encoded, tokens, mask):
      return network.apply(params['network'], encoded, tokens, mask)

    found = jax.vmap(one)(encoded, context.tokens, context.mask)
    mean = encoded[..., 0] + found[..., 0]
    if not uncertain:
      return types.RewardOutput(mean)
    variance = jax.nn.softplus(found[..., 1] - 2.0)
    covariance = variance[..., None] * jnp.eye(variance.shape[-1])
    return types.RewardOutput(mean, covariance)

  return types.RewardModel(init, encode, score)


def recalling(
  *, dim: int, width: int = 32, layers: int = 2, count: int = 8
) -> types.RewardModel:
  """Returns a reward that attends to the answers about what is most alike.

  The context is `users.kept_answers`: all answers of a person. Every text
  recalls for itself, so that its score does not hang on what stands beside it:
  those answers whose two texts, together, have the largest cosine to it.

  Args:
    dim: J, the aggregate's score included.
    width: of the tokens.
    layers: L.
    count: of answers that a text recalls.

  References:
    Zhang et al. 2025 (PRIME), arXiv:2507.04607.
  """
  network = sets.RecallingReader(width, layers, count, outputs=1)

  def init(key, spec):
    first, second = jax.random.split(key)
    blank = jnp.zeros((1, 2, dim)), jnp.zeros(1), jnp.zeros(1)
    return {
      **_projection(first, spec.features, dim),
      'network': network.init(second, jnp.zeros(dim), *blank),
    }

  def score(params, encoded, context):
    def one(text, known):
      return network.apply(
        params['network'], text, known.encoded, known.label, known.mask
      )

    found = jax.vmap(jax.vmap(one, (0, None)))(encoded, context)
    return types.RewardOutput(encoded[..., 0] + found[..., 0])

  return types.RewardModel(init, encode, score)


def encode(params: types.PyTree, features: types.Array) -> types.Array:
  """Returns the aggregate's score and J - 1 projections, `[..., J]`."""
  return features @ params['basis']


def _projection(key, features: int, dim: int):
  scale = 1.0 / jnp.sqrt(features)
  basis = scale * jax.random.normal(key, (features, dim))
  return {'basis': basis.at[:, 0].set(0.0)}
