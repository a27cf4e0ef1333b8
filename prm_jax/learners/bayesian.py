"""The linear reward of everybody, and what its judgements leave unknown."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import laplace as last_layers
from prm_jax.ops.heads import choices
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import last_layer, reading
from prm_jax.systems import base_rewards, objectives, optimizers, states
from prm_jax.users import population


def laplace(
  *,
  ridge: float = 10.0,
  learning_rate: float = 0.03,
  steps: int = 100,
  backbone: Any = None,
) -> types.Learner:
  """Returns linear Bradley-Terry with the last layer's Laplace posterior.

  The aggregate's weights, solved exactly, and the Cholesky factor of the
  Hessian there: a pair's probability is pulled towards a half by what is not
  known of its margin. On a backbone that trains, gradient steps on both come
  first, and the posterior is that of the head alone.

  Args:
    ridge: precision of the weights' prior, in answers.
    learning_rate: of those steps; Adam, decayed to 1 %.
    steps: how many.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.

  References:
    MacKay 1992, The evidence framework applied to classification networks;
    for reward models Yang et al. 2026 (RewardUQ), arXiv:2602.24040.
  """
  reward = trunks.under(last_layer.last_layer(), backbone)
  system = types.System(reward, population.population())

  def solved(state, data):
    features = data.features(state.params['reward'])
    weight = base_rewards.aggregate_weight(
      features, data.judgements, data.index, state.hyper['ridge']
    )
    count = objectives.examples(data.judgements)
    state = states.with_reward(
      state, {**state.params['reward'], 'weight': weight}
    )
    return state._replace(constants=states.Examples(count)), features

  def posterior(state, data):
    state, features = solved(state, data)
    head = state.params['reward']
    factor = _factor(
      features,
      data.index,
      data.judgements.mask,
      head['weight'],
      state.hyper['ridge'],
    )
    return states.with_reward(state, {**head, 'factor': factor})

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      hyper={'ridge': ridge},
      constants=states.Examples(jnp.ones(())),
    )

  phases: list[types.Phase] = []
  if backbone is not None and trunks.given(backbone).trains != 'frozen':
    phases.append(
      types.Phase(
        'joint',
        begin=lambda state, data: solved(state, data)[0],
        objective=functools.partial(_objective, reward),
        steps=steps,
        **optimizers.trained(backbone, learning_rate, steps),
      )
    )
  phases.append(types.Phase('posterior', begin=posterior))
  return types.Learner(tuple(phases), init, system)


@jax.jit
def _factor(features, index, mask, weight, ridge):
  mask = jnp.asarray(mask)
  return last_layers.cholesky(features, index, mask, weight, ridge=ridge)


def _objective(reward, params, people, state, batch, gather):
  """Bradley-Terry at the mode, with a ridge on the weights."""
  del people, gather
  pair = reading.encoded(reward, params['reward'], batch.inputs)
  squares = jnp.sum(params['reward']['weight'] ** 2)
  ridge = 0.5 * state.hyper['ridge'] * squares / state.constants.examples
  label = jnp.asarray(batch.rows.label)
  margin = pair[:, 0, 0] - pair[:, 1, 0]
  nll = choices.bradley_terry(margin, label)
  return {'nll': objectives.mean(nll)}, {'ridge': ridge}, {}
