"""Where figures go: JSON-lines, the terminal, and whole JSON files."""

import atexit
import contextlib
import gzip
import hashlib
import json
import math
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from prm_jax import places
from prm_jax.places import PathLike, make_folder, place, whole_file

_ANEW = 10.0  # seconds between two times that lines go to a bucket


class Writer(Protocol):
  """Where training figures go."""

  def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
    """Records the figures of one step."""

  def truncate(self, step: int) -> None:
    """Drops what was recorded after a step that is resumed from."""


class JsonlWriter:
  """Appends one JSON object a step to a file.

  In a bucket, where nothing is appended, all lines are written anew: every ten
  seconds, before a checkpoint, and at the end.
  """

  def __init__(self, path: PathLike):
    self.path = place(path)
    make_folder(self.path.parent)
    self._lines: list[str] | None = None  # of an object in a bucket
    self._written = 0.0

  def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
    """Appends `{"step", "phase", name: value, ...}`."""
    row = plain({'step': step, 'phase': phase, **values})
    line = json.dumps(row, allow_nan=False) + '\n'
    if not places.in_bucket(self.path):
      with self.path.open('a', encoding='utf-8') as file:
        file.write(line)
      return
    if self._lines is None:
      exists = self.path.exists()
      self._lines = [self.path.read_text('utf-8')] if exists else []
    self._lines.append(line)
    if time.monotonic() - self._written > _ANEW:
      self.flush()

  def flush(self) -> None:
    """Has all lines in the bucket; on a disk they are there."""
    if self._lines is not None:
      write_text_atomic(self.path, ''.join(self._lines))
      self._written = time.monotonic()

  def truncate(self, step: int) -> None:
    """Drops the rows after `step`, and a last line that was cut short.

    Raises:
      ValueError: a line before the last is not JSON.
    """
    if not self.path.exists():
      return
    lines = self.path.read_text(encoding='utf-8').splitlines()
    kept = []
    for number, line in enumerate(lines, 1):
      try:
        row = json.loads(line)
      except json.JSONDecodeError as error:
        if number == len(lines):
          break
        raise ValueError(
          f'{self.path}, line {number}: not JSON ({error}); repair or delete '
          'the line'
        ) from error
      if row['step'] <= step:
        kept.append(line)
    write_text_atomic(self.path, ''.join(line + '\n' for line in kept))
    self._lines = None


class StdoutWriter:
  """Prints one line a step."""

  def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
    """Prints `step 20 joint  loss 0.6931`."""
    figures = '  '.join(f'{name} {value:.5g}' for name, value in values.items())
    print(f'step {step} {phase}  {figures}', file=sys.stdout, flush=True)

  def truncate(self, step: int) -> None:
    """Says where the run goes on."""
    print(f'resumed from step {step}', file=sys.stdout, flush=True)


class TensorboardWriter:
  """Writes scalars that TensorBoard shows; needs prm_jax[tensorboard]."""

  def __init__(self, folder: PathLike):
    """Names the folder, which need not be there.

    Raises:
      ValueError: tensorboardX is not installed.
    """
    try:
      import tensorboardX
    except ImportError as error:
      raise ValueError(
        "TensorBoard's files need tensorboardX: pip install "
        "'prm_jax[tensorboard]'"
      ) from error
    self._made = tensorboardX.SummaryWriter
    self._folder, self._files, self._purged = str(folder), 0, 0
    self._file: Any = None
    atexit.register(self.close)  # a thread of its own writes; it is waited for

  def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
    """Records every figure as `PHASE/NAME`; on disk ten seconds later."""
    if self._file is None:
      self._files += 1
      self._file = self._made(
        self._folder,
        purge_step=self._purged or None,
        flush_secs=10,
        filename_suffix=f'.{os.getpid()}.{self._files}',
      )
    for name, value in values.items():
      self._file.add_scalar(f'{phase}/{name}', value, step)

  def truncate(self, step: int) -> None:
    """Has TensorBoard drop what was recorded after `step`."""
    self.close()
    self._purged = step + 1

  def close(self) -> None:
    """Waits until all is on disk; later figures open another file."""
    if self._file is not None:
      self._file.close()
    self._file = None


