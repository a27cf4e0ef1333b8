"""MRM: base rewards and a start from which one step is a good fit."""

import functools

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.learners import common, episodes
from prm_jax.ops import heads
from prm_jax.rewards import factorized
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

  def objective(params, rows, state, batch):
    del rows
    encoded = reward.encode(params['reward'], batch.table)
    found = episodes.episode(size, encoded, state, batch.rows)
    weights = jax.vmap(user.infer, (0, None, 0))(
      found.key, params['user'], found.known
    )
    output = jax.vmap(
      lambda pairs, w: reward.score(params['reward'], pairs, w[None])
    )(found.targets, weights)
    loss = heads.pair_nll(output, found.label)
    loss = robust(loss, found.mask, tail=tail, softness=softness) * loss
    moved = params['reward']['basis'] - state.frozen[1][:, None]
    scale = 0.5 * state.hyper['decay'] / state.hyper['examples']
    penalty = {'decay': scale * jnp.sum(moved**2)}
    return episodes.per_example(size, loss), penalty, {}

  def init(key, spec):
    hyper = {'ridge': ridge, 'decay': decay, 'examples': 1.0}
    return common.new_state(system, key, spec, hyper=hyper)

  phase = episodes.phase(
    size, objective, learning_rate=learning_rate, steps=steps
  )
  phase = phase._replace(
    begin=functools.partial(_begin, dim, spread),
    collect=functools.partial(_collect, size),
  )
  return types.Learner(system, (phase,), init)


def _begin(dim, spread, state, batch):
  """Returns the state with bases near the aggregate, and who has which rows."""
  state = episodes.begin(state, batch)
  weight = common.aggregate_weight(batch, state.hyper['ridge'])
  state = common.with_reward(
    state, {'basis': common.spread_bases(state.key, weight, dim, spread)}
  )
  return state._replace(frozen=(state.frozen, weight))


def _collect(size, key, state, batch):
  """Returns rows of whole people; the index is the first frozen part."""
  return episodes.collect(
    size, key, state._replace(frozen=state.frozen[0]), batch
  )


def robust(
  loss: types.Array, mask: types.Array, *, tail: float, softness: float
) -> types.Array:
  """Returns everybody's weight `[P, 1]`, of mean 1.

  Args:
    loss: `[P, T]` of each target.
    mask: `[P, T]` 1 for a target that is there.
    tail: share of people in the upper tail.
    softness: of its edge, in nats.
  """
  count = mask.sum(1)
  mean = jnp.sum(mask * loss, 1) / jnp.maximum(count, 1.0)
  there = (count > 0).astype(loss.dtype)
  known = jnp.where(there > 0, mean, jnp.nan)
  threshold = jax.lax.stop_gradient(jnp.nanquantile(known, 1.0 - tail))
  weight = there * jax.nn.sigmoid((mean - threshold) / softness)
  total = jax.lax.stop_gradient(weight.sum())
  return (weight * there.sum() / jnp.maximum(total, 1e-6))[:, None]
