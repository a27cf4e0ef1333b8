"""One reward model for everyone: the baseline that has to be good."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.heads import assembled
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import scalar
from prm_jax.systems import (
  base_rewards,
  likelihoods,
  objectives,
  optimizers,
  states,
)
from prm_jax.users import population


def linear(
  *,
  ridge: float = 10.0,
  learning_rate: float = 0.03,
  steps: int = 100,
  backbone: Any = None,
  head: Any = None,
) -> types.Learner:
  """Returns linear Bradley-Terry on the features, solved exactly.

  On a backbone that trains, or under another head, gradient steps follow.

  Args:
    ridge: precision of the weights' prior, in answers.
    learning_rate: of those steps; Adam, decayed to 1 %.
    steps: how many.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
    head: `types.Head` or plain data, what the labels are for; Bradley-Terry
      choices if None.
  """
  reward = trunks.under(scalar.linear(), backbone)
  system = types.System(
    reward, population.population(), head=assembled.given(head)
  )

  def begin(state, data):
    count = objectives.examples(data.judgements)
    data = likelihoods.begun(system.head, data)
    features = data.features(state.params['reward'])
    weight = base_rewards.aggregate_weight(
      features, data.judgements, data.index, state.hyper['ridge']
    )
    state = states.with_reward(
      state, {**state.params['reward'], 'weight': weight}
    )
    return state._replace(constants=states.Examples(count))

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      hyper={'ridge': ridge},
      constants=states.Examples(jnp.ones(())),
    )

  phases = [types.Phase('newton', begin=begin)]
  moves = backbone is not None and trunks.given(backbone).trains != 'frozen'
  if moves or head is not None:
    phases.append(_phase('joint', system, backbone, learning_rate, steps))
  return types.Learner(tuple(phases), init, system)


def mlp(
  *,
  ridge: float = 10.0,
  hidden: tuple[int, ...] = (32,),
  learning_rate: float = 3e-3,
  steps: int = 300,
  backbone: Any = None,
  head: Any = None,
) -> types.Learner:
  """Returns Bradley-Terry with a small network of the features.

  Args:
    ridge: precision of the weights' prior, in answers.
    hidden: widths of the hidden layers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
    head: `types.Head` or plain data, what the labels are for; Bradley-Terry
      choices if None.
  """
  reward = trunks.under(scalar.mlp(hidden=hidden), backbone)
  system = types.System(
    reward, population.population(), head=assembled.given(head)
  )

  def begin(state, data):
    count = objectives.examples(data.judgements)
    return state._replace(constants=states.Examples(count))

  phase = _phase('adam', system, backbone, learning_rate, steps)

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      hyper={'ridge': ridge},
      constants=states.Examples(jnp.ones(())),
    )

  return types.Learner((phase._replace(begin=begin),), init, system)


def _phase(name, system, backbone, learning_rate, steps) -> types.Phase:
  """Returns the phase that descends; people train what heads give them."""
  personal = system.head is not None and system.head.personal
  return types.Phase(
    name,
    objective=functools.partial(_objective, system),
    steps=steps,
    people=optimizers.people_adam(learning_rate, steps) if personal else None,
    **optimizers.trained(backbone, learning_rate, steps),
    whole=likelihoods.whole(system.head),
  )


def _objective(system, params, people, state, batch, gather):
  """What was said, with a ridge on all parameters but a backbone's."""
  ones = jnp.ones((len(batch.rows.user), 1))
  terms = likelihoods.terms(system, params, people, batch, ones, gather)
  own = trunks.own(params['reward'])
  maps = {k: v for k, v in params.get('head', {}).items() if k != 'own'}
  squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((own, maps)))
  ridge = 0.5 * state.hyper['ridge'] * squares / state.constants.examples
  return terms, {'ridge': ridge}, {}
