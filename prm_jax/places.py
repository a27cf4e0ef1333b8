"""Where folders and files are: on a disk, or in a bucket.

A bucket of Google Cloud Storage is written `gs://BUCKET/NAME`. It has no
folders that are made, no rename, no lock and no append: an object appears whole
when it has been written, and one process writes.
"""

import contextlib
import errno
import functools
import importlib.util
import io
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from etils import epath

PathLike = str | os.PathLike[str]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def place(given: PathLike) -> pathlib.Path:
  """Returns a folder or file, on a disk or in a bucket.

  Args:
    given: a path, or `gs://BUCKET/NAME`.

  Raises:
    ValueError: it is in another store, or what reads buckets is not installed.

  Examples:
    >>> place('runs/one').parts
    ('runs', 'one')
  """
  text = os.fspath(given)
  scheme, colon, rest = text.partition(':/')
  if not colon or os.sep in scheme or not scheme.isalnum():
    return pathlib.Path(given)
  if scheme != 'gs' or not rest.startswith('/') or not rest.strip('/'):
    raise ValueError(
      f'{text}: a folder is on a disk, or gs://BUCKET/NAME in a bucket of '
      'Google Cloud Storage'
    )
  if importlib.util.find_spec('gcsfs') is None:
    raise ValueError(
      f"{text}: buckets need gcsfs: pip install 'prm_jax[gcs]', or choose a "
      'folder on a disk'
    )
  return epath.Path(text)


def disk(given: PathLike) -> pathlib.Path:
  """Returns a folder or file on a disk.

  Args:
    given: a path.

  Raises:
    ValueError: it is in a bucket.
  """
  text = os.fspath(given)
  if in_bucket(text) or text.startswith('gs:/'):
    raise ValueError(
      f'{text}: this is read and written on a disk. `prm train` writes to a '
      'bucket, `prm score` and `prm export` read a model there; for anything '
      'else copy the folder'
    )
  return place(given)


def in_bucket(given: PathLike) -> bool:
  """Returns whether a folder or file is in a bucket."""
  return '://' in os.fspath(given)


def stored(folder: PathLike) -> dict[str, str]:
  """Returns the store's own checksum of every object below a bucket's folder.

  Args:
    folder: in a bucket.

  Returns:
    Name below the folder -> its size and checksum; nothing is downloaded.
  """
  import fsspec  # with gcsfs, an extra

  text = os.fspath(folder).rstrip('/')
  store = fsspec.filesystem('gs')
  store.invalidate_cache(text)
  start = len(text.removeprefix('gs://')) + 1
  return {
    name[start:]: f'{known["size"]} {known.get("md5Hash") or known["crc32c"]}'
    for name, known in store.find(text, detail=True).items()
  }


def make_folder(folder: PathLike) -> pathlib.Path:
  """Returns the folder, made if need be and ready to be written to.

  In a bucket an object is written and deleted again, once a process.

  Raises:
    PermissionError: files cannot be written there.
    ValueError: as of `place`.
  """
  folder = place(folder)
  if in_bucket(folder):
    _try(folder)
    return folder
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise PermissionError(
      f'cannot make the folder {folder} ({error.strerror}): choose another or '
      'change its permissions'
    ) from error
  if not os.access(folder, os.W_OK | os.X_OK):
    raise PermissionError(
      f'no permission to write in the folder {folder}: choose another or '
      'change its permissions'
    )
  return folder


@functools.cache
def _try(folder: pathlib.Path) -> None:
  """Raises PermissionError unless an object can be written in a bucket."""
  probe = folder / f'.writable.{os.getpid()}'
  try:
    probe.write_bytes(b'')
    probe.unlink()
  except Exception as error:  # of the store's own many kinds
    raise PermissionError(
      f'cannot write in {folder} ({_first_line(error)}): check the name of the '
      'bucket and what its account may do, or choose another folder'
    ) from error


@contextlib.contextmanager
def whole_file(path: PathLike) -> Iterator[BinaryIO]:
  """Yields a file to write that appears whole, or not at all.

  Args:
    path: of the file, which may be there; its folder is made.

  Raises:
    OSError: it cannot be written, or its folder; what was there is as it was.
  """
  path = place(path)
  if in_bucket(path):
    content = io.BytesIO()
    yield content
    path.write_bytes(content.getvalue())
    return
  make_folder(path.parent)
  part = path.with_name(f'{path.name}.{os.getpid()}.part')
  try:
    with part.open('wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    part.replace(path)
  except OSError as error:
    if error.errno not in _FULL:
      raise
    raise OSError(error.errno, no_room(path, error)) from error
  finally:
    part.unlink(missing_ok=True)


def no_room(path: PathLike, error: BaseException) -> str:
  """Returns what a person is told where a disk is full.

  Args:
    path: that was written.
    error: of the system.
  """
  return (
    f'{os.fspath(path)} cannot be written ({_first_line(error)}). What was '
    'there before is whole: make room, and give the same command again'
  )


def _first_line(error: BaseException) -> str:
  text = (str(error).strip() or type(error).__name__).splitlines()[0]
  # The system's own reason stands at the end of what stores say.
  return text if len(text) <= 300 else f'{text[:100]} ... {text[-200:]}'
