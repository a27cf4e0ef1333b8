"""One gradient step of a phase: mask, division and collectives in one place."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from prm_jax import types

Metrics = Mapping[str, types.Mean]
Update = Callable[..., tuple[types.TrainState, Metrics]]


def make_update(phase: types.Phase) -> Update:
  """Returns `update(state, batch, *, axis=None) -> (state, metrics)`.

  With mask m, the shared parameters and the people's rows descend

      sum_n m_n per_example_n / sum_n m_n + sum(penalties)

  where both sums run over the rows of all devices and the penalties,
  functions of replicated parameters, count once. Rows of mask 0 add nothing;
  without any other row only the penalties are left.

  Args:
    phase: with an objective and an optimiser. `axis` of the result names the
      mapped axis of `shard_map` or `pmap` over which the rows are split.

  Returns:
    The function. Its metrics are `loss`, the mean of `per_example`, and each
    penalty and auxiliary value, measured before the step.

  Raises:
    ValueError: the phase has no objective or no optimiser.
  """
  if phase.objective is None or phase.optimizer is None:
    raise ValueError(
      f'phase {phase.name!r} takes {phase.steps} steps and needs an objective '
      'and an optimizer'
    )

  def update(state, batch, *, axis=None):
    free = (state.params, state.bank.rows)
    if axis is not None:
      # Gradients of replicated values are summed over devices behind our back
      # unless they are declared varying; the psum below then sums them once.
      free = jax.lax.pcast(free, axis, to='varying')
    loss = functools.partial(_loss, phase, state, batch, axis)
    gradient, sums = jax.grad(loss, has_aux=True)(free)
    if axis is not None:
      gradient, sums = jax.lax.psum((gradient, sums), axis)
    return _descend(phase.optimizer, state, gradient), _metrics(sums)

  return update


def _loss(phase, state, batch, axis, free):
  """Returns this device's part of the loss and the sums behind the metrics."""
  mask = jnp.asarray(batch.rows.mask, jnp.float32)
  per_example, penalties, aux = phase.objective(*free, state, batch)
  values = {'loss': per_example, **aux}
  for name, value in values.items():
    if value.shape != mask.shape:
      raise ValueError(
        f'the objective of phase {phase.name!r} returns {name!r} of shape '
        f'{value.shape}, and the batch has rows {mask.shape}'
      )
  sums = {
    name: jnp.sum(jnp.where(mask != 0, mask * value, 0.0))
    for name, value in values.items()
  }
  here, devices = jnp.sum(mask), 1
  everywhere = here
  if axis is not None:
    everywhere, devices = jax.lax.psum(here, axis), jax.lax.axis_size(axis)
  shares = {name: value / devices for name, value in penalties.items()}
  mean = sums['loss'] / jnp.where(everywhere == 0, 1.0, everywhere)
  return mean + sum(shares.values()), (sums, here, shares)


def _metrics(sums) -> Metrics:
  totals, count, penalties = sums
  metrics = {k: types.Mean(total, count) for k, total in totals.items()}
  once = {k: types.Mean(v, jnp.ones_like(v)) for k, v in penalties.items()}
  return metrics | once


def _descend(optimizer, state, gradient) -> types.TrainState:
  bank = state.bank
  params, opt_state = _apply(
    optimizer, gradient[0], state.opt_state, state.params
  )
  rows, moments = _apply(optimizer, gradient[1], bank.moments, bank.rows)
  return state._replace(
    step=state.step + 1,
    params=params,
    opt_state=opt_state,
    bank=bank._replace(rows=rows, moments=moments),
  )


def _apply(optimizer, gradient, opt_state, values):
  change, opt_state = optimizer.update(gradient, opt_state, values)
  return optax.apply_updates(values, change), opt_state


def repeat(update: Update, steps: int) -> Update:
  """Returns an update that takes `steps` steps on one batch in one program.

  Args:
    update: one step.
    steps: how many; the metrics gain a leading axis of that size.
  """

  def many(state, batch, *, axis=None):
    def one(state, _):
      return update(state, batch, axis=axis)

    return jax.lax.scan(one, state, None, length=steps)

  return many


def initialize(state: types.TrainState, phase: types.Phase) -> types.TrainState:
  """Returns the state at step 0 of a phase, with fresh optimiser states.

  Every leaf is a new array, so that an update may be given it to overwrite
  while the caller, or a frozen copy, still holds the old one.
  """
  state = jax.tree.map(_fresh, state)
  opt_state: types.PyTree = ()
  moments: types.PyTree = ()
  if phase.optimizer is not None:
    opt_state = phase.optimizer.init(state.params)
    moments = phase.optimizer.init(state.bank.rows)
  return state._replace(
    step=jnp.int32(0),
    opt_state=opt_state,
    bank=state.bank._replace(moments=moments),
  )


def _fresh(leaf):
  # The explicit dtype strips weak types, which would compile a second program.
  return jnp.array(leaf, dtype=jnp.asarray(leaf).dtype)


def start_phase(
  state: types.TrainState, phase: types.Phase, batch: types.Batch
) -> types.TrainState:
  """Returns the state before the first step of a phase.

  Runs `phase.begin` on the host, then starts the optimiser states and counts
  steps from 0.

  Args:
    state: the end of the phase before.
    phase: to start.
    batch: the whole training data.
  """
  if phase.begin is not None:
    state = phase.begin(state._replace(step=jnp.int32(0)), batch)
  return initialize(state, phase)
