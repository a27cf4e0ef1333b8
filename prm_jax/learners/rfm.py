"""RFM: learned nonlinear reward features, linear in a person's weights."""

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


def rfm(
  *,
  dim: int = 8,
  width: int = 32,
  ridge: float = 10.0,
  decay: float = 10.0,
  learning_rate: float = 3e-3,
  steps: int = 300,
  capacity: int = 50,
  backbone: Any = None,
  head: Any = None,
) -> types.Learner:
  """Returns RFM with J = `dim` reward features of a small network.

  The first feature is the aggregate's score; the others are a network's.
  Features and everybody's weights minimise the Bradley-Terry loss plus

      sum_u |w_u - e_1|^2 / 2 + decay |network|^2 / 2

  A new person's weights follow by logistic regression with features frozen.

  Args:
    dim: J.
    width: of the network's hidden layer.
    ridge: of the aggregate, in answers.
    decay: ridge of the network, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
    head: `types.Head` or plain data, what the labels are for; Bradley-Terry
      choices if None.

  References:
    Barreto et al. 2025 (RFM), arXiv:2503.17338.

  Notes:
    The paper's regression of a new person has no stated prior; here it is the
    raters' estimated mean and covariance, as for PReF, from which this method
    differs in its nonlinear features and in having no SVD start.
  """
  reward = trunks.under(factorized.network(dim=dim, width=width), backbone)
  user = gaussian.gaussian(dim=dim, capacity=capacity)
  system = types.System(reward, user, head=assembled.given(head))
  first = jnp.eye(dim)[0]

  def objective(params, people, state, batch, gather):
    user, coefficients = batch.rows.user, people.free['coefficients']
    apart = 0.5 * jnp.sum((coefficients - first) ** 2, 1)
    own, charge = objectives.charged(people, user, coefficients, apart)
    terms = likelihoods.terms(system, params, people, batch, own, gather)
    network = jax.tree.leaves(params['reward']['network'])
    scale = 0.5 * state.hyper['decay'] / state.constants.examples
    terms['coefficients'] = charge
    penalty = {'decay': scale * sum(jnp.sum(leaf**2) for leaf in network)}
    return terms, penalty, {}

  def init(key, spec):
    constants = states.Examples(jnp.ones(()))
    blank, hyper = {'coefficients': first}, {'ridge': ridge, 'decay': decay}
    state = states.new_state(
      system, key, spec, blank=blank, constants=constants, hyper=hyper
    )
    return states.with_user(state, bayes.isotropic_prior(first, 1.0))

  phases = (
    types.Phase(
      'joint',
      functools.partial(_begin, system.head),
      objective,
      steps=steps,
      people=optimizers.people_adam(learning_rate, steps),
      **optimizers.trained(backbone, learning_rate, steps),
      whole=likelihoods.whole(system.head),
    ),
    priors.prior_phase(system.head),
  )
  return types.Learner(phases, init, system)


def _begin(head, state, data):
  """Returns the state at the aggregate, people apart around it."""
  data = likelihoods.begun(head, data)
  features = data.features(state.params['reward'])
  weight = base_rewards.aggregate_weight(
    features, data.judgements, data.index, state.hyper['ridge']
  )
  params = {**state.params['reward'], 'aggregate': weight}
  state = states.with_reward(state, params)
  # People start apart, or features and weights would both have no slope.
  free = state.people.free['coefficients']
  noise = jax.random.normal(jax.random.fold_in(state.key, 1), free.shape)
  free = jnp.eye(free.shape[1])[0] + noise.at[:, 0].set(0.0)
  state = states.with_free(state, {'coefficients': free})
  count = objectives.examples(data.judgements)
  return state._replace(constants=states.Examples(count))
