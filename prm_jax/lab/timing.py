"""How long arms take, side by side in one run."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

Arm = TypeVar('Arm', bound=Hashable)
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'torch', 'transformers')


class Timing(NamedTuple):
  """The seconds of one arm, over rounds in which all arms ran in turn.

  Attributes:
    seconds: of every round.
    first: seconds of the first round, if it is not counted: programs are
      compiled in it.
    result: of the last round.
  """

  seconds: tuple[float, ...]
  first: float | None = None
  result: Any = None

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

  def per(self, count: float) -> 'Timing':
    """Returns the seconds of one of `count` pieces that a round consists of."""
    return self._replace(seconds=tuple(s / count for s in self.seconds))

  def columns(
    self, name: str = 'seconds', scale: float = 1.0
  ) -> dict[str, float]:
    """Returns the columns `NAME`, the median, `fastest` and `slowest`.

    Args:
      name: of the median, with its unit.
      scale: that makes this unit of seconds; 1e6 for microseconds.
    """
    return {
      name: scale * self.median,
      'fastest': scale * self.fastest,
      'slowest': scale * self.slowest,
    }

  def times(self, name: str, other: 'Timing') -> dict[str, float]:
    """Returns how many times as long this takes as another, `NAME`.

    `NAME_of_fastest` compares the fastest rounds.
    """
    return {
      name: self.median / other.median,
      f'{name}_of_fastest': self.fastest / other.fastest,
    }


def clock(run: Callable[[], Any]) -> float:
  """Returns the seconds until what `run` returns is computed."""
  return _clock(run)[0]


def _clock(run: Callable[[], Any]) -> tuple[float, Any]:
  start = time.perf_counter()
  result = jax.block_until_ready(run())
  return time.perf_counter() - start, result


def side_by_side(
  arms: Mapping[Arm, Callable[[], Any]], rounds: int, *, warm: int = 1
) -> dict[Arm, Timing]:
  """Returns how long each arm takes; arms run in turn, round after round.

  So that what else the machine does meets all arms alike.

  Args:
    arms: name -> what is timed, with everything that it computes.
    rounds: that are counted.
    warm: rounds before that, in which programs are compiled.
  """
  seconds: dict[Arm, list[float]] = {name: [] for name in arms}
  results: dict[Arm, Any] = {}
  for _ in range(warm + rounds):
    for name, run in arms.items():
      results.pop(name, None)  # a result is never there twice
      taken, results[name] = _clock(run)
      seconds[name].append(taken)
  return {
    name: Timing(tuple(taken[warm:]), taken[0] if warm else None, results[name])
    for name, taken in seconds.items()
  }


def seconds(times: Mapping[str, Timing]) -> dict[str, float]:
  """Returns the columns `ARM_seconds` and `ARM_seconds_fastest` of all arms."""
  columns = {}
  for name, timing in times.items():
    columns[f'{name}_seconds'] = timing.median
    columns[f'{name}_seconds_fastest'] = timing.fastest
  return columns


def peak_gib() -> float | None:
  """Returns the most memory that this process has held, in GiB.

  Not `resource.getrusage`, whose peak a process inherits from the one that
  started it. None where the system does not tell.
  """
  status = Path('/proc/self/status')
  peak = status.is_file() and re.search(
    r'VmHWM:\s*(\d+) kB', status.read_text()
  )
  return int(peak[1]) / 2**20 if peak else None


def hardware() -> dict[str, Any]:
  """Returns what times depend on: machine, its load, versions of packages."""
  cpus = Path('/proc/cpuinfo')
  model = cpus.is_file() and re.search('name\t: (.*)', cpus.read_text())
  return {
    'cpu': model[1] if model else platform.processor() or platform.machine(),
    'cores': os.cpu_count(),
    'device': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'load': os.getloadavg()[0],
    **{
      name: importlib.metadata.version(name)
      for name in _PACKAGES
      if importlib.util.find_spec(name)
    },
  }
