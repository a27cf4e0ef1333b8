"""Summaries of people on disk: one file each, which several processes share.

    WORKDIR/summaries/DIGEST.json     a person's `users.records.Summary`
    WORKDIR/summaries/forgotten.json  salted digests of who was forgotten
    WORKDIR/summaries/lock            held while something is changed

A file is whole or not there, and is read without the lock. Whoever changes one
checks all of it, under the lock, before anything is written.

Of who is forgotten a salted digest stays, so that a training that still has
their history, or one that is resumed, does not write their record again. Only
an edit, which a person makes, begins another one.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np

from prm_jax import places
from prm_jax.runtime import writers
from prm_jax.users import records
from prm_jax.users.records import Summary, SummaryError

VERSION = 1
NAME = 'summaries'  # of the folder, in that of a model
METADATA, KIND = 'metadata.json', 'summary'  # of a model that reads them
_FORGOTTEN, _LOCK = 'forgotten.json', 'lock'
_WAIT = 60.0  # seconds; a change takes milliseconds


def card(folder: str | Path) -> dict[str, Any] | None:
  """Returns what a model that reads summaries says of itself.

  Args:
    folder: of any model; None where it reads none.

  Raises:
    ValueError: the file is damaged.
  """
  path = places.place(folder) / METADATA
  if not path.exists():
    return None
  try:
    known = json.loads(path.read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} is not JSON: {error}') from error
  ours = isinstance(known, dict) and known.get('kind') == KIND
  return known if ours else None


class ConflictError(SummaryError):
  """Somebody else has changed the summary meanwhile."""


class Outcome(NamedTuple):
  """What became of summaries that a model wrote, people by people.

  Attributes:
    written: read from now on.
    held: kept, and read when the person releases their own.
    gone: not kept: who was forgotten, or was not there when it began.
  """

  written: tuple[str, ...]
  held: tuple[str, ...]
  gone: tuple[str, ...]


class Folder:
  """The summaries of a model's people; nothing is made before it is needed."""

  def __init__(
    self,
    workdir: str | Path,
    *,
    measure: records.Measure | None = None,
    longest: int = records.LONGEST,
  ):
    """Names it.

    Args:
      workdir: of the model.
      measure: of the reward model that reads the summaries; what it would cut
        is refused.
      longest: characters of a summary.
    """
    self.path = Path(workdir) / NAME
    self.measure, self._longest = measure, longest

  # ------------------------------------------------------------------- read

  def read(self, user: str) -> Summary:
    """Returns a person's record, as it is on disk now.

    Raises:
      KeyError: there is none.
      SummaryError: the file is damaged, or another person's.
    """
    summary = self._read(_digest(user), user)
    if summary is None:
      raise KeyError(f'nothing is written about {user!r}')
    return summary

  def knows(self, user: str) -> bool:
    """Returns whether a person has a record."""
    return self._read(_digest(user), user) is not None

  def users(self) -> list[str]:
    """Returns everybody who has a record."""
    found = []
    for path in self.path.glob('*.json'):
      if len(path.stem) == _DIGITS:  # what others left there is no record
        summary = self._read(path.stem)
        if summary is not None:
          found.append(summary.user)
    return sorted(found)

  # ----------------------------------------------------------------- change

  def edit(
    self, user: str, words: str, *, version: int | None = None
  ) -> Summary:
    """Returns the record with a person's words, on disk, read from now on.

    They stay, whatever the model learns or is refitted to, until `release`.
    Somebody unknown, or forgotten, has a record from now on.

    Args:
      user: about whom.
      words: in any language; '' says that nothing shall be read.
      version: of the record that was looked at, 0 for none. None replaces what
        the model wrote, and nothing that a person did.

    Raises:
      ConflictError: the record is another one by now.
      SummaryError: the words are too long, or no text.
    """
    words = records.typed(words)
    records.check(words, longest=self._longest, measure=self.measure)
    with self._held():
      old = self._read(_digest(user), user)
      _check_version(user, old, version)
      summary = records.edited(
        old or Summary(user, _drawn(), version=0), words, records.now()
      )
      if old is None:  # nothing of who was forgotten is left under the new one
        self._delete(user)
      self._write(summary)
      if old is None:
        self._forgotten(without=user)
    return summary

  def release(self, user: str, *, version: int | None = None) -> Summary:
    """Returns the record in which the model's words are read again.

    Args:
      user: whose.
      version: of the record that was looked at; any if None.

    Raises:
      KeyError: there is none.
      SummaryError: it holds no words of a person, or is another one by now.
    """
    self.read(user)  # before a folder is made
    with self._held():
      old = self.read(user)
      if version not in (None, old.version):
        raise _conflict(user, old, version)
      summary = records.released(old)
      self._write(summary)
    return summary

  def forget(self, *users: str, strangers: bool = False) -> None:
    """Deletes people's records: of all of them, or of nobody.

    Args:
      *users: of whom nothing may remain.
      strangers: whether people without a record may be among them, who then
        shall not get one.

    Raises:
      KeyError: one of them has no record; then nobody is forgotten.
    """
    if not strangers:
      self._require(users)  # before a folder is made
    with self._held():
      if not strangers:
        self._require(users)
      # From this moment on they have no record, all at once.
      self._forgotten(more=users)
      for user in users:
        self._delete(user)

  def _require(self, users: Sequence[str]) -> None:
    # Files, and not records: damaged ones, and what a killed process has left
    # of who was forgotten, go too.
    unknown = [user for user in users if not any(self._files(user))]
    if unknown:
      names = ', '.join(map(repr, unknown))
      raise KeyError(f'nothing is written about {names}')

  def begin(self, users: Iterable[str]) -> 'Draft':
    """Returns what a training may write: about whom is there, not forgotten.

    Who has no record gets one, about which nothing is written yet, so that
    they can be forgotten while the training goes on.

    Args:
      users: whose histories are trained on.
    """
    keys = {}
    with self._held():
      known = self._forgotten()
      for user in dict.fromkeys(users):
        if known.has(_digest(user)):
          self._delete(user)
          continue
        summary = self._read(_digest(user), user, known)
        if summary is None:
          summary = Summary(user, _drawn())
          self._write(summary)
        keys[user] = summary.key
    return Draft(self, keys)

  def _take(self, words: Mapping[str, str], keys: Mapping[str, str]) -> Outcome:
    """Writes a model's words; see `Draft.write`."""
    words = {user: records.decoded(text) for user, text in words.items()}
    for user, text in words.items():
      try:
        records.check(text, longest=self._longest, measure=self.measure)
      except SummaryError as error:
        raise SummaryError(f'{user!r}: {error}') from None
    time = records.now()
    found: dict[str, list[str]] = {name: [] for name in Outcome._fields}
    with self._held():
      # All are read, and so checked, before one is written.
      gone = self._forgotten()
      known = {user: self._read(_digest(user), user, gone) for user in words}
      for user, text in words.items():
        old = known[user]
        if old is None or old.key != keys.get(user):
          found['gone'].append(user)
          continue
        summary = records.written(old, text, time)
        if summary != old:
          self._write(summary)
        found['held' if summary.locked else 'written'].append(user)
    return Outcome(*map(tuple, found.values()))

  # ------------------------------------------------------------------ files

  @contextlib.contextmanager
  def _held(self) -> Iterator[None]:
    """Holds the lock, which dies with its process."""
    writers.make_folder(self.path)
    lock = filelock.FileLock(self.path / _LOCK, mode=0o600)
    try:
      lock.acquire(timeout=_WAIT)
    except filelock.Timeout:
      raise SummaryError(
        f'another process has held {self.path / _LOCK} for {_WAIT:.0f} '
        'seconds: try again when it is through'
      ) from None
    try:
      yield
    finally:
      lock.release()

  def _read(
    self,
    digest: str,
    user: str | None = None,
    forgotten: '_Forgotten | None' = None,
  ) -> Summary | None:
    """Returns a record, None if there is none; `forgotten` spares a reading."""
    path = self.path / f'{digest}.json'
    try:
      content = path.read_text('utf-8')
    except FileNotFoundError:
      return None
    except UnicodeDecodeError as error:
      raise SummaryError(f'{path}: {error}') from error
    # Read after the record: who was forgotten before has none.
    if (forgotten or self._forgotten()).has(digest):
      return None
    summary = _parsed(content, path)
    if user is not None and summary.user != user:
      raise SummaryError(f'{path}: user is {summary.user!r}, not {user!r}')
    return summary

  def _write(self, summary: Summary) -> None:
    record = summary._asdict()
    for hand in ('person', 'model'):
      text = record[hand]
      record[hand] = None if text is None else text._asdict()
    path = self.path / f'{_digest(summary.user)}.json'
    writers.write_json_atomic(path, {'format': VERSION, **record})

  def _files(self, user: str) -> Iterator[Path]:
    """Yields a person's file, and what a killed process may have left of it."""
    return self.path.glob(f'{_digest(user)}.json*')

  def _delete(self, user: str) -> None:
    for path in self._files(user):
      path.unlink(missing_ok=True)

  def _forgotten(
    self, *, more: Sequence[str] = (), without: str | None = None
  ) -> '_Forgotten':
    """Returns who was forgotten, and writes it where it is changed."""
    path = self.path / _FORGOTTEN
    known = _Forgotten(secrets.token_hex(16), frozenset())
    if path.exists():
      try:
        found = json.loads(path.read_text('utf-8'))
        known = _Forgotten(found['salt'], frozenset(found['digests']))
      except (ValueError, KeyError, TypeError) as error:
        raise SummaryError(f'{path} is damaged: {error!r}') from error
    digests = known.digests | {known.of(_digest(user)) for user in more}
    if without is not None:
      digests -= {known.of(_digest(without))}
    if digests != known.digests:
      known = known._replace(digests=digests)
      writers.write_json_atomic(
        path, {'salt': known.salt, 'digests': sorted(digests)}
      )
    return known


