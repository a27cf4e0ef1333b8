"""What somebody says about a set: columns, labels and who judged."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from prm_jax.data import schema

_SIDES = ('a', 'b', 'tie')


@dataclasses.dataclass(frozen=True)
class Options:
  """What is said about a set on the command line.

  Attributes:
    columns: our name -> the set's.
    labels: our label -> the set's.
    user: who judged all of it.
  """

  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
  labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
  user: str | None = None


def parse_columns(text: str) -> dict[str, str]:
  """Returns 'a=b,c=d' as a mapping; for columns and for labels.

  Raises:
    ValueError: naming the part that is not NAME=VALUE.
  """
  known: dict[str, str] = {}
  for part in text.split(','):
    name, equals, value = (piece.strip() for piece in part.partition('='))
    if not (name and equals and value):
      raise ValueError(
        f'{part.strip()!r}: write NAME=VALUE, with commas between'
      )
    if name in known:
      raise ValueError(
        f'{name} is given twice: write {name}={known[name]}+{value}'
      )
    known[name] = value
  return known


def label_of(said: str, labels: Mapping[str, str | float]) -> str | float:
  """Returns a judgement's label, given what the set says.

  Args:
    said: such as 'A', 'model_b', '0.75'.
    labels: the set's -> ours; if empty, the set's are ours.

  Raises:
    SchemaError: the set's label is not known.
  """
  if labels:
    if said not in labels:
      raise schema.SchemaError(f'label: {said!r} is none of {list(labels)}')
    return labels[said]
  try:
    return _own(said)
  except ValueError:
    raise schema.SchemaError(
      f"label: {said!r} is none of 'a', 'b', 'tie', and no probability that a "
      'is preferred: say with --labels=a=...,b=... which is which'
    ) from None


def inverted(
  labels: Mapping[str, str], known: tuple[str, ...] = ()
) -> dict[str, str | float]:
  """Returns the set's label -> ours.

  Args:
    labels: ours -> the set's, several joined by '+'.
    known: which of ours there are; a, b, tie and probabilities if empty.

  Raises:
    ValueError: one of ours is unknown, or one of the set's is given twice.
  """
  found: dict[str, str | float] = {}
  for own, several in labels.items():
    if known and own not in known:
      raise ValueError(f'--labels: {own!r} is none of {list(known)}')
    try:
      value = own if known else _own(own)
    except ValueError:
      raise ValueError(
        f'--labels: {own!r} is none of {list(_SIDES)}, and no probability: '
        'write ours=theirs, such as a=A'
      ) from None
    for said in several.split('+'):
      if said in found:
        raise ValueError(f'--labels: {said!r} is given twice')
      found[said] = value
  return found


def _own(label: str) -> str | float:
  if label in _SIDES:
    return label
  number = float(label)
  if not 0 <= number <= 1:
    raise ValueError(f'{label} is no probability')
  return number


def check_columns(
  path: Path,
  there: tuple[str, ...],
  needed: tuple[str, ...],
  version: str,
  known: tuple[str, ...] = (),
) -> None:
  """Raises SchemaError where a file is not the version that a reader knows.

  Args:
    path: the file.
    there: its columns.
    needed: columns without which it cannot be read.
    version: which one the reader knows.
    known: other columns that the version has.
  """
  missing = [name for name in needed if name not in there]
  if missing:
    unexpected = [name for name in there if name not in needed + known]
    raise schema.SchemaError(
      f'{path}: has no columns {", ".join(missing)}'
      + (f', and has {", ".join(unexpected)}' * bool(unexpected))
      + f'; this reads {version}'
    )
