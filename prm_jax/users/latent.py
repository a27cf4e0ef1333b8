"""A belief about a latent vector, read off the answers by a set encoder."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import sets
from prm_jax.users import ring


class Context(NamedTuple):
  """What the reward is told.

  Attributes:
    mean: `[..., Z]` of the latent, or, in training, a draw of it.
    log_variance: `[..., Z]`.
  """

  mean: types.Array
  log_variance: types.Array


def latent(
  *, dim: int, latent: int, width: int = 64, capacity: int = 50
) -> types.UserModel:
  """Returns the user model of VPL: q(z | answers), amortised.

  Args:
    dim: J of an encoded text.
    latent: Z.
    width: of the encoder.
    capacity: N, answers kept; older ones are forgotten.

  References:
    Poddar et al. 2024 (VPL), arXiv:2408.10075.
  """
  network: Any = sets.LatentEncoder(latent, width)

  def init(key, spec):
    del spec
    return network.init(key, *_nothing(dim))

  def infer(key, params, evidence):
    del key
    mean, log_variance, _ = network.apply(
      params, evidence.encoded, evidence.label, evidence.mask
    )
    return Context(mean, log_variance)

  return kept(infer, init, dim=dim, capacity=capacity)


def flow(
  *, dim: int, latent: int, width: int = 64, flows: int = 2, capacity: int = 50
) -> types.UserModel:
  """Returns the user model of SPL: VPL's with preferential flows.

  The context's mean is the flow's image of the base mean, and its variance the
  base's: the image's own has no closed form.

  Args:
    dim: J of an encoded text.
    latent: Z.
    width: of the encoder.
    flows: inverse autoregressive steps.
    capacity: N, answers kept; older ones are forgotten.

  References:
    SPL 2026, arXiv:2603.12595.
  """
  network: Any = sets.FlowEncoder(latent, width, flows)

  def init(key, spec):
    del spec
    return network.init(key, jnp.zeros(latent), *_nothing(dim))

  def infer(key, params, evidence):
    del key
    z, _, moments = network.apply(
      params, jnp.zeros(latent), evidence.encoded, evidence.label, evidence.mask
    )
    return Context(z, moments[1])

  return kept(infer, init, dim=dim, capacity=capacity)


def kept(infer, init, *, dim: int, capacity: int) -> types.UserModel:
  """Returns the user model whose state is the last answers themselves.

  Args:
    infer: `(key, params, evidence) -> context`.
    init: `(key, spec) -> params`.
    dim: J of an encoded text.
    capacity: N, answers kept; older ones are forgotten.
  """

  def prior(params):
    del params
    return ring.empty(capacity, 2, dim)

  def update(key, params, state, evidence):
    del key, params
    state = ring.keep(state, evidence)
    return state, {'dropped': ring.dropped(state)}

  def context(params, state):
    # A belief that reads answers draws nothing.
    return infer(None, params, ring.evidence(state))

  return types.UserModel(init, prior, update, context, infer)


def _nothing(dim: int):
  """Arguments of a set encoder for one masked answer."""
  return jnp.zeros((1, 2, dim)), jnp.zeros(1), jnp.zeros(1)
