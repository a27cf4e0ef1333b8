"""Rows of files in the formats that data sets are published in.

Nothing in a file is ever run: JSON, CSV and Parquet hold values alone.
"""

import csv
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prm_jax.data import schema

Row = dict[str, Any] | schema.SchemaError  # or why it cannot be read
_LONGEST = 2**31 - 1  # characters in a field of CSV; 131,072 is the default


@dataclasses.dataclass(frozen=True)
class Table:
  """Rows of a file.

  Attributes:
    path: the file.
    rows: number and fields of each, or why it has none. The number is the
      line a row begins in, or the row's own where there are no lines.
    columns: names of all fields, in order of first appearance.
  """

  path: Path
  rows: list[tuple[int, Row]]
  columns: tuple[str, ...]

  def objects(self) -> Iterator[dict[str, Any]]:
    """Yields the rows that can be read."""
    for _, row in self.rows:
      if isinstance(row, dict):
        yield row


def read(path: Path) -> Table:
  """Returns the rows of a file, in the format that its name ends in.

  Raises:
    SchemaError: naming the file: it is not there, of another format, broken,
      or has no row.
  """
  name = path.name.removesuffix('.gz')
  reader = _FORMATS.get(Path(name).suffix)
  if reader is None or (reader is _parquet and name != path.name):
    raise schema.SchemaError(
      f'{path}: ends in none of {", ".join(_FORMATS)} (.gz may follow, except '
      'for .parquet)'
    )
  rows = list(reader(path))
  if not rows:
    raise schema.SchemaError(f'{path} has no row')
  names = (name for _, row in rows if isinstance(row, dict) for name in row)
  return Table(path, rows, tuple(dict.fromkeys(names)))


def _lines(path: Path) -> Iterator[tuple[int, Row]]:
  for number, line in enumerate(schema.read_lines(path), 1):
    if not line.strip():
      continue
    try:
      value = schema.parse_json(line)
    except schema.SchemaError as error:
      yield number, error
    else:
      yield number, _object(value)


def _json(path: Path) -> Iterator[tuple[int, Row]]:
  """Yields the objects of an array, or of lines that are called .json."""
  whole = ''.join(schema.read_lines(path))
  if not whole.lstrip().startswith('['):
    yield from _lines(path)
    return
  try:
    array = schema.parse_json(whole)
  except schema.SchemaError as error:
    raise schema.SchemaError(f'{path}: {error}') from error
  for number, value in enumerate(array, 1):
    yield number, _object(value)


def _object(value: Any) -> Row:
  if isinstance(value, dict):
    return value
  return schema.SchemaError(f'expected an object, found {type(value).__name__}')


def _separated(path: Path) -> Iterator[tuple[int, Row]]:
  """Yields the rows of CSV or TSV under a line of names."""
  tabs = path.name.removesuffix('.gz').endswith('.tsv')
  lines = csv.reader(
    schema.read_lines(path), delimiter='\t' if tabs else ',', strict=True
  )
  before = csv.field_size_limit(_LONGEST)
  try:
    names = next(lines, [])
    if len(set(names)) < len(names):
      raise schema.SchemaError(f'{path}: two columns have one name: {names}')
    line = lines.line_num + 1
    for fields in lines:
      if len(fields) == len(names):
        yield line, dict(zip(names, fields, strict=True))
      elif fields:
        yield (
          line,
          schema.SchemaError(
            f'has {len(fields)} fields under {len(names)} names'
          ),
        )
      line = lines.line_num + 1
  except csv.Error as error:
    raise schema.SchemaError(f'{path}:{lines.line_num}: {error}') from error
  finally:
    csv.field_size_limit(before)


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
  try:
    import pyarrow  # optional, and heavy
    from pyarrow import parquet
  except ImportError as error:
    raise schema.SchemaError(
      f'{path}: reading Parquet needs pyarrow: install it, or the extra '
      'parquet (scripts/setup [parquet])'
    ) from error
  if not path.is_file():
    raise schema.SchemaError(f'{path} is not a file')
  number = 0
  try:
    with parquet.ParquetFile(path) as file:
      for batch in file.iter_batches(batch_size=1024):
        for row in batch.to_pylist():
          number += 1
          yield number, row
  except (pyarrow.ArrowException, OSError) as error:
    raise schema.SchemaError(f'{path} cannot be read: {error}') from error


_FORMATS: dict[str, Callable[[Path], Iterator[tuple[int, Row]]]] = {
  '.jsonl': _lines,
  '.json': _json,
  '.csv': _separated,
  '.tsv': _separated,
  '.parquet': _parquet,
}