class Draft:
  """What one training may write: about people who were there when it began."""

  def __init__(self, folder: Folder, keys: Mapping[str, str]):
    """Is made by `Folder.begin`.

    Args:
      folder: of the summaries.
      keys: person -> key of their record.
    """
    self._folder, self._keys = folder, dict(keys)

  @property
  def users(self) -> list[str]:
    """Returns about whom it may write: nobody who had been forgotten."""
    return list(self._keys)

  def write(self, words: Mapping[str, str]) -> Outcome:
    """Writes what a model says of people, and returns what became of it.

    After a fit, a refit or new answers. A person's own words stay what is
    read; who was forgotten meanwhile stays so. All words are checked before
    anything is written.

    Args:
      words: person -> summary; '' where the model has nothing to say.

    Raises:
      SummaryError: one is longer than is kept or read.
    """
    return self._folder._take(words, self._keys)


class Scorer:
  """Scores responses for people who are texts: as those are at each call."""

  def __init__(self, folder: Folder, reader: records.Reads):
    """Names both.

    Args:
      folder: of the summaries.
      reader: the reward model.
    """
    self.folder, self._reader = folder, reader

  def score(
    self, user: str | None, prompt: str, responses: Sequence[str]
  ) -> np.ndarray:
    """Returns how good responses are for a person, `[K]`, in logits.

    Args:
      user: who has a record; somebody unknown if None.
      prompt: what was asked for.
      responses: K of them.

    Raises:
      KeyError: nothing is written about the person.
      SummaryError: the record cannot be read.
    """
    return self.score_rows(user, [prompt] * len(responses), responses)

  def score_rows(
    self, user: str | None, prompts: Sequence[str], responses: Sequence[str]
  ) -> np.ndarray:
    """Returns scores `[M]` of M responses to M prompts; see `score`.

    Args:
      user: as in `score`.
      prompts: M.
      responses: M.
    """
    words = '' if user is None else self.folder.read(user).words
    return self._reader.score(words, prompts, responses)


