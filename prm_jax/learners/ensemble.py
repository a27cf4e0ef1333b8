"""Several reward models of everybody, whose disagreement is uncertainty."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops.heads import choices
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import multiple, reading, scalar
from prm_jax.systems import objectives, optimizers, states
from prm_jax.users import population

_WEIGHTS = 0xB007  # folded into the seed, for the weights of rows


class Start(NamedTuple):
  """Constants of an ensemble.

  Attributes:
    examples: judgements that train.
    head: parameters of the members before the first step.
  """

  examples: types.Array
  head: types.PyTree


def ensemble(
  *,
  members: int = 5,
  ridge: float = 10.0,
  hidden: tuple[int, ...] = (32,),
  pull: float = 0.1,
  bootstrap: bool = False,
  learning_rate: float = 3e-3,
  steps: int = 300,
  backbone: Any = None,
  adapters: bool = False,
) -> types.Learner:
  """Returns E Bradley-Terry networks of the features, trained side by side.

      mean_e [ mean_n v_en NLL_en + ridge |w_e|^2 / (2 N)
               + pull mean_d (w_ed - start_ed)^2 ]

  over members e, each with a start of its own. v_en is 1, or, with
  `bootstrap`, a weight Exp(1) of the row's `example_id`: the same however rows
  are batched.

  Args:
    members: E.
    ridge: precision of each member's weights' prior, in answers.
    hidden: widths of the hidden layers; () for linear members.
    pull: towards the weights before the first step, so that what the data do
      not say stays as different as it started.
    bootstrap: whether members also see rows with different weights.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given. It is shared.
    adapters: whether each member has an adapter of its own of the backbone,
      which then trains 'adapter', rather than one that all share.

  Raises:
    ValueError: adapters without a backbone that trains one.

  References:
    Lakshminarayanan et al. 2017, arXiv:1612.01474; the pull as in Yang et al.
    2026 (RewardUQ), arXiv:2602.24040; the weights of Rubin 1981, The Bayesian
    bootstrap.

  Notes:
    RewardUQ has 20 members of two layers of 128 with ReLU, no ridge, a pull of
    0.1 and a penalty on the size of scores; members here are the aggregate's
    networks (GELU).
  """
  head = scalar.mlp(hidden=hidden)
  if adapters and backbone is None:
    raise ValueError('adapters need a backbone')
  if adapters:
    reward = multiple.adapted(head, members, backbone)
  else:
    reward = trunks.under(multiple.multiple(head, members), backbone)
  system = types.System(reward, population.population())

  def begin(state, data):
    count = objectives.examples(data.judgements)
    head = trunks.own(state.params['reward'])
    return state._replace(constants=Start(count, head))

  phase = types.Phase(
    'adam',
    begin,
    functools.partial(_objective, reward, members, bootstrap),
    steps=steps,
    **optimizers.trained(backbone, learning_rate, steps),
  )

  def init(key, spec):
    hyper = {'ridge': ridge, 'pull': pull}
    state = states.new_state(system, key, spec, hyper=hyper)
    head = trunks.own(state.params['reward'])
    return state._replace(constants=Start(jnp.ones(()), head))

  return types.Learner((phase,), init, system)


def row_weights(
  key: types.Key, example_id: types.Array, *, members: int
) -> types.Array:
  """Returns what each member weighs each row, `[B, E]`, of mean 1.

  Args:
    key: the run's seed.
    example_id: `[B]`, which alone decides a row's weights.
    members: E.

  References:
    Rubin 1981, The Bayesian bootstrap.

  Notes:
    Weights do not sum to the number of rows, as Rubin's do; of many rows they
    nearly do.
  """
  key = jax.random.fold_in(key, _WEIGHTS)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(example_id))
  return jax.vmap(lambda key: jax.random.exponential(key, (members,)))(keys)


def _objective(
  reward, members, bootstrap, params, people, state, batch, gather
):
  """The mean over members of Bradley-Terry, ridge and pull."""
  del people, gather
  pair = reading.encoded(reward, params['reward'], batch.inputs)
  margin = pair[:, 0, :, 0] - pair[:, 1, :, 0]
  label = jnp.broadcast_to(jnp.asarray(batch.rows.label)[:, None], margin.shape)
  nll = choices.bradley_terry(margin, label)
  if bootstrap:
    nll = nll * row_weights(state.key, batch.rows.example_id, members=members)
  start = jax.tree.leaves(state.constants.head)
  leaves = jax.tree.leaves(trunks.own(params['reward']))
  squares = sum(jnp.sum(leaf**2) for leaf in leaves) / members
  apart = sum(
    jnp.sum((leaf - old) ** 2) for leaf, old in zip(leaves, start, strict=True)
  )
  size = sum(leaf.size for leaf in leaves)
  penalties = {
    'ridge': 0.5 * state.hyper['ridge'] * squares / state.constants.examples,
    'pull': state.hyper['pull'] * apart / size,
  }
  return {'nll': objectives.mean(nll.mean(1))}, penalties, {}
