"""Training figures, averaged over windows of steps and checked."""

import math
from collections.abc import Mapping

import jax
import numpy as np

from prm_jax import types
from prm_jax.runtime import writers


class Log:
  """Training figures, fetched after later steps have been dispatched."""

  def __init__(self, writer: writers.Writer | None, every: int):
    self.writer, self.every = writer, every
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
