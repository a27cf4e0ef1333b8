"""One reward model for everyone: the baseline that has to be good."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops.heads import choices
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import reading, scalar
from prm_jax.systems import base_rewards, objectives, optimizers, states
from prm_jax.users import population


def linear(
  *,
  ridge: float = 10.0,
  learning_rate: float = 0.03,
  steps: int = 100,
  backbone: Any = None,
) -> types.Learner:
  """Returns linear Bradley-Terry on the features, solved exactly.

  On a backbone that trains, gradient steps on both follow.

  Args:
    ridge: precision of the weights' prior, in answers.
    learning_rate: of those steps; Adam, decayed to 1 %.
    steps: how many.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
  """
  reward = trunks.under(scalar.linear(), backbone)
  system = types.System(reward, population.population())

  def begin(state, data):
    features = data.features(state.params['reward'])
    weight = base_rewards.aggregate_weight(
      features, data.judgements, data.index, state.hyper['ridge']
    )
    state = states.with_reward(
      state, {**state.params['reward'], 'weight': weight}
    )
    count = objectives.examples(data.judgements)
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
  if backbone is not None and trunks.given(backbone).trains != 'frozen':
    phases.append(
      types.Phase(
        'joint',
        objective=functools.partial(_objective, reward),
        steps=steps,
        **optimizers.trained(backbone, learning_rate, steps),
      )
    )
  return types.Learner(tuple(phases), init, system)


def mlp(
  *,
  ridge: float = 10.0,
  hidden: tuple[int, ...] = (32,),
  learning_rate: float = 3e-3,
  steps: int = 300,
  backbone: Any = None,
) -> types.Learner:
  """Returns Bradley-Terry with a small network of the features.

  Args:
    ridge: precision of the weights' prior, in answers.
    hidden: widths of the hidden layers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
  """
  reward = trunks.under(scalar.mlp(hidden=hidden), backbone)
  system = types.System(reward, population.population())

  def begin(state, data):
    count = objectives.examples(data.judgements)
    return state._replace(constants=states.Examples(count))

  phase = types.Phase(
    'adam',
    begin,
    functools.partial(_objective, reward),
    steps=steps,
    **optimizers.trained(backbone, learning_rate, steps),
  )

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      hyper={'ridge': ridge},
      constants=states.Examples(jnp.ones(())),
    )

  return types.Learner((phase,), init, system)


def _objective(reward, params, people, state, batch, gather):
  """Bradley-Terry, with a ridge on the head's parameters."""
  del people, gather
  pair = reading.encoded(reward, params['reward'], batch.inputs)
  head = jax.tree.leaves(trunks.own(params['reward']))
  squares = sum(jnp.sum(leaf**2) for leaf in head)
  ridge = 0.5 * state.hyper['ridge'] * squares / state.constants.examples
  nll = choices.bradley_terry(pair[:, 0, 0] - pair[:, 1, 0], batch.rows.label)
  return {'nll': objectives.mean(nll)}, {'ridge': ridge}, {}
