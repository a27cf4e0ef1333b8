"""One gradient step of a phase: mask, division and collectives in one place."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.runtime import trees

Metrics = Mapping[str, types.Mean]
Update = Callable[..., tuple[Any, Metrics]]


def make_update(phase: types.Phase, *, whole_people: bool = True) -> Update:
  """Returns `update(state, batch, *, axis=None) -> (state, metrics)`.

  The parameters that the phase trains descend

      sum_t sum_n m_n total_tn / sum_n m_n count_tn + sum(penalties)

  over the terms t of the objective, with the mask m and sums over the rows of
  all devices; penalties, functions of replicated parameters, count once. Rows
  of mask 0 add nothing; without any other row only the penalties are left.

  Args:
    phase: with an objective and an optimiser.
    whole_people: whether the table of people is taken whole, unsorted, which
      suits batches that hold everybody; else the batch's people are gathered,
      descend and are scattered back: the cost is the batch's, and who is
      absent does not move.

  Returns:
    The function; `axis` names the mapped axis of `shard_map` or `pmap` over
    which the rows are split. Metrics are `loss`, every term, penalty and
    auxiliary value, measured before the step.

  Raises:
    ValueError: the phase cannot take steps.
  """
  check(phase)

  def update(state, batch, *, axis=None):
    present, where, batch = in_batch(state.people, batch, whole_people, axis)
    gradient, sums = _gradient(phase, state, present, batch, axis)
    return _descend(phase, state, gradient, present, where), _metrics(sums)

  return update


def check(phase: types.Phase) -> None:
  """Raises ValueError where a phase cannot take the steps that it names."""
  if phase.objective is None or (phase.optimizer or phase.people) is None:
    raise ValueError(
      f'phase {phase.name!r} takes {phase.steps} steps and needs an objective '
      'and an optimizer'
    )
  if phase.whole and phase.accumulate > 1:
    raise ValueError(
      f'phase {phase.name!r} looks at the whole batch, and accumulates '
      f'{phase.accumulate} batches: take one of that size, accumulate=1'
    )


# --------------------------------------------------------------------- people


def in_batch(people, batch, whole=False, axis=None):
  """Returns the people of a batch, where they are, and the renumbered batch.

  Args:
    people: everybody.
    batch: rows of some of them.
    whole: whether everybody is returned, and the batch as it is.
    axis: mapped axis over which rows are split, or None.
  """
  if whole or not jax.tree.leaves(people.free):
    return types.Present(people.free, people.weight), None, batch
  user = jnp.asarray(batch.rows.user)
  everybody: Any = user
  first: Any = 0
  if axis is not None:
    everybody = jax.lax.all_gather(user, axis, tiled=True)
    first = jax.lax.axis_index(axis) * len(user)
  U = len(people.ids)
  # Beyond the batch's people, places are U: out of bounds, and dropped.
  where, place = jnp.unique(
    everybody, return_inverse=True, size=min(len(everybody), U), fill_value=U
  )
  place = jax.lax.dynamic_slice_in_dim(place, first, len(user))

  def take(leaf):
    return leaf.at[where].get(mode='clip')

  present = types.Present(jax.tree.map(take, people.free), take(people.weight))
  rows = batch.rows._replace(user=place.astype(user.dtype))
  return present, where, batch._replace(rows=rows)


# ------------------------------------------------------------------- gradient


class Sums(NamedTuple):
  """What the metrics are made of, summed over rows and devices.

  Attributes:
    terms: name -> masked total and count.
    penalties: name -> value.
    aux: name -> masked total and count.
  """

  terms: Mapping[str, tuple[types.Array, types.Array]]
  penalties: Mapping[str, types.Array]
  aux: Mapping[str, tuple[types.Array, types.Array]]


def _gradient(phase, state, present, batch, axis, counts=None, share=1.0):
  """Returns the gradient of trained parameters and people, and its sums.

  Args:
    phase: whose objective it is.
    state: of all parameters.
    present: people of the batch.
    batch: this device's rows.
    axis: mapped axis, or None.
    counts: of every term, over more rows than the batch's; its own, if None.
    share: of the penalties.
  """
  trained, kept = trees.split(state.params, phase.train)
  free = (trained, present.free if phase.people is not None else ())
  if axis is not None:
    # Gradients of replicated values are summed over devices behind our back
    # unless they are declared varying; the psum below then sums them once.
    free = jax.lax.pcast(free, axis, to='varying')

  def loss(free):
    params = trees.join(free[0], kept)
    people = present._replace(free=free[1]) if free[1] != () else present
    sums = _sums(phase, params, people, state, batch, axis)
    own = {name: count for name, (_, count) in sums.terms.items()}
    everywhere = own if counts is None else counts
    if axis is not None and counts is None:
      everywhere = jax.lax.psum(own, axis)
    mean = sum(
      total / jnp.where(everywhere[name] == 0, 1.0, everywhere[name])
      for name, (total, _) in sums.terms.items()
    )
    return mean + share * sum(sums.penalties.values()), sums

  gradient, sums = jax.grad(loss, has_aux=True)(free)
  if axis is not None:
    gradient, sums = jax.lax.psum((gradient, sums), axis)
  return gradient, sums


def _sums(phase, params, people, state, batch, axis) -> Sums:
  """Returns this device's sums; penalties are its share of them."""
  mask = jnp.asarray(batch.rows.mask, jnp.float32)
  gather, devices = _identity, 1
  if axis is not None:
    gather = functools.partial(_all_gather, axis)
    devices = jax.lax.axis_size(axis)
  if not phase.whole:
    gather = functools.partial(_refuse, phase.name)
  terms, penalties, aux = phase.objective(params, people, state, batch, gather)

  def masked(name, pair):
    for value in pair:
      if jnp.shape(value) != mask.shape:
        raise ValueError(
          f'the objective of phase {phase.name!r} returns {name!r} of shape '
          f'{jnp.shape(value)}, and the batch has rows {mask.shape}'
        )
    total, count = pair
    total = jnp.sum(jnp.where(mask != 0, mask * total, 0.0))
    return total, jnp.sum(jnp.where(mask != 0, mask * count, 0.0))

  return Sums(
    {name: masked(name, pair) for name, pair in terms.items()},
    {name: value / devices for name, value in penalties.items()},
    {name: masked(name, pair) for name, pair in aux.items()},
  )


