"""What people think of each other's statements: for audits and worlds only.

No builder: what a person agrees with is special-category data (GDPR, article
9). So, as with `stated_stances`, votes are read from the source each time and
kept nowhere: they pass through no TFDS or other cache, where they would
outlive their use; they are no `Judgements`, which learners train on and
predictions are written of; and no name of a person is returned.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prm_jax.data import schema
from prm_jax.data.builders import table

_FILES = ('statements.jsonl.gz', 'people.jsonl.gz')
_REJECTED = -1


def conversations(data_dir: Path) -> list[str]:
  """Returns the names of the conversations in `data_dir/polis`, sorted.

  Raises:
    SchemaError: there is none.
  """
  folder = data_dir / 'polis'
  found = [path.parent.name for path in folder.glob(f'*/{_FILES[0]}')]
  if not found:
    raise schema.SchemaError(f'{folder}: holds no CONVERSATION/{_FILES[0]}')
  return sorted(found)


def read(data_dir: Path, conversation: str) -> schema.Opinions:
  """Returns a conversation without what its moderators rejected.

  People and statements are numbered in the order of their file; somebody who
  voted on rejected statements alone keeps a number and has no vote.

  Args:
    data_dir: holds `polis/CONVERSATION/{statements,people}.jsonl.gz`.
    conversation: one of `conversations`.

  Raises:
    SchemaError: no such conversation, or a malformed row, naming file, line
      and field. It shows nobody's vote.
  """
  known = conversations(data_dir)
  if conversation not in known:
    raise schema.SchemaError(
      f'unknown conversation {conversation!r}: one of {known}'
    )
  return read_folder(data_dir / 'polis' / conversation)


def read_folder(folder: Path) -> schema.Opinions:
  """Returns anybody's conversation in the same format, named by its folder.

  Args:
    folder: holds `statements.jsonl.gz` and `people.jsonl.gz`.

  Raises:
    SchemaError: a file is missing, or a row malformed, naming file, line and
      field. It shows nobody's vote.
  """
  statements, people = (table.existing(folder / name) for name in _FILES)
  rows = _statements(statements)
  kept = [row for row in rows.values() if row['moderated'] != _REJECTED]
  number = {row['statement']: place for place, row in enumerate(kept)}
  votes, group, total = [], [], 0
  for place, row in enumerate(_people(people, rows)):
    group.append(-1 if row['group'] is None else row['group'])
    total += len(row['votes'])
    votes += [
      (place, number[statement], vote)
      for statement, vote in row['votes']
      if statement in number
    ]
  person, statement, vote = np.array(votes, np.int32).reshape(-1, 3).T.copy()
  notes = []
  if len(kept) < len(rows):
    notes.append(
      f'{len(rows) - len(kept)} of {len(rows)} statements were rejected by '
      f'moderators and are left out, with {total - len(votes)} of {total} votes'
    )
  return schema.Opinions(
    conversation=folder.resolve().name,
    statements=[row['text'] for row in kept],
    accepted=np.array([row['moderated'] == 1 for row in kept], bool),
    person=person,
    statement=statement,
    vote=vote.astype(np.int8),
    group=np.array(group, np.int32),
    notes=tuple(notes),
  )


def _statements(path: Path) -> dict[int, dict]:
  """Returns all statements by number, in the file's order."""
  fields = {'statement': int, 'text': str, 'moderated': int}
  rows: dict[int, dict] = {}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    if row['moderated'] not in (1, 0, _REJECTED):
      raise schema.SchemaError(
        f'{path}:{number}: moderated: {row["moderated"]} is none of 1, 0, -1'
      )
    if rows.setdefault(row['statement'], row) is not row:
      raise schema.SchemaError(f'{path}:{number}: statement: occurs twice')
  return rows


def _people(path: Path, statements: dict[int, dict]) -> Iterator[dict]:
  """Yields people whose votes are on known statements, one on each."""
  seen = set()
  fields = {'person': str, 'votes': list}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    fault = _fault(row, statements)
    if row['person'] in seen:
      fault = 'person: occurs twice'
    if fault:
      # A vote is not shown: it would be a person's opinion in a log.
      raise schema.SchemaError(f'{path}:{number}: {fault}')
    seen.add(row['person'])
    yield row


def _fault(row: dict, statements: dict[int, dict]) -> str:
  """Returns what is wrong with a person's row; nothing if all is well."""
  group = row.get('group', False)
  if group is not None and (type(group) is not int or group < 0):
    return 'group: is neither a number from 0 nor null'
  voted = set()
  for vote in row['votes']:
    if (
      not isinstance(vote, list)
      or len(vote) != 2
      or any(type(number) is not int for number in vote)
    ):
      return 'votes: one is no pair of numbers'
    if vote[0] not in statements:
      return 'votes: one is on an unknown statement'
    if vote[0] in voted:
      return 'votes: two are on one statement'
    if vote[1] not in (1, 0, -1):
      return 'votes: one is none of 1, 0, -1'
    voted.add(vote[0])
  return ''
