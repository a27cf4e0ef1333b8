"""Fitting: the phases of a learner in order, resumable."""

import functools
import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import Mesh

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import update as updates
from prm_jax.runtime import writers

_COLLECT = 0xC011  # keeps the keys of `collect` apart from an objective's


class Manager(Protocol):
  """What `fit` needs of `checkpoint.Checkpoints`."""

  def latest(self) -> int | None:
    """Returns the last saved step."""

  def save(self, step: int, state: Any, data: Any = None) -> None:
    """Saves a step, in the background."""

  def restore(
    self, like: Any, data: Any = None, step: int | None = None
  ) -> Any:
    """Returns the state of a step, and moves `data` there."""

  def wait(self) -> None:
    """Returns when the last save is on disk."""


class Position(NamedTuple):
  """Where a run is: phase, and steps taken in it."""

  phase: int
  step: int


def position(phases: Sequence[types.Phase], step: int) -> Position:
  """Returns the phase and its step that a run's step number stands for.

  A phase counts its steps, or one if it has none but a beginning.

  Raises:
    ValueError: the phases have fewer steps.
  """
  for index, phase in enumerate(phases):
    length = max(phase.steps, 1)
    if step <= length:
      return Position(index, min(step, phase.steps))
    step -= length
  raise ValueError(f'the learner has {step} steps less than the checkpoint')


def fit(
  learner: types.Learner | types.PolicyLearner,
  state: types.TrainState,
  batches: types.Rows | Iterator[types.Rows],
  *,
  source: types.Batch,
  hyper: Mapping[str, float] | None = None,
  mesh: Mesh | None = None,
  how: compiling.How = 'jit',
  manager: Manager | None = None,
  save_every: int = 1000,
  restore_step: int | None = None,
  writer: writers.Writer | None = None,
  log_every: int = 100,
  progress: bool = False,
) -> types.TrainState:
  """Returns the state after all phases of a learner.

  Compiled updates are kept with the learner, so that a second fit of the same
  learner and shapes compiles nothing. With the same rows at every step, whole
  stretches of steps run as one program.

  Args:
    learner: to fit.
    state: from `learner.init`; it is left as it is.
    batches: the rows of every step, or an iterator with those of each (a
      grain iterator where there are checkpoints, for its position is saved).
    source: the whole training data; its table serves every step.
    hyper: searched numbers, in place of the learner's own.
    mesh: devices; one, if None.
    how: 'jit', 'shard_map' or 'pmap'.
    manager: `checkpoint.Checkpoints`. If it holds a step, the run goes on from
      there: state, phase and data position.
    save_every: steps between checkpoints; the end of a phase is always saved.
    restore_step: the checkpoint to go on from; the latest, if None.
    writer: of the training figures.
    log_every: steps that one written figure averages.
    progress: whether to show a bar.

  Raises:
    FloatingPointError: the loss is not finite.
    ValueError: an iterator ends early, or cannot be checkpointed; a number of
      `hyper` is none of the learner's.
    KeyboardInterrupt: on SIGINT, as on SIGTERM, after a checkpoint is saved.
  """
  if manager is None and restore_step is not None:
    raise ValueError(f'restore_step={restore_step} needs a manager')
  state = with_hyper(state, hyper or {})
  constant = isinstance(batches, types.Rows)
  if manager is not None and not constant and not hasattr(batches, 'get_state'):
    raise ValueError(
      f'{type(batches).__name__} has no get_state, and a checkpoint must hold '
      "the data's position: give a grain iterator"
    )
  trainer = _trainer(learner, mesh, how)
  with (
    _Interrupts(manager is not None) as interrupts,
    tqdm.tqdm(total=trainer.length, disable=not progress) as bar,
  ):
    log = _Log(writer, log_every)
    run = _Run(trainer, source, batches, manager, save_every, log, bar)
    return run.all_phases(state, restore_step, interrupts)


