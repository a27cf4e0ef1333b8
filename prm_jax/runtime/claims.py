"""One run at a time writes to a folder."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator

import filelock

from prm_jax import places
from prm_jax.runtime import processes, writers

LOCK = '.running'  # a killed run leaves it, unlocked


class ClaimedError(ValueError):
  """Another run writes to the folder."""


@contextlib.contextmanager
def claimed(folder: writers.PathLike | None) -> Iterator[None]:
  """Keeps other runs from writing to a folder.

  The claim ends with its process, however that ends. It is a lock of the file
  system: machines that share a disk without locks do not see it. A bucket has
  none; there it is only tried whether an object can be written. A folder that
  was made for it, and in which nothing is written, is removed again. Of several
  processes that share a fit the first claims.

  Args:
    folder: of one run; None where nothing is written.

  Raises:
    ClaimedError: another run has it.
    PermissionError: files cannot be written there.
  """
  if folder is None:
    yield
    return
  if places.in_bucket(folder):
    processes.on_first(lambda: places.make_folder(folder))
    yield
    return
  with contextlib.ExitStack() as stack:
    processes.on_first(lambda: stack.enter_context(_locked(folder)))
    yield


@contextlib.contextmanager
def _locked(folder: writers.PathLike) -> Iterator[None]:
  new = not os.path.exists(folder)
  path = writers.make_folder(folder) / LOCK
  lock = filelock.FileLock(path, mode=0o644)
  try:
    lock.acquire(timeout=0)
  except filelock.Timeout as error:
    raise ClaimedError(
      f'{folder}: another run writes there{_whose(path)}: wait for it, stop '
      'it, or choose another folder'
    ) from error
  try:
    said = {'process': os.getpid(), 'host': socket.gethostname()}
    with path.open('w', encoding='utf-8') as file:
      json.dump({**said, 'since': time.strftime('%Y-%m-%d %H:%M:%S')}, file)
    yield
  finally:
    path.unlink(missing_ok=True)  # while it is held: who waits sees it go
    lock.release()
    if new:
      with contextlib.suppress(OSError):  # it is not empty
        os.rmdir(folder)


def _whose(path) -> str:
  """Returns who holds a lock, in words; nothing if it does not say."""
  try:
    said = json.loads(path.read_text(encoding='utf-8'))
    who = f'process {said["process"]} on {said["host"]}'
    return f' ({who}, since {said["since"]})'
  except (OSError, ValueError, KeyError, TypeError):
    return ''