def _identity(leaf):
  return leaf


def _all_gather(axis, leaf):
  return jax.lax.all_gather(leaf, axis, tiled=True)


def _refuse(name, leaf):
  raise ValueError(
    f'the objective of phase {name!r} gathers: say whole=True in the phase'
  )


def _metrics(sums: Sums) -> Metrics:
  means = {
    name: types.Mean(total, count)
    for name, (total, count) in {**sums.terms, **sums.aux}.items()
  }
  one = jnp.ones(())
  means |= {name: types.Mean(v, one) for name, v in sums.penalties.items()}
  if 'loss' not in means:  # of one term, its mean; of several, their sum
    parts = list(sums.terms.values())
    if len(parts) == 1:
      means['loss'] = types.Mean(*parts[0])
    else:
      loss = sum(t / jnp.where(c == 0, 1.0, c) for t, c in parts)
      means['loss'] = types.Mean(jnp.asarray(loss), one)
  return means


# -------------------------------------------------------------------- descent


def _descend(phase, state, gradient, present, where) -> types.TrainState:
  """Returns the state after a step; `where` are the batch's people, or None."""
  if phase.optimizer is not None:
    state = _descend_shared(phase, state, gradient[0])
  if phase.people is not None:
    people = _descend_people(phase, state, gradient[1], present, where)
    state = state._replace(people=people)
  return state._replace(step=state.step + 1)


def _descend_shared(phase, state, gradient):
  trained, kept = trees.split(state.params, phase.train)
  change, opt_state = phase.optimizer.update(
    gradient, state.opt_state[phase.name], trained
  )
  trained = optax.apply_updates(trained, change)
  state = state._replace(
    params=trees.join(trained, kept),
    opt_state={**state.opt_state, phase.name: opt_state},
  )
  if phase.average is None:
    return state
  share = 1.0 - phase.average
  return state._replace(
    average=optax.incremental_update(trained, state.average, share)
  )


def _descend_people(phase, state, gradient, present, where):
  """Returns the people after a step of those who are in the batch."""
  people = state.people
  moments = people.moments[phase.name]
  if where is not None:
    moments = jax.tree.map(lambda x: x.at[where].get(mode='clip'), moments)
  optimizer = optax.with_extra_args_support(phase.people)

  def one(gradient, moments, free):
    return optimizer.update(gradient, moments, free, step=state.step)

  change, moments = jax.vmap(one)(gradient, moments, present.free)
  free = optax.apply_updates(present.free, change)
  if where is not None:

    def put(old, new):
      return old.at[where].set(new, mode='drop')

    free = jax.tree.map(put, people.free, free)
    moments = jax.tree.map(put, people.moments[phase.name], moments)
  return people._replace(
    free=free, moments={**people.moments, phase.name: moments}
  )


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


# --------------------------------------------------------------- accumulation


class Accumulated(NamedTuple):
  """A step in the making.

  Attributes:
    state: which stays until the last batch is in.
    counts: of every term, over all batches of the step.
    gradient: summed so far.
    sums: behind the metrics, summed so far.
    seen: `[U]` 1 for people of these batches.
  """

  state: types.TrainState
  counts: Mapping[str, types.Array]
  gradient: types.PyTree
  sums: Sums
  seen: types.Array


