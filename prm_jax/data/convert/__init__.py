"""Published preference data as rows of our schema."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prm_jax.data import schema
from prm_jax.data.convert import (
  chatbot_arena,
  files,
  forms,
  naming,
  prism,
  texts,
)
from prm_jax.data.convert.naming import parse_columns

__all__ = ['READERS', 'Reader', 'convert', 'parse_columns']


@dataclasses.dataclass(frozen=True)
class Reader:
  """What reads one kind of set.

  Attributes:
    about: what it reads, in a line.
    version: of the set that it knows.
    read: a table and options -> what yields judgements or ratings of a row.
    takes: the options that it takes.
    known: columns of that version, read or not; of any set if empty.
  """

  about: str
  version: str
  read: Callable[[files.Table, naming.Options], forms.Convert]
  takes: tuple[str, ...] = ()
  known: tuple[str, ...] = ()


READERS: dict[str, Reader] = {
  'trl': Reader(
    about='prompt, chosen, rejected: texts or lists of messages',
    version=forms.TRL_VERSION,
    read=forms.read_trl,
    takes=('user',),
  ),
  'chatbot_arena': Reader(
    about='votes on pairs of conversations; the judge is the person',
    version=chatbot_arena.VERSION,
    read=chatbot_arena.read,
    known=chatbot_arena.NEEDED + chatbot_arena.KNOWN,
  ),
  'prism': Reader(
    about="people's ratings of answers in conversations",
    version=prism.VERSION,
    read=prism.read,
    known=prism.NEEDED + prism.KNOWN,
  ),
  'columns': Reader(
    about='any table, with --columns to say what is where',
    version='any',
    read=forms.read,
    takes=('columns', 'labels', 'user'),
  ),
}


def convert(
  name: str,
  path: Path,
  *,
  columns: Mapping[str, str] | None = None,
  labels: Mapping[str, str] | None = None,
  user: str | None = None,
) -> tuple[list[dict[str, Any]], schema.Report]:
  """Returns a file's rows in our schema, and how reading went.

  A prompt's name is the SHA-256 of its words: equal prompts have one, in
  other files too. A row of the file may make several of ours, or none where
  nobody judged; one that is malformed makes none.

  Args:
    name: one of READERS.
    path: .jsonl, .json, .csv, .tsv (and .gz of them) or .parquet.
    columns: our name -> the set's, for 'columns'.
    labels: our label -> the set's, for 'columns'; several joined by '+'.
    user: who judged all of it, for a set that does not say.

  Raises:
    ValueError: the options do not suit the reader.
    SchemaError: naming file, rows and fields: the file cannot be read, is of
      another version, names nobody, has no judgement, or more than 1 % of its
      rows are malformed.
  """
  if name not in READERS:
    raise ValueError(f'--from={name}: one of {", ".join(READERS)}')
  reader = READERS[name]
  for option, value in (
    ('columns', columns),
    ('labels', labels),
    ('user', user),
  ):
    if value is not None and option not in reader.takes:
      raise ValueError(f'--from={name} takes no --{option}')
  if user is not None and not user.strip():
    raise ValueError('--user: is empty')
  table = files.read(path)
  pieces = reader.read(table, naming.Options(columns or {}, labels or {}, user))
  prompts = _Prompts()
  made: list[dict[str, Any]] = []
  errors, unjudged = list[str](), 0
  for number, row in table.rows:
    try:
      if isinstance(row, schema.SchemaError):
        raise row
      found = [prompts.named(piece) for piece in pieces(row)]
    except schema.SchemaError as error:
      errors.append(f'{path}:{number}: {error}')
      continue
    unjudged += not found
    made += found
  total = len(table.rows)
  shown = schema.tolerated(path, errors, total)
  if not made:
    raise schema.SchemaError(f'{path}: nobody judged anything')
  notes = prompts.notes()
  if unjudged:
    notes.append(f'{unjudged} of {total} rows have no judgement')
  unknown = [column for column in table.columns if column not in reader.known]
  if reader.known and unknown:
    notes.append(
      f'columns {", ".join(unknown)} are not of {reader.version}: they are '
      'not read'
    )
  return made, schema.Report(total, len(errors), shown, tuple(notes))


class _Prompts:
  """Names of prompts, and their topics: the same words have one of each."""

  def __init__(self) -> None:
    self._topics: dict[str, str] = {}
    self._moved = 0

  def named(self, piece: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of the schema, given the row without its prompt's name.

    Raises:
      SchemaError: it is none.
    """
    if not piece['prompt'].strip():
      raise schema.SchemaError('prompt: is empty')
    for name, value in piece.get('user_attributes', {}).items():
      if not isinstance(value, str | int | float):
        raise schema.SchemaError(
          f'user_attributes: {name} is {type(value).__name__}'
        )
    prompt_id = texts.prompt_id(piece['prompt'])
    row = {'user_id': piece['user_id'], 'prompt_id': prompt_id, **piece}
    own = schema.parse_row(row).topic
    topic = self._topics.setdefault(prompt_id, own)
    self._moved += topic != own
    row.pop('topic', None)
    return row if topic == prompt_id else {**row, 'topic': topic}

  def notes(self) -> list[str]:
    """Returns what was done, if anything was."""
    if not self._moved:
      return []
    return [
      f'{self._moved} judgements are under the topic that their prompt has in '
      'an earlier row, not under their own'
    ]
