"""A person as a few gradient steps from a meta-learned start (MRM)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.users import ring


class Params(NamedTuple):
  """What everybody shares.

  Attributes:
    start: `[J]` logits of the mixture weights before the first step.
    log_rate: scalar, logarithm of the step size.
  """

  start: types.Array
  log_rate: types.Array


def meta(
  *, dim: int, inner_steps: int = 1, rate: float = 1.0, capacity: int = 50
) -> types.UserModel:
  """Returns the user model of MRM: weights on the simplex of J = `dim`.

  Each step descends the mean loss of the answers in the weights' logits. The
  steps are differentiable, so that start and rate can be learned through them.

  Args:
    dim: J base rewards.
    inner_steps: from the start.
    rate: of a step, at first.
    capacity: N, answers kept; older ones are forgotten.

  References:
    MRM 2026, arXiv:2601.18731; a learned rate: Li et al. 2017 (Meta-SGD),
    arXiv:1707.09835.
  """

  def init(key, spec):
    del key, spec
    return Params(jnp.zeros(dim), jnp.log(jnp.float32(rate)))

  def prior(params):
    del params
    return ring.empty(capacity, dim)

  def update(key, params, state, evidence):
    del key, params
    state = ring.keep(state, ring.differences(evidence))
    return state, {'dropped': ring.dropped(state)}

  def infer(key, params, evidence):
    del key
    return adapt(params, ring.differences(evidence), steps=inner_steps)

  def context(params, state):
    return adapt(params, ring.evidence(state), steps=inner_steps)

  return types.UserModel(init, prior, update, context, infer)


@precision.highest
def adapt(params: Params, evidence: types.Pair, *, steps: int) -> types.Array:
  """Returns one person's log-weights `[J]` after the inner steps.

  Args:
    params: start and rate.
    evidence: differences `[N, J]` of base rewards, labels and mask.
    steps: of gradient descent.
  """
  mask = evidence.mask
  difference = jnp.where(mask[:, None] > 0, evidence.encoded, 0.0)
  label = jnp.where(mask > 0, evidence.label, 0.0)
  count = jnp.maximum(mask.sum(), 1.0)

  def step(logits):
    weights = jax.nn.softmax(logits)
    residual = mask * (jax.nn.sigmoid(difference @ weights) - label) / count
    slope = residual @ difference
    # The softmax's Jacobian, written out.
    gradient = weights * (slope - weights @ slope)
    return logits - jnp.exp(params.log_rate) * gradient

  logits = params.start
  for _ in range(steps):
    logits = step(logits)
  return jax.nn.log_softmax(logits)
