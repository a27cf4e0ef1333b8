"""MRM: base rewards and a start from which one step is a good fit."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops.heads import choices
from prm_jax.rewards import factorized, reading
from prm_jax.systems import base_rewards, episodes, states
from prm_jax.users import meta


def mrm(
  *,
  dim: int = 2,
  inner_steps: int = 1,
  rate: float = 1.0,
  tail: float = 0.5,
  softness: float = 0.5,
  ridge: float = 10.0,
  decay: float = 1.0,
  learning_rate: float = 3e-3,
  steps: int = 1000,
  spread: float = 0.3,
  capacity: int = 50,
) -> types.Learner:
  """Returns MRM with J = `dim` base rewards.

  Bases and start are learned through the inner steps, with more weight on
  people whose loss is in the upper tail:

      sum_u sigmoid((L_u - tau) / softness) L_u,
      tau = the (1 - tail) quantile of the batch's L_u

  Args:
    dim: J.
    inner_steps: a person's gradient steps.
    rate: of those steps, at first; learned.
    tail: share of people in the upper tail.
    softness: of the tail's edge, in nats; a large one weighs everybody alike.
    ridge: of the aggregate, in answers.
    decay: pull of the bases towards the aggregate, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    spread: of the bases' start around the aggregate, relative to its norm.
    capacity: answers kept of a person.

  References:
    MRM 2026, arXiv:2601.18731.

  Notes:
    The released code chooses its best epoch by the test users; here steps are
    fixed. Weights of people are rescaled to mean 1, so that the penalty keeps
    its meaning; as published, gradients flow through them.
  """
  reward = factorized.mixture(dim=dim)
  user = meta.meta(
    dim=dim, inner_steps=inner_steps, rate=rate, capacity=capacity
  )
  system = types.System(reward, user)
  size = episodes.Size()

  def objective(params, people, state, batch, gather):
    del people
    encoded = reading.encoded(reward, params['reward'], batch.inputs)
    episode = episodes.episode(encoded, state, batch.rows)
    infer = jax.vmap(user.infer, (0, None, 0))
    weights = infer(episode.key, params['user'], episode.known)
    score = jax.vmap(lambda x, w: reward.score(params['reward'], x, w[None]))
    output = score(episode.targets, weights)
    loss = choices.pair_nll(output, episode.label)
    total, count = episodes.term(loss, episode.mask)
    counted = (count > 0) & (jnp.asarray(batch.rows.mask) > 0)
    mean = total / jnp.maximum(count, 1.0)
    weight = robust(mean, counted, gather, tail=tail, softness=softness)
    moved = params['reward']['basis'] - state.constants.aggregate[:, None]
    scale = 0.5 * state.hyper['decay'] / state.constants.examples
    penalty = {'decay': scale * jnp.sum(moved**2)}
    return {'nll': (weight * total, count)}, penalty, {}

  def init(key, spec):
    constants = Constants(*episodes.blank(spec), jnp.zeros(spec.features))
    hyper = {'ridge': ridge, 'decay': decay}
    return states.new_state(system, key, spec, constants=constants, hyper=hyper)

  begin = functools.partial(_begin, dim, spread)
  phase = episodes.phase(
    size, objective, begin, learning_rate=learning_rate, steps=steps, whole=True
  )
  return types.Learner((phase,), init, system)


class Constants(NamedTuple):
  """As `episodes.Constants`, and the aggregate's weight `[D]`."""

  examples: types.Array
  order: episodes.Order
  aggregate: types.Array


def _begin(dim, spread, state, data):
  """Returns the state with bases near the aggregate, and who has which rows."""
  features = data.features(state.params['reward'])
  weight = base_rewards.aggregate_weight(
    features, data.judgements, data.index, state.hyper['ridge']
  )
  basis = base_rewards.spread_bases(state.key, weight, dim, spread)
  state = states.with_reward(state, {**state.params['reward'], 'basis': basis})
  constants = Constants(*episodes.begin(state, data), weight)
  return state._replace(constants=constants)


def robust(
  loss: types.Array,
  counted: types.Array,
  gather: types.Gather = lambda leaf: leaf,
  *,
  tail: float,
  softness: float,
) -> types.Array:
  """Returns everybody's weight `[P]`, of mean 1 over all who are counted.

  Args:
    loss: `[P]` mean of each person's targets.
    counted: `[P]` whether there are any.
    gather: of all devices' people.
    tail: share of people in the upper tail.
    softness: of its edge, in nats.
  """
  counted_loss = jnp.where(gather(counted), gather(loss), jnp.nan)
  threshold = jax.lax.stop_gradient(jnp.nanquantile(counted_loss, 1.0 - tail))
  weight = counted * jax.nn.sigmoid((loss - threshold) / softness)
  total = jax.lax.stop_gradient(gather(weight).sum())
  return weight * gather(counted).sum() / jnp.maximum(total, 1e-6)
