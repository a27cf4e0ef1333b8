"""PAL: people's ideal points are mixtures of a few prototypes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.heads import assembled
from prm_jax.learners import lore
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import ideal_point
from prm_jax.systems import (
  base_rewards,
  likelihoods,
  objectives,
  optimizers,
  states,
)
from prm_jax.users import simplex


def pal(
  *,
  dim: int = 2,
  width: int = 16,
  prompt_features: int = 0,
  ridge: float = 10.0,
  decay: float = 10.0,
  strength: float = 1.0,
  learning_rate: float = 0.01,
  steps: int = 300,
  capacity: int = 50,
  backbone: Any = None,
  head: Any = None,
) -> types.Learner:
  """Returns PAL-A with K = `dim` prototypes, or PAL-B with prompt features.

  Item map, prototypes and everybody's weights on the simplex minimise the
  Bradley-Terry loss plus decay (|item map|^2 + |prototypes|^2) / 2. New
  people, and seen ones when they are scored, follow by mirror descent.

  Args:
    dim: K.
    width: of the item map.
    prompt_features: 0 for variant A, whose ideal point is a mixture of points;
      else how many of the last columns of the features describe the prompt,
      of which variant B's prototypes are maps.
    ridge: of the aggregate, in answers.
    decay: of item map and prototypes, in answers.
    strength: pull of a person towards the population, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
    head: `types.Head` or plain data, what the labels are for; Bradley-Terry
      choices if None.

  References:
    Chen et al. 2024 (PAL), arXiv:2406.08469.
  """
  points = ideal_point.ideal_point(
    dim=dim, width=width, prompt_features=prompt_features
  )
  user = simplex.simplex(dim=dim, capacity=capacity, strength=strength)
  system = types.System(
    trunks.under(points, backbone), user, head=assembled.given(head)
  )

  def objective(params, people, state, batch, gather):
    weights = jax.nn.softmax(people.free['log_weight'], -1)
    own = weights[batch.rows.user]
    terms = likelihoods.terms(system, params, people, batch, own, gather)
    points = params['reward']['item'], params['reward']['prototypes']
    scale = 0.5 * state.hyper['decay'] / state.constants.examples
    penalty = {'decay': scale * sum(jnp.sum(leaf**2) for leaf in points)}
    return terms, penalty, {}

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      blank={'log_weight': jnp.zeros(dim)},
      constants=states.Examples(jnp.ones(())),
      hyper={'ridge': ridge, 'decay': decay, 'strength': strength},
    )

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
    types.Phase('prior', begin=functools.partial(lore.population, system)),
  )
  return types.Learner(phases, init, system)


def _begin(head, state, data):
  """Returns the state at the aggregate, people apart on the simplex."""
  data = likelihoods.begun(head, data)
  features = data.features(state.params['reward'])
  weight = base_rewards.aggregate_weight(
    features, data.judgements, data.index, state.hyper['ridge']
  )
  state = states.with_reward(
    state, {**state.params['reward'], 'aggregate': weight}
  )
  free = state.people.free['log_weight']
  noise = jax.random.normal(jax.random.fold_in(state.key, 1), free.shape)
  state = states.with_free(state, {'log_weight': 0.5 * noise})
  count = objectives.examples(data.judgements)
  return state._replace(constants=states.Examples(count))