class Tee:
  """Writes to several writers."""

  def __init__(self, *writers: Writer):
    self.writers = writers

  def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
    """Records the figures of one step everywhere."""
    for writer in self.writers:
      writer.write(step, phase, values)

  def flush(self) -> None:
    """Has those that keep lines back write them."""
    for writer in self.writers:
      if isinstance(writer, JsonlWriter):
        writer.flush()

  def truncate(self, step: int) -> None:
    """Drops what was recorded after `step` everywhere."""
    for writer in self.writers:
      writer.truncate(step)


def write_text_atomic(path: PathLike, text: str) -> None:
  """Writes a text file that appears whole or not at all.

  Args:
    path: file to replace; its folder is made.
    text: all of it.
  """
  with whole_file(path) as file:
    file.write(text.encode('utf-8'))


def write_json_atomic(path: PathLike, obj: Any) -> None:
  """Writes JSON so that a reader sees the old file or the new one, whole.

  Args:
    path: file to replace; its folder is made.
    obj: plain data; NumPy scalars and arrays are converted, and what is not
      finite becomes null. The order of keys is kept.
  """
  make_folder(place(path).parent)
  text = json.dumps(plain(obj), indent=2, allow_nan=False, ensure_ascii=False)
  write_text_atomic(path, text + '\n')


def write_lines(path: PathLike, lines: Iterable[str]) -> None:
  """Writes a gzipped text file that appears whole or not at all.

  Args:
    path: file to replace.
    lines: with their ends.
  """
  with (
    whole_file(path) as file,
    gzip.GzipFile(fileobj=file, mode='wb', compresslevel=4) as packed,
  ):
    packed.writelines(line.encode('utf-8') for line in lines)


def plain(obj: Any) -> Any:
  """Returns the object as JSON knows it: no NumPy, nothing that is not finite.

  Raises:
    TypeError: JSON has no spelling for a part of it.
  """
  if isinstance(obj, Mapping):
    return {str(key): plain(value) for key, value in obj.items()}
  if isinstance(obj, (list, tuple)):
    return [plain(value) for value in obj]
  if isinstance(obj, os.PathLike):
    return os.fspath(obj)
  if hasattr(obj, '__array__'):
    return plain(np.asarray(obj).tolist())
  if isinstance(obj, float) and not math.isfinite(obj):
    return None
  if obj is None or isinstance(obj, (str, bool, int, float)):
    return obj
  raise TypeError(f'{obj!r} of type {type(obj).__name__} is not plain data')


def refuse_filled(folder: PathLike) -> None:
  """Refuses a place for a new folder in which there is something already.

  Args:
    folder: new or empty.

  Raises:
    FileExistsError: it is neither.
  """
  folder = place(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise FileExistsError(f'{folder} has something in it: choose another')


@contextlib.contextmanager
def whole_folder(folder: PathLike) -> Iterator[pathlib.Path]:
  """Yields where to write a folder that appears whole or not at all.

  What a writer that was killed left is removed by the next one.

  Args:
    folder: new or empty.

  Raises:
    FileExistsError: as of `refuse_filled`.
    PermissionError: files cannot be written beside it.
  """
  refuse_filled(folder)
  folder = places.disk(folder).resolve()
  part = folder.with_name(f'.{folder.name}.part')
  if part.exists():
    shutil.rmtree(part)
  make_folder(part)
  try:
    yield part
  except BaseException:
    shutil.rmtree(part, ignore_errors=True)
    raise
  if folder.exists():
    folder.rmdir()  # it is empty
  part.rename(folder)


def file_digest(path: PathLike) -> str:
  """Returns the hexadecimal SHA-256 of a file."""
  with place(path).open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
