"""Signals that ask a run to stop where it can be resumed."""

import signal
import threading
from typing import Any

from prm_jax.runtime import processes


class Interrupts:
  """Turns SIGINT and SIGTERM into a request to stop after the current step.

  The signal is raised again on the way out; a second one is not caught. Where
  several processes share a fit, they agree on the step: SIGTERM is left to JAX,
  which tells the others.
  """

  def __init__(self, active, several=False):
    main = threading.current_thread() is threading.main_thread()
    self._active = active and main and not several
    self._several = active and several
    self._old: dict[int, Any] = {}
    self.signal: int | None = None

  def __enter__(self):
    if self._active:
      for number in (signal.SIGINT, signal.SIGTERM):
        self._old[number] = signal.signal(number, self._note)
    return self

  def asked(self):
    """Returns whether to stop; before every step, of all processes at once."""
    if self._several and self.signal is None and processes.stops():
      self.signal = signal.SIGTERM
    return self.signal is not None

  def _note(self, number, frame):
    del frame
    self.signal = number
    self._restore()

  def _restore(self):
    for number, handler in self._old.items():
      signal.signal(number, handler)

  def __exit__(self, *error):
    self._restore()
    if self.signal is not None and self._several:
      raise SystemExit(128 + self.signal)
    if self.signal is not None:
      signal.raise_signal(self.signal)
      raise SystemExit(128 + self.signal)
