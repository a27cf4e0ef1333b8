"""A person as the answers they preferred: a discriminator's references."""

from typing import NamedTuple

import jax.numpy as jnp

from prm_jax import types
from prm_jax.users import ring


class References(NamedTuple):
  """What a candidate is compared with.

  Attributes:
    encoded: `[..., R, T, D]` as `RewardModel.encode` left them.
    mask: `[..., R]` 1 for a reference, 0 for room that is empty.
  """

  encoded: types.Array
  mask: types.Array


def given(encoded: types.Array) -> References:
  """Returns the references of rows whose items are a pair, then references.

  Args:
    encoded: `[B, 2 + R, ...]` of the rows' items.
  """
  known = encoded[:, 2:]
  return References(known, jnp.ones(known.shape[:2]))


def references(*, shape: tuple[int, ...], capacity: int = 8) -> types.UserModel:
  """Returns the user model of a policy discriminator.

  The preferred answer of every pair is a reference; ties say nothing. There
  is room for `capacity`: the oldest are dropped, and `update` says how many.

  Args:
    shape: `(T, D)` of an encoded answer.
    capacity: R.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197: one reference, the best answer.
  """

  def init(key, spec):
    del key, spec
    return {}

  def prior(params):
    del params
    return ring.empty(capacity, *shape)

  def update(key, params, state, evidence):
    del key, params
    first = (evidence.label > 0.5).reshape(-1, *(1,) * len(shape))
    encoded = evidence.encoded
    preferred = jnp.where(first, encoded[:, 0], encoded[:, 1])
    mask = evidence.mask * (evidence.label != 0.5)
    kept = types.Pair(preferred, evidence.label, mask)
    state = ring.keep(state, kept)
    return state, {'dropped': ring.dropped(state)}

  def context(params, state):
    del params
    return References(state.value, state.mask)

  def infer(key, params, evidence):
    state, _ = update(key, params, prior(params), evidence)
    return context(params, state)

  return types.UserModel(init, prior, update, context, infer)
