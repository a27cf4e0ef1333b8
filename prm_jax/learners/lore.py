"""LoRe: everybody is a mixture of a few base rewards."""

import functools

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.learners import common, inference
from prm_jax.ops import heads
from prm_jax.rewards import factorized
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

  References:
    Bose et al. 2025, arXiv:2504.14439, eq. 10.

  Notes:
    The paper pulls the bases towards a reference reward model's head; the
    aggregate plays its part. Mirror descent is the simplex's own geometry,
    where the released code takes Adam steps on logits.
  """
  reward = factorized.mixture(dim=dim)
  system = types.System(
    reward, simplex.simplex(dim=dim, capacity=capacity, strength=strength)
  )

  def init(key, spec):
    hyper = {
      'ridge': ridge,
      'basis_ridge': basis_ridge,
      'strength': strength,
      'examples': 1.0,
    }
    blank = {'log_weight': jnp.zeros(dim)}
    state = common.new_state(system, key, spec, blank_rows=blank, hyper=hyper)
    return state._replace(frozen=jnp.zeros(spec.features))

  phases = (
    types.Phase('start', begin=functools.partial(_start, dim, spread)),
    types.Phase(
      'joint',
      objective=_objective,
      optimizer=common.adam(learning_rate, steps),
      steps=steps,
    ),
    types.Phase('prior', begin=functools.partial(population, system)),
  )
  return types.Learner(system, phases, init)


def _objective(params, rows, state, batch):
  """The joint phase's loss of each row, and its penalty; see `lore`."""
  margin = common.margins(
    batch.table @ params['reward']['basis'],
    jax.nn.softmax(rows['log_weight'], -1),
    batch.rows,
  )
  moved = params['reward']['basis'] - state.frozen[:, None]
  scale = 0.5 * state.hyper['basis_ridge'] / state.hyper['examples']
  penalty = {'basis': scale * jnp.sum(moved**2)}
  return heads.bradley_terry(margin, batch.rows.label), penalty, {}


def population(
  system: types.System, state: types.TrainState, batch: types.Batch
) -> types.TrainState:
  """Returns the state with the mean weights of the fitted people.

  Args:
    system: whose user model is `users.simplex`.
    state: after the joint fit; `hyper['strength']` is the pull from now on.
    batch: the training data.
  """
  user = simplex.Params(
    state.params['user'].log_weight, state.hyper['strength']
  )
  state = common.with_user(state, user)
  people = state.bank.rows['log_weight'].shape[0]
  # Twice: the first estimate is made under a uniform population.
  for _ in range(2):
    weights = inference.infer(
      system, state.params, batch, key=state.key, people=people
    )
    answered = jnp.zeros(people).at[batch.rows.user].max(batch.rows.mask)
    mean = (answered @ jnp.exp(weights)) / jnp.maximum(answered.sum(), 1.0)
    user = user._replace(log_weight=jnp.log(mean + 1e-6))
    state = common.with_user(state, user)
  return state


def _start(dim, spread, state, batch):
  """Returns the state with every base reward near the aggregate's."""
  weight = common.aggregate_weight(batch, state.hyper['ridge'])
  basis = common.spread_bases(state.key, weight, dim, spread)
  state = common.with_reward(state, {'basis': basis})
  return state._replace(
    frozen=weight,
    hyper={**state.hyper, 'examples': common.examples(batch.rows)},
  )
