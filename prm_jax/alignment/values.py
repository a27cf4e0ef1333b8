"""A value model of base rewards, trained by TD(lambda) on a frozen policy."""

import functools

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.models import networks
from prm_jax.ops import decoding


def fit(
  key: types.Key,
  states: types.Array,
  rewards: types.Array,
  mask: types.Array,
  *,
  hidden: tuple[int, ...] = (64,),
  decay: float = 0.95,
  learning_rate: float = 3e-3,
  steps: int = 1000,
) -> types.PyTree:
  """Returns parameters of V, trained on texts that the frozen policy wrote.

  Args:
    key: of the start.
    states: `[N, T, H]` features of the text before each token: a frozen
      model's hidden states.
    rewards: `[N, T, J]` of the base rewards after each token, usually zero
      but at the last.
    mask: `[N, T]` 1 for a token, 0 for padding after it.
    hidden: widths of the hidden layers.
    decay: lambda of TD(lambda).
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps on all texts.

  References:
    Han et al. 2024 (VAS), arXiv:2405.06639: lambda 0.95, discount 1.
  """
  network = _network(hidden, rewards.shape[-1])
  params = network.init(key, states[:1, :1])
  schedule = optax.cosine_decay_schedule(learning_rate, steps, 0.01)
  optimizer = optax.adam(schedule)
  returns = functools.partial(decoding.td_lambda, decay=decay)

  def loss(params):
    values = network.apply(params, states)
    targets = jax.vmap(returns, (-1, -1, None), -1)(values, rewards, mask)
    squared = jnp.sum((values - targets) ** 2, -1)
    return jnp.sum(mask * squared) / jnp.sum(mask)

  def step(carry, _):
    params, state = carry
    gradient = jax.grad(loss)(params)
    change, state = optimizer.update(gradient, state, params)
    return (optax.apply_updates(params, change), state), None

  run = jax.jit(lambda c: jax.lax.scan(step, c, None, length=steps)[0])
  return run((params, optimizer.init(params)))[0]


def apply(
  params: types.PyTree,
  states: types.Array,
  *,
  hidden: tuple[int, ...],
  bases: int,
) -> types.Array:
  """Returns values `[..., J]` of states `[..., H]`.

  Args:
    params: from `fit`.
    states: features of texts.
    hidden: as in `fit`.
    bases: J.
  """
  return jnp.asarray(_network(hidden, bases).apply(params, states))


def _network(hidden, bases):
  return networks.MLP(widths=(*hidden, bases))
