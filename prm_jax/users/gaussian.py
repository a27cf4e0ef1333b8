"""A Gaussian belief about J coefficients (PReF): logistic-Laplace."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import bayes
from prm_jax.users import answers as ring


class State(NamedTuple):
  """Belief about one person.

  Attributes:
    posterior: whitened mode and precision factor.
    answers: the last N answers, from which the posterior is solved.
  """

  posterior: bayes.Posterior
  answers: ring.Answers


class Context(NamedTuple):
  """What the reward is told: N(mean, factor factor^T).

  Attributes:
    mean: `[..., J]`.
    factor: `[..., J, J]`.
  """

  mean: types.Array
  factor: types.Array


def gaussian(
  *, dim: int, capacity: int = 50, prior_scale: float = 1.0
) -> types.UserModel:
  """Returns the user model of PReF: a Gaussian over J = `dim` coefficients.

  The belief keeps the last `capacity` answers and re-solves from the old mode,
  so order, batching, undo and deletion agree.

  Args:
    dim: J.
    capacity: N, answers kept; older ones are forgotten.
    prior_scale: standard deviation of the prior before it is estimated.
  """

  def init(key, spec):
    del key, spec
    return bayes.isotropic_prior(jnp.zeros(dim), prior_scale)

  def prior(params):
    del params
    posterior = bayes.Posterior(jnp.zeros(dim), jnp.eye(dim))
    return State(posterior, ring.empty(capacity, dim))

  def update(key, params, state, evidence):
    del key
    answers = ring.keep(state.answers, ring.differences(evidence))
    info = {'dropped': ring.dropped(answers)}
    return solve(params, state._replace(answers=answers)), info

  def infer(key, params, evidence):
    del key
    posterior = bayes.laplace(
      params,
      ring.differences(evidence).encoded,
      evidence.label,
      evidence.mask,
    )
    return to_context(params, posterior)

  def context(params, state, query=None):
    del query
    return to_context(params, state.posterior)

  def sample(key, params, state, query=None):
    mean, factor = context(params, state, query)
    draw = mean + factor @ jax.random.normal(key, (dim,))
    return Context(draw, jnp.zeros_like(factor))

  return types.UserModel(init, prior, update, context, sample, infer)


def to_context(
  params: bayes.GaussianPrior, posterior: bayes.Posterior
) -> Context:
  """Returns mean `[J]` and covariance factor `[J, J]` of a posterior."""
  return Context(
    bayes.coefficients(params, posterior),
    bayes.covariance_factor(params, posterior),
  )


def solve(params: bayes.GaussianPrior, state: State) -> State:
  """Returns the belief re-solved from the answers it keeps."""
  answers = state.answers
  posterior = bayes.laplace(
    params,
    answers.value,
    answers.label,
    answers.mask,
    start=state.posterior.mode,
  )
  return State(posterior, answers)


def delete(
  params: bayes.GaussianPrior, state: State, slot: types.Array
) -> State:
  """Returns the belief without the answer in `slot`.

  `answers.last_slot` gives the slot of the latest answer: deleting it is undo.
  """
  return solve(params, state._replace(answers=ring.drop(state.answers, slot)))
