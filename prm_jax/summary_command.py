"""The command `prm summary`: what is written about a person, at a terminal."""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from prm_jax import kept_summaries, summary_model
from prm_jax.users import records


def run(arguments: argparse.Namespace) -> None:
  """Shows, edits, releases or forgets.

  The words alone go to the standard output, what is said of them to standard
  error: what was shown can be changed and given back.

  Args:
    arguments: of `options.parser`.

  Raises:
    KeyError: nothing is written about the person.
    ValueError: it cannot be done; then nothing is.
  """
  users, action = arguments.user, arguments.action
  if action != 'forget' and len(users) > 1:
    raise ValueError(f'{action} takes one --user, and here are {len(users)}')
  _refuse_others(arguments)
  folder = summary_model.people(arguments.workdir)
  if action == 'forget':
    folder.forget(*users)
    _say(
      f'forgot the summaries of {len(users)} people: a training that still has '
      'their histories does not write them again. Delete those, too.'
    )
  elif action == 'show':
    show(folder.read(users[0]), model=arguments.model)
  elif action == 'release':
    summary = folder.release(users[0], version=arguments.version)
    _say(f'released. {described(summary)}')
  else:
    edit(folder, users[0], arguments)


def show(summary: records.Summary, *, model: bool = False) -> None:
  """Prints a summary.

  Args:
    summary: of a person.
    model: the model's words, whatever is read.
  """
  _say(described(summary))
  words = summary.words
  if model:
    words = summary.model.words if summary.model else ''
  if words:
    print(words)


def described(summary: records.Summary) -> str:
  """Returns who wrote what is read about a person, and what will be.

  Args:
    summary: of a person.
  """
  who = f'{summary.user}, version {summary.version}'
  present = summary.present
  if present is None:
    return f'{who}: nothing is written yet'
  blank = '' if present.words else ' (empty: nothing is read)'
  if not summary.locked:
    return f'{who}: by the model, {present.time}{blank}'
  after = 'nothing, for the model has written none'
  if summary.model is not None:
    after = f'the words of the model, {summary.model.time} (show --model)'
  return (
    f'{who}: by a person, {present.time}{blank}; read until it is released, '
    f'then {after}'
  )


def edit(
  folder: kept_summaries.Folder, user: str, arguments: argparse.Namespace
) -> None:
  """Replaces what is read about a person.

  Args:
    folder: of the summaries.
    user: whose.
    arguments: `text`, `file` or `empty`; an editor is opened without them.

  Raises:
    ValueError: the words cannot be kept, or somebody has changed the summary.
  """
  words, version = _given(arguments), arguments.version
  if words is None:
    return _in_editor(folder, user, version)
  if not words.strip() and not arguments.empty:
    raise ValueError(
      'the summary is empty. That nothing shall be read: --empty; that the '
      'model shall write: release; that nothing shall be known: forget'
    )
  return _edit(folder, user, words, version)


def _edit(folder, user, words, version) -> None:
  known = folder.knows(user)
  summary = folder.edit(user, words, version=version)
  measured = folder.measure and folder.measure(summary.words)
  _say(described(summary))
  if not known:
    _say(f'nothing had been written about {user!r} before')
  if measured and measured.unknown:
    _say(
      f'the reward model does not know {measured.unknown} of its '
      f'{measured.tokens} tokens: what they say is not read'
    )


def _in_editor(folder, user, version) -> None:
  """Lets a person edit the present words; theirs are not lost by an error."""
  editor = os.environ.get('VISUAL') or os.environ.get('EDITOR')
  if not editor:
    raise ValueError(
      'give the words with --text or --file, or an editor in EDITOR'
    )
  old = folder.read(user) if folder.knows(user) else None
  before, seen = (old.words, old.version) if old else ('', 0)
  if version not in (None, seen):
    raise ValueError(f'--version={version}: it is {seen} now: look at it again')
  handle, name = tempfile.mkstemp(prefix='summary-', suffix='.txt')
  path = Path(name)
  with os.fdopen(handle, 'w', encoding='utf-8') as file:
    file.write(before + '\n' if before else '')
  if subprocess.run([*shlex.split(editor), name], check=False).returncode:
    path.unlink()
    raise ValueError(f'{editor} ended with an error: nothing is changed')
  words = _read(path)
  if words.strip() == before:
    path.unlink()
    return _say('nothing is changed')
  try:
    if not words.strip():
      raise ValueError('the summary is empty: nothing is changed (--empty)')
    _edit(folder, user, words, seen)
  except ValueError as error:
    raise ValueError(f'{error}. Your words are kept in {path}') from None
  return path.unlink()


def _given(arguments: argparse.Namespace) -> str | None:
  """Returns the words of the command line; None where there are none.

  Raises:
    ValueError: they are given twice, or are no text.
  """
  given = [arguments.text is not None, arguments.file is not None]
  if sum([*given, arguments.empty]) > 1:
    raise ValueError('give one of --text, --file and --empty')
  if arguments.empty:
    return ''
  if arguments.file == '-':
    return _text(sys.stdin.buffer.read(), 'the input')
  if arguments.file is not None:
    return _read(Path(arguments.file))
  return arguments.text


def _read(path: Path) -> str:
  return _text(path.read_bytes(), str(path))


def _text(content: bytes, where: str) -> str:
  try:
    return content.decode('utf-8')
  except UnicodeDecodeError as error:
    raise ValueError(f'{where} is no UTF-8 text: {error}') from error


def _refuse_others(arguments: argparse.Namespace) -> None:
  """Raises ValueError for an option that another action takes."""
  takes = {
    'text': ('edit',),
    'file': ('edit',),
    'empty': ('edit',),
    'version': ('edit', 'release'),
    'model': ('show',),
  }
  for name, actions in takes.items():
    given = getattr(arguments, name) not in (None, False)
    if given and arguments.action not in actions:
      raise ValueError(f'--{name}: {arguments.action} takes none')


def _say(text: str) -> None:
  print(text, file=sys.stderr)
