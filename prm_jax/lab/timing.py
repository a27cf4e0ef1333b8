"""How long arms take, side by side in one run."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Timing(NamedTuple):
  """The seconds of one arm, over rounds in which all arms ran in turn.

  Attributes:
    seconds: of every round.
  """

  seconds: tuple[float, ...]

  @property
  def median(self) -> float:
    """Returns the seconds of the middle round."""
    return statistics.median(self.seconds)

  @property
  def fastest(self) -> float:
    """Returns the seconds of the fastest round."""
    return min(self.seconds)

  @property
  def slowest(self) -> float:
    """Returns the seconds of the slowest round."""
    return max(self.seconds)


def clock(run: Callable[[], Any]) -> float:
  """Returns the seconds until what `run` returns is computed."""
  start = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - start


def side_by_side(
  arms: Mapping[str, Callable[[], Any]], rounds: int, *, warm: int = 1
) -> dict[str, Timing]:
  """Returns how long each arm takes; arms run in turn, round after round.

  So that what else the machine does meets all arms alike.

  Args:
    arms: name -> what is timed, with everything that it computes.
    rounds: that are counted.
    warm: rounds before that, in which programs are compiled.
  """
  seconds: dict[str, list[float]] = {name: [] for name in arms}
  for number in range(warm + rounds):
    for name, run in arms.items():
      taken = clock(run)
      if number >= warm:
        seconds[name].append(taken)
  return {name: Timing(tuple(taken)) for name, taken in seconds.items()}


def hardware() -> dict[str, Any]:
  """Returns what times depend on, and how busy the machine was."""
  return {
    'cpu': platform.processor() or platform.machine(),
    'cores': os.cpu_count(),
    'devices': [device.device_kind for device in jax.devices()],
    'jax': jax.__version__,
    'load': os.getloadavg()[0],
  }