class _Forgotten(NamedTuple):
  """Salted digests of who was forgotten."""

  salt: str
  digests: frozenset[str]

  def of(self, digest: str) -> str:
    return hashlib.sha256((self.salt + digest).encode()).hexdigest()

  def has(self, digest: str) -> bool:
    return bool(self.digests) and self.of(digest) in self.digests


_DIGITS = 32


def _digest(user: str) -> str:
  """Returns the name of a person's file: ids may have any characters."""
  try:
    return hashlib.sha256(user.encode()).hexdigest()[:_DIGITS]
  except UnicodeEncodeError as error:
    raise SummaryError(f'user id {user!r} is no text: {error}') from error


def _drawn() -> str:
  return secrets.token_hex(8)


def _check_version(user: str, old: Summary | None, version: int | None) -> None:
  """Raises ConflictError where an edit would undo what it has not seen."""
  if version is None:
    if old is not None and old.person is not None:
      raise ConflictError(
        f'{user!r} has a summary that a person edited at {old.person.time}: '
        f'say that you have seen it (version {old.version}) to replace it'
      )
  elif version != (old.version if old else 0):
    raise _conflict(user, old, version)


def _conflict(
  user: str, old: Summary | None, version: int | None
) -> ConflictError:
  if old is None:
    now = 'there is none now'
  else:
    hand = 'a person' if old.locked else 'the model'
    at = f' at {old.present.time}' if old.present else ''
    now = f'it is {old.version} now, by {hand}{at}'
  return ConflictError(
    f'the summary of {user!r} has changed since version {version}: {now}; '
    'look at it, and edit that'
  )


def _parsed(content: str, path: Path) -> Summary:
  """Returns the record that a file holds.

  Raises:
    SummaryError: it does not fit.
  """
  try:
    known = json.loads(content)
  except ValueError as error:
    raise SummaryError(f'{path} is not JSON: {error}') from error
  names = {'format', *Summary._fields}
  if not isinstance(known, dict) or known.get('format') != VERSION:
    raise SummaryError(f'{path} is no summary of format {VERSION}')
  if set(known) != names:
    raise SummaryError(
      f'{path}: fields {sorted(set(known) ^ names)} are missing or too many'
    )
  del known['format']
  checks: dict[str, Callable[[Any], bool]] = {
    'user': lambda value: isinstance(value, str),
    'key': lambda value: isinstance(value, str) and bool(value),
    'version': lambda value: type(value) is int and value > 0,
    'person': _is_text,
    'model': _is_text,
  }
  for name, fits in checks.items():
    if not fits(known[name]):
      raise SummaryError(f'{path}: {name}: {known[name]!r}')
  for hand in ('person', 'model'):
    if known[hand] is not None:
      known[hand] = records.Text(**known[hand])
  return Summary(**known)


def _is_text(value: Any) -> bool:
  fields = set(records.Text._fields)
  return value is None or (
    isinstance(value, dict)
    and set(value) == fields
    and all(isinstance(each, str) for each in value.values())
  )
