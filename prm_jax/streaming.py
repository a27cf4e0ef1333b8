"""`prm score --model`: rows in, rows with their scores out, as they come."""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prm_jax.data import schema
from prm_jax.exported import Exported

_BATCH = 16  # rows that are read before they are scored
_ADDED = ('score', 'truncated')
_OF_WORKDIR = ('reference', 'bound', 'features')


def run(arguments: argparse.Namespace) -> None:
  """Scores the rows of a file, or of standard input, by an exported model.

  Args:
    arguments: `model`, `label`, `user`, `data` and `output`.

  Raises:
    KeyError: the model does not know the person.
    ValueError: the model cannot be used, or a row, which is named; what came
      before it on standard output was written.
  """
  for name in _OF_WORKDIR:
    if getattr(arguments, name) is not None:
      raise ValueError(f'--{name}: of --workdir alone')
  path = arguments.data
  if str(path) != '-' and not path.is_file():
    raise ValueError(f'{path} is not a file')
  model = Exported.load(arguments.model, label=arguments.label)
  model.vector(arguments.user)  # before anything is read
  where = 'standard input' if str(path) == '-' else str(path)
  given = sys.stdin if str(path) == '-' else schema.read_lines(path)
  lines = scored(model, arguments.user, given, where)
  if arguments.output is None:
    for line in lines:
      sys.stdout.write(line)
      sys.stdout.flush()
    return
  part = arguments.output.with_name(
    f'{arguments.output.name}.{os.getpid()}.part'
  )
  try:
    with part.open('w', encoding='utf-8') as file:
      file.writelines(lines)
    part.replace(arguments.output)
  finally:
    Path(part).unlink(missing_ok=True)


def scored(
  model: Exported,
  user: str | None,
  lines: Iterable[str],
  where: str,
  *,
  batch: int = _BATCH,
) -> Iterator[str]:
  """Yields rows as JSON lines, with `score`, and `truncated` where one was cut.

  Args:
    model: which scores.
    user: whose reward; the population's if None.
    lines: JSON objects with `prompt` and `response`, each a text or a list of
      messages.
    where: they come from, for errors.
    batch: rows at once.

  Raises:
    KeyError: the model does not know the person.
    ValueError: a row cannot be used; it is named.
  """
  rows = _rows(lines, where)
  while some := list(itertools.islice(rows, batch)):
    told = model.score(
      user, [row['prompt'] for row in some], [row['response'] for row in some]
    )
    for row, score, cut in zip(some, told.scores, told.cut, strict=True):
      more: dict[str, Any] = {'score': float(score)}
      more |= {'truncated': True} if cut else {}
      yield json.dumps({**row, **more}) + '\n'


def _rows(lines: Iterable[str], where: str) -> Iterator[dict[str, Any]]:
  """Yields objects that can be scored."""
  number = 0
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      row = schema.parse_json(line)
      _check(row)
    except ValueError as error:
      raise ValueError(f'{where}:{number}: {error}') from error
    yield row
  if not number:
    raise ValueError(f'{where} has no row')


def _check(row: Any) -> None:
  """Raises ValueError where a row cannot be scored."""
  if not isinstance(row, dict):
    raise ValueError(f'expected an object, found {type(row).__name__}')
  for name in ('prompt', 'response'):
    if name not in row:
      raise ValueError(f'{name}: is missing')
    given = row[name]
    none = given == [] or (name == 'prompt' and not given)
    if not isinstance(given, str | list) or none:
      raise ValueError(f'{name}: is neither a text nor a list of messages')
    schema.refuse_halves(name, json.dumps(given, ensure_ascii=False))
  for name in _ADDED:
    if name in row:
      raise ValueError(f'a field {name!r} of its own would be overwritten')
