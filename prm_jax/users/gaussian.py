"""A Gaussian belief about J coefficients (PReF): logistic-Laplace."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import bayes, beliefs
from prm_jax.users import ring


class State(NamedTuple):
  """Belief about one person.

  Attributes:
    mode: `[J]` of the whitened coefficients.
    answers: the last N answers, from which the mode is solved, and the
      covariance where somebody asks for it.
  """

  mode: types.Array
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
  *,
  dim: int | None = None,
  capacity: int = 50,
  prior_scale: float = 1.0,
  iterations: int = 10,
) -> types.UserModel:
  """Returns the user model of PReF: a Gaussian over J = `dim` coefficients.

  The belief keeps the last `capacity` answers and re-solves from the old mode,
  so order, batching, undo and deletion agree.

  Args:
    dim: J; the number of features, if None.
    capacity: N, answers kept; older ones are forgotten.
    prior_scale: standard deviation of the prior before it is estimated.
    iterations: Newton steps of a re-solve; from the old mode two are enough
      for one more answer.

  Examples:
    >>> user, key = gaussian(dim=2), jax.random.key(0)
    >>> params = user.init(key, types.Spec(features=2, people=1))
    >>> pair = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])  # more of the first
    >>> said = types.Pair(pair, label=jnp.ones(1), mask=jnp.ones(1))
    >>> belief, _ = user.update(key, params, user.prior(params), said)
    >>> liked = user.context(params, belief).mean
    >>> bool(liked[0] > 0.1), float(liked[1])
    (True, 0.0)
  """

  def init(key, spec):
    del key
    J = spec.features if dim is None else dim
    return bayes.isotropic_prior(jnp.zeros(J), prior_scale)

  def prior(params):
    (J,) = params.mean.shape
    return State(jnp.zeros(J), ring.empty(capacity, J))

  def update(key, params, state, evidence):
    del key
    answers = ring.keep(state.answers, ring.differences(evidence))
    info = {'dropped': ring.dropped(answers)}
    state = state._replace(answers=answers)
    return solve(params, state, iterations=iterations), info

  def infer(key, params, evidence):
    del key
    return to_context(params, posterior(params, evidence))

  def context(params, state):
    answers = state.answers
    return to_context(
      params, bayes.at_mode(params, state.mode, answers.value, answers.mask)
    )

  return types.UserModel(init, prior, update, context, infer)


def online(*, dim: int, prior_scale: float = 1.0) -> types.UserModel:
  """Returns the Gaussian belief that learns an answer and keeps none.

  One answer costs O(J^2) however many there were; the order of answers
  matters, and none can be taken back. The state is its own context.

  Args:
    dim: J.
    prior_scale: standard deviation of the prior before it is estimated.
  """
  keeping = gaussian(dim=dim, capacity=0, prior_scale=prior_scale)

  def prior(params):
    return Context(params.mean, params.factor)

  def infer(key, params, evidence):
    return update(key, params, prior(params), evidence)[0]

  def update(key, params, state, evidence):
    del key, params

    def learn(state, answer):
      mean, factor = bayes.one_answer(
        state.mean, state.factor, answer.encoded, answer.label
      )
      return jax.tree.map(
        lambda new, old: jnp.where(answer.mask > 0, new, old),
        Context(mean, factor),
        state,
      ), None

    differences = ring.differences(evidence)
    return jax.lax.scan(learn, state, differences)[0], {}

  def context(params, state):
    del params
    return state

  return types.UserModel(keeping.init, prior, update, context, infer)


def posterior(
  params: bayes.GaussianPrior,
  evidence: types.Pair | types.Said,
  *,
  iterations: int | None = None,
) -> bayes.Posterior:
  """Returns the posterior of one person's coefficients.

  Args:
    params: the population's prior.
    evidence: choices between two, or what a head reads.
    iterations: Newton steps; as many as the solver takes if None.
  """
  steps: dict[str, Any] = {}
  if iterations is not None:
    steps['iterations'] = iterations
  if isinstance(evidence, types.Said):
    said = evidence
    return beliefs.posterior(
      params, lambda own: said.nll(said.encoded @ own), **steps
    )
  difference = ring.differences(evidence).encoded
  return bayes.laplace(
    params, difference, evidence.label, evidence.mask, **steps
  )


def to_context(
  params: bayes.GaussianPrior, posterior: bayes.Posterior
) -> Context:
  """Returns mean `[J]` and covariance factor `[J, J]` of a posterior."""
  return Context(
    bayes.coefficients(params, posterior),
    bayes.covariance_factor(params, posterior),
  )


def solve(
  params: bayes.GaussianPrior, state: State, *, iterations: int = 10
) -> State:
  """Returns the belief re-solved from the answers it keeps."""
  answers = state.answers
  mode = bayes.whitened_mode(
    params,
    answers.value,
    answers.label,
    answers.mask,
    start=state.mode,
    iterations=iterations,
  )
  return State(mode, answers)


def delete(
  params: bayes.GaussianPrior, state: State, slot: types.Array
) -> State:
  """Returns the belief without the answer in `slot`.

  `answers.last_slot` gives the slot of the latest answer: deleting it is undo.
  """
  return solve(params, state._replace(answers=ring.drop(state.answers, slot)))
