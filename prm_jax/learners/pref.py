"""PReF: base rewards learned from everybody, coefficients of each person."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.heads import assembled
from prm_jax.ops import bayes
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import factorized
from prm_jax.systems import (
  base_rewards,
  likelihoods,
  objectives,
  optimizers,
  priors,
  states,
)
from prm_jax.users import gaussian


def pref(
  *,
  dim: int = 6,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  learning_rate: float = 0.03,
  steps: int = 300,
  capacity: int = 50,
  backbone: Any = None,
  head: Any = None,
) -> types.Learner:
  """Returns PReF with J = `dim` base rewards.

  Three phases. `svd`: the first base reward is the aggregate's and has
  coefficient 1 for everybody; the others start from the weighted low-rank
  factorisation of the preference matrix's logits, less the aggregate's
  margins, regressed on the features. `joint`: bases and coefficients minimise

      sum_n NLL(label_n | lambda_u . W^T (x_a - x_b))
        + sum_u |lambda_u - e_1|^2 / 2
        + ridge |w_1 - w_aggregate|^2 / 2 + basis_ridge sum_j>1 |w_j|^2 / 2

  `prior`: the population's mean and covariance are estimated with W frozen;
  everybody's belief, seen or new, is then the Bayesian update from it.

  Args:
    dim: J, the aggregate's base reward included.
    ridge: of the aggregate, in answers.
    basis_ridge: of the personal base rewards, in answers. The scale of bases
      and coefficients is shared, so the coefficients' precision is fixed to 1.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps of the joint phase.
    capacity: answers kept of a person.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
    head: `types.Head` or plain data, what the labels are for; Bradley-Terry
      choices if None.

  References:
    Shenfeld et al. 2025, arXiv:2503.06358.

  Notes:
    Missing cells are left out of the factorisation, where the released code
    fills them with 0.5; new people start from the estimated prior, where it
    starts from a random vector without one; the penalty is the paper's, on
    the coefficients, where the code penalises the norm of encoded differences.
  """
  reward = trunks.under(factorized.factorized(dim=dim), backbone)
  user = gaussian.gaussian(dim=dim, capacity=capacity)
  system = types.System(reward, user, head=assembled.given(head))
  first = jnp.eye(dim)[0]

  def init(key, spec):
    state = states.new_state(
      system,
      key,
      spec,
      blank={'coefficients': first},
      constants=states.Anchored(jnp.ones(()), jnp.zeros(spec.features)),
      hyper={'ridge': ridge, 'basis_ridge': basis_ridge},
    )
    return states.with_user(state, bayes.isotropic_prior(first, 1.0))

  phases = (
    types.Phase('svd', begin=functools.partial(_svd_start, dim, system.head)),
    types.Phase(
      'joint',
      objective=functools.partial(_objective, system),
      **optimizers.trained(backbone, learning_rate, steps),
      whole=likelihoods.whole(system.head),
      people=optimizers.people_adam(learning_rate, steps),
      steps=steps,
    ),
    priors.prior_phase(system.head),
  )
  return types.Learner(phases, init, system)


def _objective(system, params, people, state, batch, gather):
  """The joint phase's terms and penalties; see `pref`."""
  basis, coefficients = params['reward']['basis'], people.free['coefficients']
  user = batch.rows.user
  apart = coefficients - jnp.eye(basis.shape[1])[0]
  own, charge = objectives.charged(
    people, user, coefficients, 0.5 * jnp.sum(apart**2, 1)
  )
  terms = likelihoods.terms(system, params, people, batch, own, gather)
  moved = basis[:, 0] - state.constants.aggregate
  penalty = {
    'aggregate': state.hyper['ridge'] * jnp.sum(moved**2),
    'basis': state.hyper['basis_ridge'] * jnp.sum(basis[:, 1:] ** 2),
  }
  scale = 0.5 / state.constants.examples
  terms['coefficients'] = charge
  return terms, {name: scale * value for name, value in penalty.items()}, {}


def _svd_start(dim, head, state, data):
  """Returns the state at the SVD start; see `pref`."""
  data = likelihoods.begun(head, data)
  features = data.features(state.params['reward'])
  basis, coefficients, constants = _bases(
    state.key,
    features,
    data.judgements,
    data.index,
    state.hyper,
    people=data.people,
    dim=dim,
  )
  state = states.with_free(state, {'coefficients': coefficients})
  state = states.with_reward(state, {**state.params['reward'], 'basis': basis})
  return state._replace(constants=constants)


@functools.partial(jax.jit, static_argnames=('people', 'dim'))
def _bases(key, features, judgements, index, hyper, *, people, dim):
  """Returns bases `[D, J]`, coefficients `[U, J]` and constants at once."""
  weight, others, personal = base_rewards.start(
    jax.random.fold_in(key, 1),
    features,
    judgements,
    index,
    hyper,
    people=people,
    dim=dim,
  )
  basis = jnp.concatenate([weight[:, None], others], 1)
  coefficients = jnp.concatenate([jnp.ones((people, 1)), personal], 1)
  constants = states.Anchored(objectives.examples(judgements), weight)
  return basis, coefficients, constants
