"""Fitting: the phases of a learner in order, resumable."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import tqdm
from jax.sharding import Mesh

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import interrupts, logs, pace, people, processes, writers
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import start as starts
from prm_jax.runtime import trainer as trainers

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
  """Where a run is: round, phase, and steps taken in it."""

  round: int
  phase: int
  step: int


def schedule(learner: types.Learner) -> list[tuple[int, int]]:
  """Returns (round, phase) of everything that a learner runs, in order.

  Raises:
    ValueError: `first` is no phase, or there is no round.
  """
  count = len(learner.phases)
  if not 0 <= learner.first < max(count, 1) or learner.rounds < 1:
    raise ValueError(
      f'phases[{learner.first}:] of {count} phases, {learner.rounds} times: '
      'name a phase, and at least one round'
    )
  once = [(0, index) for index in range(learner.first)]
  return once + [
    (round_, index)
    for round_ in range(learner.rounds)
    for index in range(learner.first, count)
  ]


def length(learner: types.Learner) -> int:
  """Returns the steps of a whole run; a beginning alone counts one."""
  return sum(
    max(learner.phases[index].steps, 1) for _, index in schedule(learner)
  )


def steps(learner: types.Learner) -> int:
  """Returns how many steps a whole run descends."""
  return sum(learner.phases[index].steps for _, index in schedule(learner))


def finished(
  learner: types.Learner, state: types.TrainState
) -> types.TrainState:
  """Returns the shapes of the state after the last phase.

  Args:
    learner: whose phases they are.
    state: from `start`.
  """
  trainer = _trainer(learner, None, 'jit')
  return trainer.like(state, trainer.order[-1])


def started(
  learner: types.Learner, state: types.TrainState, index: int
) -> types.TrainState:
  """Returns the shapes of the state before the first step of a phase.

  Args:
    learner: whose phases they are.
    state: from `start`, or its shapes.
    index: of the phase, in its first round.
  """
  return _trainer(learner, None, 'jit').like(state, (0, index))


def position(learner: types.Learner, step: int) -> Position:
  """Returns the round, phase and its step that a run's step stands for.

  A phase counts its steps, or one if it has none but a beginning.

  Raises:
    ValueError: the phases have fewer steps.
  """
  for round_, index in schedule(learner):
    phase = learner.phases[index]
    long = max(phase.steps, 1)
    if step <= long:
      return Position(round_, index, min(step, phase.steps))
    step -= long
  raise ValueError(f'the learner has {step} steps less than the checkpoint')


def fit(
  learner: types.Learner,
  data: types.Batch,
  *,
  key: types.Key,
  spec: types.Spec,
  hyper: Mapping[str, float] | None = None,
  given: Mapping[str, Any] | None = None,
  mesh: Mesh | None = None,
  **options: Any,
) -> types.TrainState:
  """Returns the state after all phases of a learner.

  Args:
    learner: to fit.
    data: the whole training data.
    key: the run's seed.
    spec: sizes; `judgements` are counted here.
    hyper: searched numbers, in place of the learner's own.
    given: path of a leaf of the state -> array, or `index -> np.ndarray`,
      which reads a part of it: pretrained weights, warm starts, references.
    mesh: devices; that of `mesh.use`, or one, if None.
    **options: of `go_on`.

  Raises:
    ValueError: as `start` and `go_on` say.
    FloatingPointError: the loss is not finite.

  Examples:
    >>> from prm_jax import registry, toys
    >>> world = toys.judgements()  # 6 people, 5 features
    >>> learner = registry.build('learner', {'kind': 'hierarchical'})
    >>> state = fit(learner, world.data, key=jax.random.key(0), spec=world.spec)
    >>> state.params['user'].mean.shape  # what the population likes
    (5,)
  """
  mesh = mesh or meshes.in_use()
  spec = spec._replace(judgements=len(data.rows.mask))
  state = starts.start(
    learner, key=key, spec=spec, hyper=hyper, given=given, mesh=mesh
  )
  return go_on(learner, state, data, mesh=mesh, **options)


def go_on(
  learner: types.Learner,
  state: types.TrainState,
  data: types.Batch,
  *,
  batches: Iterator[types.Batch] | None = None,
  parts: bool = False,
  mesh: Mesh | None = None,
  how: compiling.How = 'jit',
  manager: Manager | None = None,
  save_every: int = 1000,
  restore_step: int | None = None,
  writer: writers.Writer | None = None,
  log_every: int = 100,
  paced: bool = False,
  profile: Path | None = None,
  progress: bool = False,
) -> types.TrainState:
  """Returns the state after all phases of a learner, from a given state.

  Compiled updates are kept with the learner, so that a second fit of the same
  learner and shapes compiles nothing. With the same rows at every step, whole
  stretches of steps run as one program.

  Args:
    learner: to fit.
    state: from `start`; it is left as it is.
    data: the whole training data; its values serve every step.
    batches: an iterator with the rows of each step (a grain iterator where
      there are checkpoints, for its position is saved); all rows at every
      step, if None. A batch without values is of those of the data.
    parts: whether each process's batches are its own part of every step's
      rows, see `mesh.own_rows`; else they are whole, and alike in all.
    mesh: devices; that of `mesh.use`, or one, if None. Where they are of
      several processes, all call this at once; the first writes figures.
    how: 'jit', 'shard_map' or 'pmap'.
    manager: `checkpoint.Checkpoints`. If it holds a step, the run goes on from
      there: state, round, phase and data position.
    save_every: steps between checkpoints; the end of a phase is always saved,
      outside rounds.
    restore_step: the checkpoint to go on from; the latest, if None.
    writer: of the training figures.
    log_every: steps that one written figure averages.
    paced: whether figures say how fast steps are, see `pace.Clock.fetched`; the
      first counts compiling.
    profile: a folder for a trace of some steps, after the programs of the first
      are compiled, which TensorBoard and Perfetto show; none if None. Until it
      is made, every step is a program of its own.
    progress: whether to show a bar.

  Raises:
    FloatingPointError: the loss is not finite.
    ValueError: an iterator ends early, or cannot be checkpointed; an index
      points outside the texts; nothing trains the people.
    KeyboardInterrupt: on SIGINT, as on SIGTERM, after a checkpoint is saved.
  """
  if manager is None and restore_step is not None:
    raise ValueError(f'restore_step={restore_step} needs a manager')
  mesh, constant = mesh or meshes.in_use(), batches is None
  if manager is not None and not constant and not hasattr(batches, 'get_state'):
    raise ValueError(
      f'{type(batches).__name__} has no get_state, and a checkpoint must hold '
      "the data's position: give a grain iterator"
    )
  several = _of_several(learner, mesh, how)
  if several and not processes.first():
    writer, progress = None, False
  starts.check(learner, state, data)
  state = starts.weighed(state, data)
  trainer = _trainer(learner, mesh, how)
  with (
    interrupts.Interrupts(manager is not None, several=several) as caught,
    tqdm.tqdm(total=trainer.length, disable=not progress) as bar,
  ):
    clock = pace.Clock() if paced else None
    log = logs.Log(writer, log_every, clock)
    run = _Run(trainer, data, batches, manager, save_every, log, bar)
    run.parts = parts
    with pace.Trace(profile, writes=processes.first()) as run.trace:
      return run.all_phases(state, restore_step, caught)


def _of_several(learner, mesh, how):
  """Returns whether several processes share the fit.

  Raises:
    ValueError: they cannot share it.
  """
  if not processes.share(mesh):
    return False
  processes.check(mesh)
  if how != 'jit':
    raise ValueError(f'how={how!r}: several processes share a fit under jit')
  for phase in learner.phases:
    if phase.collect is not None:
      raise ValueError(
        f'phase {phase.name!r} collects on the host, which several processes '
        'cannot share yet: take the devices of one'
      )
  return True


@functools.lru_cache(maxsize=32)
def _trainer(
  learner: types.Learner, mesh: Mesh | None, how: compiling.How
) -> trainers.Trainer:
  return trainers.Trainer(learner, mesh, how, schedule(learner))


class _Run:
  """One call of `go_on`."""

  def __init__(self, trainer, data, batches, manager, every, log, bar):
    self.trainer, self.batches = trainer, batches
    self.data = data
    # Once: every step reads the values, and all rows if they are constant.
    self.whole = compiling.placed(
      data, trainer.mesh, trainer.how, rows=batches is None
    )
    self.value = None if data.inputs is None else self.whole.inputs.value
    self.people = 0
    self.read: Any = None  # what is kept, of which phase, and its value
    self.manager, self.every, self.log, self.bar = manager, every, log, bar
    self.done = 0  # steps of the whole run
    self.round = 0  # on the host: to ask the state would wait for its step
    self.saved: int | None = None
    self.trace = pace.Trace(None)
    self.parts = False  # whether batches are this process's own rows

  def _bare(self, state):
    """Returns the state without people who are padding."""
    return people.bare(state, self.people)

  def _padded(self, state):
    """Returns the state as programs on a mesh take it."""
    mesh = self.trainer.mesh
    if mesh is None or self.trainer.how != 'jit':
      return state
    return people.padded(state, meshes.row_devices(mesh))

  def _seen(self):
    """Returns the whole data as a phase's beginning sees them."""
    inputs, trainer = self.whole.inputs, self.trainer

    def features(params):
      if trainer.features is None:
        return inputs.value
      return trainer.features(params, inputs._replace(index=None))

    def encoded(params):
      return trainer.encode(params, features(params))

    rows = self.data
    if trainer.mesh is not None and self.batches is None:
      rows = self.whole  # where every device has its own rows already
    elif trainer.mesh is not None:  # so that every device sums its own rows
      rows = compiling.placed(rows, trainer.mesh, trainer.how, rows=True)
    if processes.share(trainer.mesh):  # whole, for beginnings that read them
      rows = self.data if inputs is None else self.data.over(None)
      rows = processes.put(rows, meshes.whole(trainer.mesh))
    index = None if inputs is None else rows.inputs.index
    return types.Data(rows.rows, index, self.people, features, encoded)

  def all_phases(self, state, restore_step, interrupts):
    self.people = len(state.people.ids)
    state, place = self._resume(state, restore_step)
    order = self.trainer.order
    for number, (round_, index) in enumerate(order):
      if (round_, index) < (place.round, place.phase):
        continue
      step = place.step if (round_, index) == place[:2] else 0
      if self.done <= self._before(number):  # not begun yet
        seen = self._seen()
        if self.read is not None and self.read[0][1] is not None:
          self.read = None  # of another phase or round
        state = self.trainer.start(self._bare(state), (round_, index), seen)
        step = 0
        if self.trainer.phases[index].steps == 0:
          self._advance(1)
      state = self._phase(state, number, step, interrupts)
      if interrupts.signal:
        break
    if self.manager:
      self._save(state)
      self.manager.wait()
    return self._bare(state)

  def _phase(self, state, number, step, interrupts):
    self.round, index = self.trainer.order[number]
    phase = self.trainer.phases[index]
    while step < phase.steps and not interrupts.asked():
      before = self.done
      state = self._stretch(state, index, step)
      step += self.done - before
      if self.done % self.every == 0:
        self._save(state)
    self.log.drain(end=step == phase.steps)
    inside = self.trainer.learner.rounds > 1
    if self.done > self._before(number) and (interrupts.signal or not inside):
      self._save(state)
    return state

  def _before(self, number):
    return sum(
      max(self.trainer.phases[index].steps, 1)
      for _, index in self.trainer.order[:number]
    )

  def _advance(self, steps):
    self.done += steps
    self.bar.update(steps)

  def _resume(self, state, restore_step):
    step = restore_step
    if self.manager and step is None:
      step = self.manager.latest()
    if step is None:
      return state, Position(0, 0, 0)
    place = position(self.trainer.learner, step)
    like = self.trainer.like(state, (place.round, place.phase))
    if self.trainer.mesh is not None:
      like = meshes.on_mesh(like, self.trainer.mesh)
    state = self.manager.restore(like, self.batches, step)
    self.saved = step
    self._advance(step)
    self.log.resume(step)
    return state, place

  def _save(self, state):
    if self.manager and self.done != self.saved:
      self.log.drain()
      self.log.flush()
      self.manager.save(self.done, self._bare(state), self.batches)
      self.saved = self.done

  def _stretch(self, state, index, step):
    """Returns the state some steps on: one, or as many as go together."""
    phase = self.trainer.phases[index]
    if phase.accumulate > 1:
      return self._accumulated(state, index, step)
    count = 1
    whole = self.batches is None and phase.collect is None
    if whole and not self.trace.wanted:
      count = phase.steps - step
      if self.manager:
        count = min(count, self.every - self.done % self.every)
    batch, collected = self._batch(state, phase, step)
    batch = self._read(state, index, batch)
    program = self.trainer.steps(index, count, self.batches is None)
    self.trace.step()
    state, metrics = program(self._padded(state), batch)
    self._count(state, index, batch, count)
    self.log.add(phase.name, self.done, step, {**metrics, **collected})
    self._advance(count)
    return state

  def _count(self, state, index, batch, count=1):
    """Counts what steps have read, where somebody asks how fast they are."""
    if self.log.clock is not None:
      moved = self.trainer.moved(index, state.params)
      self.log.clock.step(batch, pace.products(state.params, moved), count)

  def _accumulated(self, state, index, step):
    """Returns the state after a step over several batches."""
    phase = self.trainer.phases[index]
    found = [
      self._batch(state, phase, step, number)
      for number in range(phase.accumulate)
    ]
    found = [(self._read(state, index, b), means) for b, means in found]
    begin, count, add, finish = self.trainer.accumulation(index)
    self.trace.step()
    made, _ = begin(self._padded(state), found[0][0])
    for program in (count, add):
      for batch, _ in found:
        made, _ = program(made, batch)
    state, metrics = finish(made, found[-1][0])
    for batch, _ in found:
      self._count(state, index, batch)
    collected: dict[str, types.Mean] = {}
    for _, means in found:
      for name, mean in means.items():
        old = collected.get(name)
        collected[name] = mean if old is None else old.merge(mean)
    self.log.add(phase.name, self.done, step, {**metrics, **collected})
    self._advance(1)
    return state

  def _read(self, state, index, batch):
    """Returns the batch with what is kept of the whole data's values.

    Where a phase leaves alone what features depend on, or the lower layers
    that read texts first, these are computed once, when a first step asks, and
    no step computes them again.
    """
    inputs = batch.inputs
    if inputs is None or inputs.value is not self.value:
      return batch
    keeps, phase = self.trainer.keeps(index, state.params)
    if keeps is None:
      return batch
    if self.read is None or self.read[0] != (keeps, phase):
      whole = self.whole.inputs._replace(index=None)
      found = keeps(state.params['reward'], whole)
      placed = self._placed(batch.over(found)).inputs.value
      self.read = (keeps, phase), placed
    return batch.over(self.read[1])

  def _placed(self, batch):
    return compiling.placed(
      batch, self.trainer.mesh, self.trainer.how, rows=False
    )

  def _batch(self, state, phase, step, number=0):
    """Returns a batch, and what was measured when it was collected."""
    batch = self._rows(phase, step)
    if phase.collect is None:
      return batch, {}
    # Rounds and further batches of a step are folded in where there are any,
    # so that a run of one round has the keys that it always had.
    extra = tuple(count for count in (self.round, number) if count)
    key = _collect_key(state.key, state.phase, state.step, extra)
    return phase.collect(key, self._bare(state), batch)

  def _rows(self, phase, step):
    if self.batches is None:
      return self.whole
    try:
      clock = self.log.clock
      batch = clock.wait(self.batches) if clock else next(self.batches)
    except StopIteration:
      raise ValueError(
        f'the batches ended at step {step} of {phase.steps} of phase '
        f'{phase.name!r}: repeat the data'
      ) from None
    if self.parts:
      batch = compiling.joined(batch, self.trainer.mesh)
    if batch.inputs is not None and batch.inputs.value is None:
      batch = batch.over(self.value)
    return batch


@jax.jit
def _collect_key(key, phase, step, extra):
  for count in (_COLLECT, *extra, phase, step):
    key = jax.random.fold_in(key, count)
  return key
