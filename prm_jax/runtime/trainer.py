"""A learner's compiled programs, which every fit of it uses again."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import trees
from prm_jax.runtime import update as updates


class Trainer:
  """A learner's compiled programs."""

  def __init__(
    self,
    learner: types.Learner,
    mesh: Mesh | None,
    how: compiling.How,
    order: list[tuple[int, int]],
  ):
    """Compiles nothing yet.

    Args:
      learner: to fit.
      mesh: devices, or None.
      how: the programs' spelling.
      order: (round, phase) of everything that it runs.
    """
    self.learner, self.phases = learner, learner.phases
    self.mesh = mesh if mesh is not None and mesh.size > 1 else None
    self.order = order
    self.length = sum(max(self.phases[index].steps, 1) for _, index in order)
    self._mesh, self.how = mesh, how
    self._programs: dict[Any, Any] = {}
    self._trains: dict[int, set[str]] = {}
    splits = self.mesh if how == 'jit' else None  # else all is everywhere
    self._laid_out = functools.partial(compiling.laid_out, mesh=splits)
    self._starts = [
      compiling.initializer(phase, splits) for phase in self.phases
    ]
    reward = learner.system.reward if learner.system is not None else None
    self.features = self.encode = self.below = None
    if reward is not None:
      given = reward.features is types.given_features
      self.features = (
        None if given else compiling.reader(reward.features, splits)
      )
      if reward.below is not None:
        self.below = compiling.reader(reward.below, splits)
      self.encode = jax.jit(reward.encode)

  def start(self, state, place, data):
    """Returns the state before the first step of a phase in a round."""
    round_, index = place
    state = state._replace(
      round=jnp.int32(round_), phase=jnp.int32(index), step=jnp.int32(0)
    )
    state = updates.begin(state, self.phases[index], data)
    state = self._laid_out(state)  # what a beginning computed lies anywhere
    return self._starts[index](state, keep=self._kept(round_, index))

  def _kept(self, round_, index):
    """Returns whose optimiser states go on: those of the repeated phases."""
    first = self.learner.first
    last = len(self.phases) if round_ else index
    return tuple(phase.name for phase in self.phases[first:last])

  def like(self, state, place):
    """Returns the shapes of a state in a phase of a round."""
    for other in self.order[: self.order.index(place) + 1]:
      start = functools.partial(self._starts[other[1]], keep=self._kept(*other))
      state = jax.eval_shape(start, state)
    return state

  def steps(self, index, count, whole_people):
    """Returns the program of `count` steps on one batch."""
    key = (index, count, whole_people)
    if key not in self._programs:
      update = updates.make_update(
        self.phases[index], whole_people=whole_people
      )
      if count > 1:
        update = updates.repeat(update, count)
      self._programs[key] = self._compiled(update)
    return self._programs[key]

  def keeps(self, index, params):
    """Returns what is computed once of the texts, and None or its phase.

    `features` where the phase leaves alone all that they depend on, else what
    is `below` where it leaves alone the trunk; None if every step reads.
    """
    if self.features is None:
      return None, index
    if not self.moved(index, params):
      return self.features, index
    if self.below is None or 'backbone' in self.moved(index, params):
      return None, index
    steps = (i for i, phase in enumerate(self.phases) if phase.steps)
    moves = any('backbone' in self.moved(other, params) for other in steps)
    return self.below, index if moves else None

  def moved(self, index, params):
    """Returns which parts of what reads the texts a phase trains."""
    if index not in self._trains:
      train = self.phases[index].train
      trained, _ = trees.split(params, train)
      known = trees.paths(trained)
      self._trains[index] = {
        part
        for part in ('backbone', 'adapter', 'top')
        if any(trees.names(path, part) for path in known)
      }
    return self._trains[index]

  def accumulation(self, index):
    """Returns the programs of a step over several batches."""
    if index not in self._programs:
      made = updates.accumulation(self.phases[index])
      # The last gives back less than it takes: it has nothing to overwrite.
      self._programs[index] = [
        self._compiled(update, donate=update is not made[-1]) for update in made
      ]
    return self._programs[index]

  def _compiled(self, update, donate=True):
    return compiling.compile_update(update, self._mesh, self.how, donate=donate)
