"""A person as their answers, read by a small transformer."""

from typing import NamedTuple

from prm_jax import types
from prm_jax.models import sets
from prm_jax.users import latent, ring


class Context(NamedTuple):
  """What the reward attends to.

  Attributes:
    tokens: `[..., L, S, width]` of the answers, after each layer.
    mask: `[..., S]`.
  """

  tokens: types.Array
  mask: types.Array


def in_context(
  *,
  dim: int,
  width: int = 32,
  layers: int = 2,
  points: bool = False,
  capacity: int = 50,
) -> types.UserModel:
  """Returns the user model of in-context rewards and neural processes.

  The transformer has room for `capacity` answers: the oldest are dropped, and
  `update` says how many.

  Args:
    dim: J of an encoded text.
    width: of the tokens.
    layers: L.
    points: a token for each text (GPO) rather than for each answer.
    capacity: N, answers read.

  References:
    Zhao et al. 2023 (GPO), arXiv:2310.11523.
  """
  network = sets.ContextEncoder(width, layers, points)

  def init(key, spec):
    del spec
    blank = ring.empty(1, 2, dim)
    return network.init(key, blank.value, blank.label, blank.mask)

  def infer(key, params, evidence):
    del key
    # Always the same size, however many answers a person gave.
    last = ring.keep(ring.empty(capacity, 2, dim), evidence)
    found = network.apply(params, last.value, last.label, last.mask)
    return Context(*found)

  return latent.kept(infer, init, dim=dim, capacity=capacity)
