"""Rewards that factorise into bases of the text and coefficients of people."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import networks
from prm_jax.ops import factorization


def factorized(*, dim: int) -> types.RewardModel:
  """Returns lambda . (W^T x): J = `dim` learned bases, Gaussian belief.

  params `{'basis': [D, J]}`; the context is `users.gaussian.Context`.

  References:
    Shenfeld et al. 2025 (PReF), arXiv:2503.06358.
  """
  return types.RewardModel(_random_basis(dim), _project, _gaussian_score)


def identity() -> types.RewardModel:
  """Returns lambda . x: every feature is a base reward; Gaussian belief."""

  def encode(params, features):
    del params
    return features

  return types.RewardModel(lambda key, spec: {}, encode, _gaussian_score)


def network(*, dim: int, width: int = 32) -> types.RewardModel:
  """Returns lambda . phi(x): the aggregate's score and a network's features.

  params `{'aggregate': [D], 'network': ...}`; Gaussian belief over J = `dim`
  coefficients.

  Args:
    dim: J, the aggregate's score included.
    width: of the network's hidden layer.

  References:
    Barreto et al. 2025 (RFM), arXiv:2503.17338.
  """
  hidden = networks.MLP(widths=(width, dim - 1))

  def init(key, spec):
    blank = jnp.zeros((1, spec.features))
    return {
      'aggregate': jnp.zeros(spec.features),
      'network': hidden.init(key, blank),
    }

  def encode(params, features):
    first = features @ params['aggregate']
    others = jnp.asarray(hidden.apply(params['network'], features))
    return jnp.concatenate([first[..., None], others], -1)

  return types.RewardModel(init, encode, _gaussian_score)


def mixture(*, dim: int) -> types.RewardModel:
  """Returns softmax(context) . (W^T x): J = `dim` base rewards.

  params `{'basis': [D, J]}`; the context is the person's log-weights `[J]`.

  References:
    Bose et al. 2025 (LoRe), arXiv:2504.14439.
  """

  def score(params, encoded, context):
    del params
    return types.RewardOutput(factorization.simplex_score(encoded, context))

  return types.RewardModel(_random_basis(dim), _project, score)


def _random_basis(dim: int):
  def init(key, spec):
    scale = 1.0 / jnp.sqrt(spec.features)
    return {'basis': scale * jax.random.normal(key, (spec.features, dim))}

  return init


def _project(params, features):
  return features @ params['basis']


def _gaussian_score(params, encoded, context):
  """Mean and covariance of K scores under N(mean, factor factor^T)."""
  del params
  spread = jnp.einsum('...kj,...ji->...ki', encoded, context.factor)
  return types.RewardOutput(
    factorization.bilinear_score(encoded, context.mean),
    jnp.einsum('...ki,...li->...kl', spread, spread),
  )