def accumulation(phase: types.Phase) -> tuple[Update, Update, Update, Update]:
  """Returns the four programs of a step over several batches.

  `start(state, batch)` gives an empty `Accumulated`; `count(made, batch)` adds
  the terms' counts of a batch, all batches first, because every gradient is
  divided by the counts of all; `add(made, batch)` adds its gradient; and
  `finish(made, batch)` returns the state after the step, and metrics. The
  table of people is taken whole.

  Args:
    phase: with `accumulate`.
  """
  check(phase)

  def measure(state, batch, axis):
    present, _, batch = in_batch(state.people, batch, True, axis)
    sums = _sums(phase, state.params, present, state, batch, axis)
    return jax.lax.psum(sums, axis) if axis is not None else sums

  def start(state, batch, *, axis=None):
    sums = jax.tree.map(jnp.zeros_like, measure(state, batch, axis))
    trained, _ = trees.split(state.params, phase.train)
    free = state.people.free if phase.people is not None else ()
    zeros = jax.tree.map(jnp.zeros_like, (trained, free))
    counts = {name: count for name, (_, count) in sums.terms.items()}
    seen = jnp.zeros(len(state.people.ids))
    return Accumulated(state, counts, zeros, sums, seen), {}

  def count(made, batch, *, axis=None):
    sums = measure(made.state, batch, axis)
    counts = {
      name: made.counts[name] + count for name, (_, count) in sums.terms.items()
    }
    return made._replace(counts=counts), {}

  def add(made, batch, *, axis=None):
    state = made.state
    present, _, batch = in_batch(state.people, batch, True, axis)
    found = _gradient(
      phase, state, present, batch, axis, made.counts, 1.0 / phase.accumulate
    )
    gradient, sums = jax.tree.map(jnp.add, (made.gradient, made.sums), found)
    return made._replace(
      gradient=gradient, sums=sums, seen=_mark(made.seen, batch, axis)
    ), {}

  def finish(made, batch, *, axis=None):
    del batch, axis
    state, people = made.state, made.state.people
    present = types.Present(people.free, people.weight)
    after = _descend(phase, state, made.gradient, present, None)
    if phase.people is not None:
      after = after._replace(people=_only(made.seen, after.people, people))
    penalties = {
      name: value / phase.accumulate
      for name, value in made.sums.penalties.items()
    }
    return after, _metrics(made.sums._replace(penalties=penalties))

  return start, count, add, finish


def _mark(seen, batch, axis):
  """Returns who has been seen, with the people of a batch's rows that count."""
  if not hasattr(batch.rows, 'user'):
    return seen
  user = jnp.asarray(batch.rows.user)
  here = (jnp.asarray(batch.rows.mask) > 0).astype(seen.dtype)
  seen = seen.at[user].max(here)
  return seen if axis is None else jax.lax.pmax(seen, axis)


def _only(seen, new, old):
  """Returns the people, new where they were seen."""

  def choose(new, old):
    here = seen.reshape(-1, *(1,) * (new.ndim - 1)) > 0
    return jnp.where(here, new, old)

  return new._replace(
    free=jax.tree.map(choose, new.free, old.free),
    moments=jax.tree.map(choose, new.moments, old.moments),
  )


# --------------------------------------------------------------------- phases


def initialize(
  state: types.TrainState, phase: types.Phase, keep: tuple[str, ...] = ()
) -> types.TrainState:
  """Returns the state at step 0 of a phase.

  Every leaf is a new array, so that an update may be given it to overwrite
  while the caller, or a constant, still holds the old one.

  Args:
    state: after `phase.begin`.
    phase: which starts.
    keep: names of phases whose optimiser states stay: those of earlier
      rounds, this phase's too.
  """
  state = jax.tree.map(_fresh, state)
  trained, _ = trees.split(state.params, phase.train)
  opt_state = {n: s for n, s in state.opt_state.items() if n in keep}
  moments = {n: s for n, s in state.people.moments.items() if n in keep}
  if phase.optimizer is not None and phase.name not in opt_state:
    opt_state[phase.name] = phase.optimizer.init(trained)
  if phase.people is not None and phase.name not in moments:
    moments[phase.name] = jax.vmap(phase.people.init)(state.people.free)
  average: types.PyTree = ()
  if phase.average is not None:
    average = jax.tree.map(jnp.array, trained)
  return state._replace(
    step=jnp.int32(0),
    opt_state=opt_state,
    average=average,
    people=state.people._replace(moments=moments),
  )


def _fresh(leaf):
  # The explicit dtype strips weak types, which would compile a second program.
  return jnp.array(leaf, dtype=jnp.asarray(leaf).dtype)


def start_phase(
  state: types.TrainState, phase: types.Phase, data: types.Data
) -> types.TrainState:
  """Returns the state before the first step of a phase.

  Runs `phase.begin` on the host, then starts the optimiser states and counts
  steps from 0.

  Args:
    state: the end of the phase before.
    phase: to start.
    data: the whole training data.
  """
  return initialize(begin(state, phase, data), phase)


def begin(
  state: types.TrainState, phase: types.Phase, data: types.Data
) -> types.TrainState:
  """Returns what a phase's `begin` makes of the state.

  Raises:
    ValueError: `begin` returns a state of another structure, which no
      checkpoint could be restored into.
  """
  if phase.begin is None:
    return state
  after = phase.begin(state._replace(step=jnp.int32(0)), data)
  old, new = trees.paths(state), trees.paths(after)
  if old != new:
    gone, more = sorted(old - new), sorted(new - old)
    raise ValueError(
      f'`begin` of phase {phase.name!r} returns a state of another structure: '
      f'without {gone[:3] or "nothing"}, with {more[:3] or "nothing"} anew'
    )
  return after
