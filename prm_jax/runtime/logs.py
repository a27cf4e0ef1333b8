"""Training figures, averaged over windows of steps and checked."""

import math
from collections.abc import Mapping

import jax
import numpy as np

from prm_jax import types
from prm_jax.runtime import pace, writers


class Log:
  """Training figures, fetched after later steps have been dispatched."""

  def __init__(
    self,
    writer: writers.Writer | None,
    every: int,
    clock: pace.Clock | None = None,
  ):
    """Names where figures go.

    Args:
      writer: of the figures; they are only checked if None.
      every: steps that one written figure averages.
      clock: of steps; their pace is written, too, where there is one.
    """
    self.writer, self.every, self.clock = writer, every, clock
    self._pending: list[tuple[str, int, int, Mapping]] = []
    self._window: dict[str, types.Mean] = {}

  def resume(self, step):
    """Forgets what was written after a step that a run goes on from."""
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
    fetched = jax.device_get([metrics for *_, metrics in pending])
    steps = sum(len(np.atleast_1d(means['loss'].total)) for means in fetched)
    paced = {}
    if self.clock is not None and steps:
      paced = {
        name: types.Mean(mean.total / steps, mean.count / steps)
        for name, mean in self.clock.fetched(steps).items()
      }
    for (phase, done, step, _), found in zip(pending, fetched, strict=True):
      means = jax.tree.map(np.atleast_1d, found)
      _check_finite(phase, step, means['loss'].total)
      for i in range(len(means['loss'].total)):
        self._merge(jax.tree.map(lambda leaf: leaf[i].item(), means))  # noqa: B023
        self._merge(paced)
        if (done + i + 1) % self.every == 0:
          self._flush(phase, done + i + 1)
    if end and pending and self._window:
      self._flush(phase, done + i + 1)

  def flush(self):
    """Has a writer that keeps lines back write them."""
    if isinstance(self.writer, writers.JsonlWriter | writers.Tee):
      self.writer.flush()

  def _merge(self, means):
    for name, mean in means.items():
      old = self._window.get(name)
      self._window[name] = mean if old is None else old.merge(mean)

  def _flush(self, phase, step):
    window, self._window = self._window, {}
    if self.writer is not None:
      values = {
        name: float(mean.compute()) if mean.count else math.nan
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
