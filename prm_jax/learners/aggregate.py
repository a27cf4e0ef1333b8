"""One reward model for everyone: the baseline that has to be good."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.learners import common
from prm_jax.ops import heads
from prm_jax.rewards import reading, scalar
from prm_jax.users import population


def linear(*, ridge: float = 10.0) -> types.Learner:
  """Returns linear Bradley-Terry on the features, solved exactly.

  Args:
    ridge: precision of the weights' prior, in answers.
  """
  system = types.System(scalar.linear(), population.population())

  def begin(state, data):
    features = data.features(state.params['reward'])
    weight = common.aggregate_weight(features, data, state.hyper['ridge'])
    return common.with_reward(state, {'weight': weight})

  def init(key, spec):
    return common.new_state(system, key, spec, hyper={'ridge': ridge})

  return types.Learner((types.Phase('newton', begin=begin),), init, system)


def mlp(
  *,
  ridge: float = 10.0,
  hidden: tuple[int, ...] = (32,),
  learning_rate: float = 3e-3,
  steps: int = 300,
) -> types.Learner:
  """Returns Bradley-Terry with a small network of the features.

  Args:
    ridge: precision of the weights' prior, in answers.
    hidden: widths of the hidden layers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
  """
  reward = scalar.mlp(hidden=hidden)
  system = types.System(reward, population.population())

  def begin(state, data):
    count = common.examples(data.judgements)
    return state._replace(constants=common.Examples(count))

  def objective(params, people, state, batch, gather):
    del people, gather
    pair = reading.encoded(reward, params['reward'], batch.inputs)
    squares = sum(
      jnp.sum(leaf**2) for leaf in jax.tree.leaves(params['reward'])
    )
    ridge = 0.5 * state.hyper['ridge'] * squares / state.constants.examples
    difference = pair[:, 0, 0] - pair[:, 1, 0]
    nll = heads.bradley_terry(difference, batch.rows.label)
    return {'nll': common.mean(nll)}, {'ridge': ridge}, {}

  phase = types.Phase(
    'adam', begin, objective, common.adam(learning_rate, steps), steps=steps
  )

  def init(key, spec):
    return common.new_state(
      system, key, spec, hyper={'ridge': ridge},
      constants=common.Examples(jnp.ones(())),
    )  # fmt: skip

  return types.Learner((phase,), init, system)
