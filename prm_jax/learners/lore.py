"""LoRe: everybody is a mixture of a few base rewards."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.heads import assembled
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import factorized
from prm_jax.systems import (
  base_rewards,
  inference,
  likelihoods,
  objectives,
  optimizers,
  states,
)
from prm_jax.users import simplex


def lore(
  *,
  dim: int = 6,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  strength: float = 1.0,
  spread: float = 0.3,
  learning_rate: float = 0.03,
  steps: int = 300,
  capacity: int = 50,
  backbone: Any = None,
  head: Any = None,
) -> types.Learner:
  """Returns LoRe with J = `dim` base rewards.

  `start`: every base reward is the aggregate's plus noise. `joint`: bases and
  everybody's weights on the simplex minimise the Bradley-Terry loss plus

      basis_ridge sum_j |w_j - w_aggregate|^2 / 2

  `prior`: the population's weights are the mean of the fitted people's. New
  people, and seen ones when they are scored, follow by mirror descent with
  `strength` answers' worth of pull towards the population.

  Args:
    dim: J.
    ridge: of the aggregate, in answers.
    basis_ridge: pull of the bases towards the aggregate, in answers.
    strength: pull of a person towards the population, in answers.
    spread: of the start's noise, relative to the aggregate's norm.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
    head: `types.Head` or plain data, what the labels are for; Bradley-Terry
      choices if None.

  References:
    Bose et al. 2025, arXiv:2504.14439, eq. 10.

  Notes:
    The paper pulls the bases towards a reference reward model's head; the
    aggregate plays its part. Mirror descent is the simplex's own geometry,
    where the released code takes Adam steps on logits.
  """
  reward = trunks.under(factorized.mixture(dim=dim), backbone)
  system = types.System(
    reward,
    simplex.simplex(dim=dim, capacity=capacity, strength=strength),
    head=assembled.given(head),
  )

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      blank={'log_weight': jnp.zeros(dim)},
      constants=states.Anchored(jnp.ones(()), jnp.zeros(spec.features)),
      hyper={'ridge': ridge, 'basis_ridge': basis_ridge, 'strength': strength},
    )

  phases = (
    types.Phase(
      'start', begin=functools.partial(_start, dim, spread, system.head)
    ),
    types.Phase(
      'joint',
      objective=functools.partial(_objective, system),
      **optimizers.trained(backbone, learning_rate, steps),
      whole=likelihoods.whole(system.head),
      people=optimizers.people_adam(learning_rate, steps),
      steps=steps,
    ),
    types.Phase('prior', begin=functools.partial(population, system)),
  )
  return types.Learner(phases, init, system)


def _objective(system, params, people, state, batch, gather):
  """The joint phase's term and penalty; see `lore`."""
  weights = jax.nn.softmax(people.free['log_weight'], -1)
  own = weights[batch.rows.user]
  terms = likelihoods.terms(system, params, people, batch, own, gather)
  moved = params['reward']['basis'] - state.constants.aggregate[:, None]
  scale = 0.5 * state.hyper['basis_ridge'] / state.constants.examples
  penalty = {'basis': scale * jnp.sum(moved**2)}
  return terms, penalty, {}


def population(
  system: types.System, state: types.TrainState, data: types.Data
) -> types.TrainState:
  """Returns the state with the mean weights of the fitted people.

  Args:
    system: whose user model is `users.simplex`.
    state: after the joint fit; `hyper['strength']` is the pull from now on.
    data: the training data.
  """
  user = simplex.Params(
    state.params['user'].log_weight, state.hyper['strength']
  )
  encoded = data.encoded(state.params['reward'])
  told = likelihoods.of_state(system.head, state, data)
  answered = (state.people.weight > 0).astype(jnp.float32)
  # Twice: the first estimate is made under a uniform population.
  for _ in range(2):
    weights = inference.infer_encoded(
      system,
      user,
      encoded,
      data.judgements,
      data.index,
      key=state.key,
      people=data.people,
      told=told,
    )
    mean = (answered @ jnp.exp(weights)) / jnp.maximum(answered.sum(), 1.0)
    user = user._replace(log_weight=jnp.log(mean + 1e-6))
  return states.with_user(state, user)


def _start(dim, spread, head, state, data):
  """Returns the state with every base reward near the aggregate's."""
  data = likelihoods.begun(head, data)
  features = data.features(state.params['reward'])
  weight = base_rewards.aggregate_weight(
    features, data.judgements, data.index, state.hyper['ridge']
  )
  basis = base_rewards.spread_bases(state.key, weight, dim, spread)
  state = states.with_reward(state, {**state.params['reward'], 'basis': basis})
  return state._replace(
    constants=states.Anchored(objectives.examples(data.judgements), weight)
  )
