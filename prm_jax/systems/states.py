"""States before any step, and states with other parameters."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.systems import likelihoods
from prm_jax.users import bank as banks


class Examples(NamedTuple):
  """Constants of learners whose penalties are scaled to one example.

  Attributes:
    examples: judgements that train.
  """

  examples: types.Array


class Anchored(NamedTuple):
  """Constants of learners that stay near the aggregate.

  Attributes:
    examples: judgements that train.
    aggregate: `[D]` the aggregate's weight.
  """

  examples: types.Array
  aggregate: types.Array


def new_state(
  system: types.System,
  key: types.Key,
  spec: types.Spec,
  *,
  blank: types.PyTree = (),
  constants: types.PyTree = (),
  hyper: Mapping[str, float],
) -> types.TrainState:
  """Returns the state before the first phase.

  Args:
    system: reward and user model.
    key: the run's seed.
    spec: sizes.
    blank: free parameters of a person of whom nothing is known.
    constants: the learner's own, of the structure that they keep.
    hyper: searched numbers.
  """
  reward_key, user_key = jax.random.split(jax.random.fold_in(key, 0))
  params = {
    'reward': system.reward.init(reward_key, spec),
    'user': system.user.init(user_key, spec),
  }
  if system.head is not None:
    params[likelihoods.FREE] = likelihoods.init(system.head, spec)
    blank = {**(blank or {}), **likelihoods.blank(system.head)} or ()
  # Beliefs are made when somebody is remembered: fitting infers.
  people = banks.empty(spec.people, blank, ())
  return state_of(key, params, people, constants=constants, hyper=hyper)


def state_of(
  key: types.Key,
  params: types.PyTree,
  people: types.People,
  *,
  constants: types.PyTree = (),
  hyper: Mapping[str, float] | None = None,
) -> types.TrainState:
  """Returns the state of these parameters and people before any step.

  Args:
    key: the run's seed.
    params: shared parameters.
    people: what is kept of each person.
    constants: the learner's own.
    hyper: searched numbers.
  """
  return types.TrainState(
    step=jnp.int32(0),
    round=jnp.int32(0),
    phase=jnp.int32(0),
    params=params,
    people=people,
    key=key,
    opt_state={},
    constants=constants,
    average=(),
    hyper={name: jnp.float32(v) for name, v in (hyper or {}).items()},
  )


def with_reward(
  state: types.TrainState, reward: types.PyTree
) -> types.TrainState:
  """Returns the state with other reward parameters."""
  return state._replace(params={**state.params, 'reward': reward})


def with_user(state: types.TrainState, user: types.PyTree) -> types.TrainState:
  """Returns the state with other parameters of the user model."""
  return state._replace(params={**state.params, 'user': user})


def with_free(
  state: types.TrainState, free: Mapping[str, types.PyTree]
) -> types.TrainState:
  """Returns the state with other free parameters of people, by name."""
  free = {**state.people.free, **free}
  return state._replace(people=state.people._replace(free=free))


def averaged(state: types.TrainState) -> types.PyTree:
  """Returns parameters, those with a moving average replaced by it."""
  return jax.tree.map(
    lambda mean, now: now if mean is None else mean,
    state.average,
    state.params,
    is_leaf=lambda leaf: leaf is None,
  )