def with_hyper(
  state: types.TrainState, hyper: Mapping[str, float]
) -> types.TrainState:
  """Returns the state with searched numbers in place of the learner's own.

  Raises:
    ValueError: the learner has no such number: it would never be read.
  """
  unknown = sorted(set(hyper) - set(state.hyper))
  if unknown:
    raise ValueError(
      f'{unknown} are not searched numbers of this learner: it has '
      f'{sorted(state.hyper)}'
    )
  given = {name: jnp.float32(value) for name, value in hyper.items()}
  return state._replace(hyper={**state.hyper, **given})


@functools.lru_cache(maxsize=32)
def _trainer(
  learner: types.Learner | types.PolicyLearner,
  mesh: Mesh | None,
  how: compiling.How,
) -> '_Trainer':
  return _Trainer(learner, mesh, how)


class _Trainer:
  """A learner's compiled programs."""

  def __init__(self, learner, mesh, how):
    self.phases = learner.phases
    self.length = sum(max(phase.steps, 1) for phase in self.phases)
    self._mesh, self._how = mesh, how
    self._programs: dict[tuple[int, int], compiling.Compiled] = {}
    self._starts = [
      jax.jit(functools.partial(updates.initialize, phase=phase))
      for phase in self.phases
    ]

  def start(self, state, index, source):
    """Returns the state before the first step of phase `index`."""
    phase = self.phases[index]
    state = state._replace(phase=jnp.int32(index), step=jnp.int32(0))
    if phase.begin is not None:
      state = phase.begin(state, source)
    return self._starts[index](state)

  def like(self, state, index):
    """Returns the shapes of a state in phase `index`."""
    return jax.eval_shape(self._starts[index], state)

  def steps(self, index, count):
    """Returns the program of `count` steps on one batch."""
    if (index, count) not in self._programs:
      update = updates.make_update(self.phases[index])
      if count > 1:
        update = updates.repeat(update, count)
      self._programs[index, count] = compiling.compile_update(
        update, self._mesh, self._how, donate=True
      )
    return self._programs[index, count]


class _Run:
  """One call of `fit`."""

  def __init__(self, trainer, source, batches, manager, every, log, bar):
    self.trainer, self.source = trainer, source
    self.table = jnp.asarray(source.table)
    self.rows: types.Rows | None = None
    self.data: Any = None
    if isinstance(batches, types.Rows):
      self.rows = jax.tree.map(jnp.asarray, batches)
    else:
      self.data = batches
    self.manager, self.every, self.log, self.bar = manager, every, log, bar
    self.done = 0  # steps of the whole run
    self.saved: int | None = None

  def all_phases(self, state, restore_step, interrupts):
    state, place = self._resume(state, restore_step)
    for index in range(place.phase, len(self.trainer.phases)):
      step = place.step
      if self.done <= self._before(index):  # not begun yet
        state, step = self.trainer.start(state, index, self.source), 0
        if self.trainer.phases[index].steps == 0:
          self._advance(1)
      state = self._phase(state, index, step, interrupts)
      if interrupts.signal:
        break
    if self.manager:
      self.manager.wait()
    return state

  def _phase(self, state, index, step, interrupts):
    phase = self.trainer.phases[index]
    while step < phase.steps and not interrupts.signal:
      before = self.done
      state = self._stretch(state, index, step)
      step += self.done - before
      if self.done % self.every == 0:
        self._save(state)
    self.log.drain(end=step == phase.steps)
    if self.done > self._before(index):
      self._save(state)
    return state

  def _before(self, index):
    return sum(max(phase.steps, 1) for phase in self.trainer.phases[:index])

  def _advance(self, steps):
    self.done += steps
    self.bar.update(steps)

  def _resume(self, state, restore_step):
    step = restore_step
    if self.manager and step is None:
      step = self.manager.latest()
    if step is None:
      return state, Position(0, 0)
    place = position(self.trainer.phases, step)
    like = self.trainer.like(state, place.phase)
    state = self.manager.restore(like, self.data, step)
    self.saved = step
    self._advance(step)
    self.log.resume(step)
    return state, place

  def _save(self, state):
    if self.manager and self.done != self.saved:
      self.log.drain()
      self.manager.save(self.done, state, self.data)
      self.saved = self.done

  def _stretch(self, state, index, step):
    """Returns the state some steps on: one, or as many as go together."""
    phase = self.trainer.phases[index]
    count = 1
    if self.rows is not None and phase.collect is None:
      count = phase.steps - step
      if self.manager:
        count = min(count, self.every - self.done % self.every)
    batch = types.Batch(self.table, self._rows(phase, step))
    collected = {}
    if phase.collect is not None:
      batch, collected = phase.collect(_collect_key(state), state, batch)
    program = self.trainer.steps(index, count)
    state, metrics = program(state, batch)
    self.log.add(phase.name, self.done, step, {**metrics, **collected})
    self._advance(count)
    return state

  def _rows(self, phase, step):
    if self.rows is not None:
      return self.rows
    try:
      return next(self.data)
    except StopIteration:
      raise ValueError(
        f'the batches ended at step {step} of {phase.steps} of phase '
        f'{phase.name!r}: repeat the data'
      ) from None


