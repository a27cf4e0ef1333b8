"""A piece of work is a file: whole or not there, and made by one process.

A unit is a JSON record, and arrays beside it. Several processes, or a run
after another, share a folder of them: who finds a unit undone and unlocked
makes it, who finds it locked goes on to another.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np
import tqdm

from prm_jax import places
from prm_jax.runtime import programs, writers

_WAIT = 0.5  # seconds between two looks at what another process makes


class Unit(NamedTuple):
  """What a piece of work left.

  Attributes:
    record: plain data.
    arrays: by name.
  """

  record: dict[str, Any]
  arrays: dict[str, np.ndarray]

  def part(self, name: str) -> 'Unit':
    """Returns the arrays `NAME/...` alone, without `NAME/`."""
    arrays = {
      path.removeprefix(f'{name}/'): leaf
      for path, leaf in self.arrays.items()
      if path.startswith(f'{name}/')
    }
    return Unit(self.record, arrays)


Make = Callable[[], Unit]


class BusyError(Exception):
  """Another process is making what a unit needs."""


def record(make: Callable[..., dict[str, Any]], *arguments: Any) -> Make:
  """Returns what makes a unit that is the record `make(*arguments)`."""
  return lambda: Unit(make(*arguments), {})


def rows(
  make: Callable[..., Sequence[Mapping[str, Any]]], *arguments: Any
) -> Make:
  """Returns what makes a unit of the rows `make(*arguments)`."""
  return lambda: Unit({'rows': list(make(*arguments))}, {})


def grouped(
  made: Iterable[Unit], *names: str
) -> dict[tuple[Any, ...], list[Unit]]:
  """Returns units by some values of their records, in order of appearance."""
  groups: dict[tuple[Any, ...], list[Unit]] = {}
  for unit in made:
    key = tuple(unit.record[name] for name in names)
    groups.setdefault(key, []).append(unit)
  return groups


class Folder:
  """The units of one study."""

  def __init__(self, path: Path):
    """Makes the folder if it is not there.

    Raises:
      PermissionError: files cannot be written there.
    """
    self.path = writers.make_folder(places.disk(path))  # it has locks

  def done(self, name: str) -> bool:
    """Returns whether a unit is there, whole."""
    return (self.path / f'{name}.json').exists()

  def read(self, name: str) -> Unit:
    """Returns a unit that is done."""
    record = json.loads((self.path / f'{name}.json').read_text('utf-8'))
    path = self.path / f'{name}.npz'
    if not path.exists():
      return Unit(record, {})
    with np.load(path, allow_pickle=False) as file:
      return Unit(record, dict(file))

  def rows(self, name: str) -> list[dict[str, Any]]:
    """Returns the rows of a unit that is done; see `rows` above."""
    return self.read(name).record['rows']

  def write(self, name: str, unit: Unit) -> None:
    """Writes a unit, its record last: the sign that it is whole."""
    if unit.arrays:
      path = self.path / f'{name}.npz'
      part = path.with_suffix(f'.{os.getpid()}.part')
      try:
        with part.open('wb') as file:
          np.savez_compressed(file, **unit.arrays)  # type: ignore[arg-type]
        part.replace(path)
      finally:
        part.unlink(missing_ok=True)
    writers.write_json_atomic(self.path / f'{name}.json', unit.record)

  def make(self, name: str, make: Make, *, wait: bool = True) -> bool:
    """Makes a unit unless it is done; returns whether it now is.

    Args:
      name: of the unit.
      make: called while no other process makes it.
      wait: until a process that makes it is through; else leave it to that.

    Raises:
      BusyError: another process is making what it needs, and `wait`.
    """
    if self.done(name):
      return True
    lock = filelock.FileLock(self.path / f'{name}.lock', mode=0o600)
    try:
      lock.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
      return False
    try:
      if not self.done(name):  # another process was faster
        programs.make_room()
        self.write(name, make())
    except BusyError:
      if wait:
        raise
      return False
    finally:
      lock.release()
    return True

  def several(
    self, make: Callable[..., Iterable[tuple[str, Unit]]], *arguments: Any
  ) -> Make:
    """Returns what makes a unit of many, each written beside it as it comes.

    Args:
      make: called with `arguments`, yields their names and what they are.
      *arguments: of it.
    """

    def made() -> Unit:
      names = []
      for name, unit in make(*arguments):
        self.write(name, unit)
        names.append(name)
      return Unit({'units': names}, {})

    return made

  def each(self, name: str) -> list[Unit]:
    """Returns the units that one of `several` stands for."""
    return [self.read(part) for part in self.read(name).record['units']]

  def make_all(self, work: Mapping[str, Make], label: str) -> None:
    """Makes all units, with a bar; returns when all are done.

    Args:
      work: name -> what makes it, in an order that suits.
      label: of the bar.
    """
    left = {name: make for name, make in work.items() if not self.done(name)}
    with tqdm.tqdm(
      total=len(work), initial=len(work) - len(left), desc=label
    ) as bar:
      while left:
        before = len(left)
        for name, make in list(left.items()):
          bar.set_postfix_str(name)
          if self.make(name, make, wait=False):
            del left[name]
            bar.update()
        if len(left) == before:  # all that is left is made elsewhere
          time.sleep(_WAIT)
