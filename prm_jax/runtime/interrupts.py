"""Signals that ask a run to stop where it can be resumed."""

import signal
import threading
from typing import Any


class Interrupts:
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
