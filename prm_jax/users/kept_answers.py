"""A person as their answers, of which a reward recalls what it needs."""

from prm_jax import types
from prm_jax.users import latent, ring


def kept_answers(*, dim: int, capacity: int = 50) -> types.UserModel:
  """Returns the user model that keeps answers and makes nothing of them.

  The context is `types.Pair` of N = `capacity` answers, masked where there are
  fewer. The oldest are dropped, and `update` says how many.

  Args:
    dim: J of an encoded text.
    capacity: N.
  """

  def init(key, spec):
    del key, spec
    return {}

  def infer(key, params, evidence):
    del key, params
    # Always the same size, however many answers a person gave.
    return ring.evidence(ring.keep(ring.empty(capacity, 2, dim), evidence))

  return latent.kept(infer, init, dim=dim, capacity=capacity)
