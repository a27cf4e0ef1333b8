"""A person as a distribution near probabilistic bases (VRF)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import sets
from prm_jax.ops import transport
from prm_jax.users import gaussian
from prm_jax.users import latent as latents


class Bases(NamedTuple):
  """K Gaussians that people are matched with: `[K, Z]` each."""

  mean: types.Array
  log_variance: types.Array


def variational(
  *,
  dim: int,
  bases: int = 8,
  latent: int = 8,
  width: int = 64,
  temperature: float = 1.0,
  capacity: int = 50,
) -> types.UserModel:
  """Returns the user model of VRF: q(z | answers), matched with K bases.

  A set encoder reads the answers into a Gaussian of Z dimensions, and the
  person's weights on the base rewards follow from its squared 2-Wasserstein
  distance to each base. The context is `users.gaussian.Context` of K weights,
  whose covariance is q's, to first order: `[K]` and `[K, Z]`.

  params `{'network': ..., 'bases': Bases}`.

  Args:
    dim: J of an encoded text.
    bases: K.
    latent: Z.
    width: of the encoder.
    temperature: of the weights, in squared distances.
    capacity: N, answers kept; older ones are forgotten.

  References:
    Lee et al. 2026 (VRF), arXiv:2604.00997.
  """
  network: Any = sets.LatentEncoder(latent, width)

  def init(key, spec):
    del spec
    first, second = jax.random.split(key)
    nothing = jnp.zeros((1, 2, dim)), jnp.zeros(1), jnp.zeros(1)
    # Squared distances near 2, so that no base is out of reach.
    mean = jax.random.normal(second, (bases, latent)) / jnp.sqrt(latent)
    return {
      'network': network.init(first, *nothing),
      'bases': Bases(mean, jnp.zeros_like(mean)),
    }

  def infer(key, params, evidence):
    del key
    mean, log_variance, _ = network.apply(
      params['network'], evidence.encoded, evidence.label, evidence.mask
    )
    return match(params['bases'], mean, log_variance, temperature=temperature)

  return latents.kept(infer, init, dim=dim, capacity=capacity)


def match(
  bases: Bases,
  mean: types.Array,
  log_variance: types.Array,
  *,
  temperature: float = 1.0,
) -> gaussian.Context:
  """Returns a person's weights `[K]` and their covariance's root `[K, Z]`.

  Args:
    bases: shared by everybody.
    mean: `[Z]` of q.
    log_variance: `[Z]` of q.
    temperature: of the weights, in squared distances.
  """
  return gaussian.Context(
    *transport.matched_weights(mean, log_variance, *bases, temperature)
  )