def _collect_key(state):
  key = jax.random.fold_in(state.key, _COLLECT)
  return jax.random.fold_in(jax.random.fold_in(key, state.phase), state.step)


class _Log:
  """Training figures, fetched after later steps have been dispatched."""

  def __init__(self, writer, every):
    self.writer, self.every = writer, every
    self._pending: list[tuple[str, int, int, Mapping]] = []
    self._window: dict[str, types.Mean] = {}

  def resume(self, step):
    if self.writer is not None:
      self.writer.truncate(step)

  def add(self, phase, done, step, metrics):
    """Keeps the figures of what follows `done` steps, the phase's `step`."""
    if len(self._pending) >= self.every:
      self.drain()
    self._pending.append((phase, done, step, metrics))

  def drain(self, end=False):
    """Fetches what is pending; writes full windows, at a phase's end all."""
    pending, self._pending = self._pending, []
    for phase, done, step, metrics in pending:
      means = jax.tree.map(np.atleast_1d, jax.device_get(metrics))
      _check_finite(phase, step, means['loss'].total)
      for i in range(len(means['loss'].total)):
        self._merge(jax.tree.map(lambda leaf: leaf[i].item(), means))  # noqa: B023
        if (done + i + 1) % self.every == 0:
          self._flush(phase, done + i + 1)
    if end and pending and self._window:
      self._flush(phase, done + i + 1)

  def _merge(self, means):
    for name, mean in means.items():
      old = self._window.get(name)
      self._window[name] = mean if old is None else old.merge(mean)

  def _flush(self, phase, step):
    window, self._window = self._window, {}
    if self.writer is not None:
      values = {
        name: mean.compute() if mean.count else math.nan
        for name, mean in window.items()
      }
      self.writer.write(step, phase, values)


def _check_finite(phase, step, total):
  bad = np.flatnonzero(~np.isfinite(total))
  if len(bad):
    raise FloatingPointError(
      f'the loss is {total[bad[0]]} in phase {phase!r} at step '
      f'{step + int(bad[0])}: lower the learning rate, or look for features '
      'that are not finite'
    )


class _Interrupts:
  """Turns SIGINT and SIGTERM into a request to stop after the current step.

  The signal is raised again on the way out; a second one is not caught.
  """

  def __init__(self, active):
    main = threading.current_thread() is threading.main_thread()
    self._active = active and main
    self._old: dict[int, Any] = {}
    self.signal: int | None = None

  def __enter__(self):
    if self._active:
      for number in (signal.SIGINT, signal.SIGTERM):
        self._old[number] = signal.signal(number, self._note)
    return self

  def _note(self, number, frame):
    del frame
    self.signal = number
    self._restore()

  def _restore(self):
    for number, handler in self._old.items():
      signal.signal(number, handler)

  def __exit__(self, *error):
    self._restore()
    if self.signal is not None:
      signal.raise_signal(self.signal)
      raise SystemExit(128 + self.signal)
