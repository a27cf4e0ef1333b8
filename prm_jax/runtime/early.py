"""One phase on batches, until rows that it does not see say to stop."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import people, trees
from prm_jax.runtime import update as updates


class Manager(Protocol):
  """What is needed of `checkpoint.Checkpoints`."""

  def latest(self) -> int | None:
    """Returns the last saved step."""

  def save(self, step: int, state: Any) -> None:
    """Saves a step, in the background."""

  def restore(self, like: Any) -> Any:
    """Returns what was saved of the last step."""

  def wait(self) -> None:
    """Returns when the last save is on disk."""


class Stopped(NamedTuple):
  """What was learned until there was nothing more to gain.

  Attributes:
    best: the parameters that the phase trains, None in the others' places, as
      they were when the validation loss was lowest.
    step: at which that was; 0 is the start.
    losses: of validation, nats a judgement: of the start, and after every
      stretch.
    trained: of training, the mean term of every step.
  """

  best: types.PyTree
  step: int
  losses: np.ndarray
  trained: np.ndarray


def fit(
  phase: types.Phase,
  state: types.TrainState,
  batch: Callable[[int], types.Batch],
  validation: Sequence[types.Batch],
  *,
  stretch: int,
  patience: int,
  term: str = 'nll',
  manager: Manager | None = None,
) -> Stopped:
  """Returns the best of a phase's steps, by the mean of a term on other rows.

  Steps end when `patience` validations in a row were not better than the best,
  or after `phase.steps`. A run goes on from what its manager has last saved,
  and ends where it would have ended: a batch follows from its step. On the
  mesh of `mesh.use` parameters, people and rows are split as in `train.fit`.

  Args:
    phase: with an objective and steps.
    state: before it; it is left as it is.
    batch: step -> its rows, and what they read.
    validation: rows that nothing trains on.
    stretch: steps between two validations.
    patience: validations that may be no better.
    term: of the objective, that is validated.
    manager: where every validation is saved; nowhere if None.

  Raises:
    FloatingPointError: the validation loss is not finite.
    ValueError: the phase has no steps, or there is nothing to validate on.
  """
  updates.check(phase)
  if not validation or stretch < 1 or patience < 1 or phase.steps < 1:
    raise ValueError(
      'steps, a stretch and a patience of 1 at least, and rows to validate on'
    )
  mesh, count = _several(meshes.in_use()), len(state.people.ids)
  state = compiling.laid_out(state, mesh)
  state = _padded(compiling.initializer(phase, mesh)(state), mesh)
  update = updates.make_update(phase, whole_people=False)
  take = compiling.compile_update(update, mesh, donate=True)
  measure = functools.partial(
    _measured, _measure(phase, term, mesh), validation
  )
  losses = np.full(-(-phase.steps // stretch) + 1, np.nan, np.float32)
  training = np.full(phase.steps, np.nan, np.float32)
  saved = _Saved(state, _trained(phase, state), losses, training)
  if manager is not None and manager.latest() is not None:
    saved = _restored(manager, phase, saved, count, mesh)
  else:
    losses[0] = measure(state, 0)
  while not _stops(saved.losses, patience):
    saved = _stretched(phase, saved, take, batch, stretch, term)
    loss = np.float32(measure(saved.state, int(saved.state.step)))
    done = _done(saved.losses)
    if loss < np.nanmin(saved.losses):
      saved = saved._replace(best=_trained(phase, saved.state))
    saved.losses[done] = loss
    if manager is not None:
      manager.save(int(saved.state.step), _kept(phase, saved, count))
  if manager is not None:
    manager.wait()
  done = _done(saved.losses)
  at = int(np.nanargmin(saved.losses))
  return Stopped(
    saved.best,
    min(at * stretch, phase.steps),
    saved.losses[:done],
    saved.trained[: min((done - 1) * stretch, phase.steps)],
  )


class _Saved(NamedTuple):
  """A run between two validations; losses to come are NaN."""

  state: types.TrainState
  best: types.PyTree
  losses: np.ndarray
  trained: np.ndarray


def _several(mesh: Mesh | None) -> Mesh | None:
  """Returns the mesh if it has more than one device."""
  return mesh if mesh is not None and mesh.size > 1 else None


def _padded(state, mesh: Mesh | None) -> types.TrainState:
  """Returns the state where programs on a mesh read it, with blank people."""
  if mesh is None:
    return state
  return compiling.laid_out(
    people.padded(state, meshes.row_devices(mesh)), mesh
  )


def _trained(phase, state) -> types.PyTree:
  """Returns a copy of what the phase trains, which no step overwrites."""
  return jax.tree.map(jnp.copy, trees.split(state.params, phase.train)[0])


def _done(losses: np.ndarray) -> int:
  """Returns how many validations there were."""
  return int(np.isfinite(losses).sum())


def _stops(losses: np.ndarray, patience: int) -> bool:
  done = _done(losses)
  return done == len(losses) or done - 1 - int(np.nanargmin(losses)) >= patience


def _stretched(phase, saved, take, batch, stretch, term) -> _Saved:
  """Returns the run a stretch of steps on."""
  first = int(saved.state.step)
  last = min(first + stretch, phase.steps)
  state, means = saved.state, []
  for step in range(first, last):
    state, metrics = take(state, batch(step))
    means.append(metrics[term])
  values = [float(of.total) / max(float(of.count), 1e-9) for of in means]
  saved.trained[first:last] = values
  return saved._replace(state=state)


def _measure(phase, term, mesh):
  """Returns the compiled sum and count of a term over a batch."""

  def measure(state, batch):
    present, _, batch = updates.in_batch(state.people, batch)
    terms, _, _ = phase.objective(
      state.params, present, state, batch, lambda leaf: leaf
    )
    mask = jnp.asarray(batch.rows.mask, jnp.float32)
    return tuple(
      jnp.sum(jnp.where(mask != 0, mask * of, 0.0)) for of in terms[term]
    )

  run = compiling.reader(measure, mesh)
  if mesh is None:
    return run
  return lambda state, batch: run(state, compiling.spread(batch, mesh))


def _measured(measure, validation, state, step: int) -> float:
  """Returns the mean over all batches.

  Raises:
    FloatingPointError: it is not finite.
  """
  sums = [measure(state, batch) for batch in validation]
  total, count = (math.fsum(map(float, of)) for of in zip(*sums, strict=True))
  found = total / max(count, 1e-9)
  if not math.isfinite(found):
    raise FloatingPointError(
      f'the validation loss is {found} after step {step}: lower the rates'
    )
  return found


def _kept(phase, saved: _Saved, count: int) -> dict[str, Any]:
  """Returns what is saved: nothing of the parameters that never move."""
  state = people.bare(saved.state, count)
  return {
    'trained': trees.split(state.params, phase.train)[0],
    'people': state.people,
    'moments': state.opt_state,
    'step': state.step,
    'best': saved.best,
    'validation': jnp.asarray(saved.losses, jnp.float32),
    'training': jnp.asarray(saved.trained, jnp.float32),
  }


def _restored(manager: Manager, phase, saved: _Saved, count, mesh) -> _Saved:
  """Returns the run as it was last saved, on whatever mesh that was."""
  like = jax.eval_shape(lambda: _kept(phase, saved, count))
  found = manager.restore(like if mesh is None else meshes.on_mesh(like, mesh))
  kept = trees.split(saved.state.params, phase.train)[1]
  state = saved.state._replace(
    params=trees.join(found['trained'], kept),
    people=found['people'],
    opt_state=found['moments'],
    step=found['step'],
  )
  validation, training = (
    np.array(found[name], np.float32) for name in ('validation', 'training')
  )
  return _Saved(_padded(state, mesh), found['best'], validation, training)
