"""Safetensors files, copied byte for byte: any dtype, a few bytes at a time."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prm_jax.models.weights import pointers

LIMIT = 5_000_000_000  # bytes of a shard
WHOLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
_BLOCK = 1 << 24  # bytes that are copied at once
_HEADER = 100_000_000  # bytes of a header, at most, as safetensors has it
_NAMES = {'float32': 'F32', 'float16': 'F16', 'bfloat16': 'BF16'}
_NAMES['float64'] = 'F64'


class Stored(NamedTuple):
  """A tensor where it lies.

  Attributes:
    path: of the file.
    dtype: as the file names it, 'BF16'.
    shape: in the file's orientation.
    start, stop: of its bytes in the file.
  """

  path: Path
  dtype: str
  shape: tuple[int, ...]
  start: int
  stop: int

  @property
  def size(self) -> int:
    """Returns its bytes."""
    return self.stop - self.start


class Filled(NamedTuple):
  """A tensor of one value.

  Attributes:
    dtype: as the file names it.
    shape: in the file's orientation.
    value: the bytes of one entry.
  """

  dtype: str
  shape: tuple[int, ...]
  value: bytes

  @property
  def size(self) -> int:
    """Returns its bytes."""
    return math.prod(self.shape) * len(self.value)


Tensor = Stored | Filled | np.ndarray


def read(path: Path) -> dict[str, Stored]:
  """Returns the tensors of a file, none of which is read.

  Args:
    path: of a safetensors file.

  Raises:
    ValueError: it is none, or is cut short.
  """
  pointers.refuse(path)
  length = path.stat().st_size
  with path.open('rb') as file:
    size = int.from_bytes(file.read(8), 'little')
    if length < 8 or not 0 < size <= min(_HEADER, length - 8):
      raise ValueError(f'{path} is not a safetensors file: no header')
    try:
      known = json.loads(file.read(size))
      found = {
        name: Stored(
          path,
          str(of['dtype']),
          tuple(map(int, of['shape'])),
          *(8 + size + int(at) for at in of['data_offsets']),
        )
        for name, of in known.items()
        if name != '__metadata__'
      }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(f'{path} is not a safetensors file: {error}') from error
  for name, of in found.items():
    if not 8 + size <= of.start <= of.stop <= length:
      raise ValueError(f'{path}: tensor {name} lies outside the file')
  return found


def refuse_twice(name: str, path: Path, home: Path | None) -> None:
  """Refuses a tensor that lies in a checkpoint twice.

  Args:
    name: of the tensor.
    path: of the file in which it was found.
    home: where it was found before; None where it was not.

  Raises:
    ValueError: it was.
  """
  if home is not None:
    raise ValueError(f'{path}: tensor {name} is also in {home}')


def write(
  tensors: Mapping[str, Tensor], folder: Path, *, limit: int = LIMIT
) -> list[Path]:
  """Writes tensors as one file, or as shards with an index; returns the files.

  Args:
    tensors: name -> where it lies, or an array of floats.
    folder: that is there.
    limit: bytes of a file; a tensor that is larger has a file of its own.

  Raises:
    ValueError: there is no tensor, or an array is of no such dtype.
  """
  if not tensors:
    raise ValueError('there is no tensor to write')
  parts: list[dict[str, Tensor]] = [{}]
  filled = 0
  for name, of in tensors.items():
    if parts[-1] and filled + _size(of) > limit:
      parts.append({})
      filled = 0
    parts[-1][name] = of
    filled += _size(of)
  if len(parts) == 1:
    write_file(parts[0], folder / WHOLE)
    return [folder / WHOLE]
  home: dict[str, str] = {}
  paths = []
  for number, part in enumerate(parts, 1):
    name = f'model-{number:05}-of-{len(parts):05}.safetensors'
    write_file(part, folder / name)
    home |= dict.fromkeys(part, name)
    paths.append(folder / name)
  total = sum(map(_size, tensors.values()))
  known = {'metadata': {'total_size': total}, 'weight_map': home}
  (folder / INDEX).write_text(json.dumps(known, indent=2) + '\n')
  return paths


def _size(of: Tensor) -> int:
  return of.nbytes if isinstance(of, np.ndarray) else of.size


def write_file(tensors: Mapping[str, Tensor], path: Path) -> None:
  """Writes tensors as one file.

  Args:
    tensors: as of `write`.
    path: of the file.

  Raises:
    ValueError: an array is of a dtype that is no float's.
  """
  header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  at = 0
  for name, of in tensors.items():
    own = isinstance(of, np.ndarray)
    dtype = _NAMES.get(str(of.dtype)) if own else str(of.dtype)
    if dtype is None:
      raise ValueError(f'tensor {name} is of {of.dtype}: give it as float32')
    shape, size = [int(n) for n in of.shape], _size(of)
    header[name] = {
      'dtype': dtype,
      'shape': shape,
      'data_offsets': [at, at + size],
    }
    at += size
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)
  with path.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for of in tensors.values():
      for block in _blocks(of):
        file.write(block)


def _blocks(of: Tensor) -> Iterator[bytes]:
  """Yields a tensor's bytes."""
  if isinstance(of, Filled):
    yield of.value * math.prod(of.shape)
    return
  if isinstance(of, np.ndarray):
    little = of.dtype.newbyteorder('<')
    yield np.ascontiguousarray(of, little).tobytes()
    return
  with of.path.open('rb') as file:
    file.seek(of.start)
    left = of.size
    while left:
      block = file.read(min(left, _BLOCK))
      if not block:
        raise ValueError(f'{of.path} is cut short')
      left -= len(block)
      yield block
