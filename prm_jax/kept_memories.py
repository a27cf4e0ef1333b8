"""Memories of people on disk, and forgetting them there.

    WORKDIR/memories.json       shapes of memories, and where texts are cached
    WORKDIR/checkpoints/N       who has which row, and everybody's memories
    WORKDIR/events/DIGEST.json  what a person did, in words
    WORKDIR/events/lock         held while something is saved or forgotten
    WORKDIR/summaries/          what is written about them, and salted digests
                                of who was forgotten; see `kept_summaries`

A training that goes on meanwhile saves nothing of who is forgotten. A `forget`
that was killed is repeated: until it has returned a person may be known.

    folder = Folder(workdir, like, store=store)
    draft = folder.begin(users)                       # rows in this order
    draft.save(memories, events={'ann': ['...']}, summaries={'ann': '...'})
    folder.forget('ann')

What it takes to forget stands in the folder, so that `opened(workdir)`, and
`prm forget`, need no program that made the memories.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import filelock
import jax
import jax.numpy as jnp

from prm_jax import kept_summaries, types
from prm_jax.models import adapters, embeddings, lora
from prm_jax.runtime import checkpoint, writers
from prm_jax.systems import personal_memories
from prm_jax.users import bank, episodic

VERSION = 1
_CARD, _CHECKPOINTS, _EVENTS, _LOCK = (
  'memories.json',
  'checkpoints',
  'events',
  'lock',
)
_ELSEWHERE = 'elsewhere'  # a cache that is no folder of embeddings
# Of which memories are made; a card says their names.
_TREES: Mapping[str, Any] = {
  tree.__name__: tree
  for tree in (
    personal_memories.Memories,
    episodic.Memory,
    episodic.Events,
    adapters.Bank,
    lora.Adapter,
    types.Tokens,
  )
}
_WAIT = 60.0  # seconds; a saving takes few


class Forgets(Protocol):
  """A cache of what was computed of texts, such as their embeddings."""

  def forget(self, units: Sequence[str]) -> int:
    """Deletes units; returns how many were there."""
    ...


class Kept(NamedTuple):
  """What a checkpoint holds.

  Attributes:
    people: who has which row, U.
    memories: of U people.
  """

  people: types.People
  memories: personal_memories.Memories


class Folder:
  """The memories of a model's people; nothing is made before it is needed."""

  def __init__(
    self,
    workdir: str | Path,
    like: personal_memories.Memories,
    *,
    store: Forgets | None = None,
  ):
    """Names it.

    Args:
      workdir: of the model.
      like: of U people; their shapes alone are read.
      store: where what was computed of events is cached; it forgets them too.
        An `embeddings.Store` is found by `opened` again.
    """
    self.workdir = Path(workdir)
    self.summaries = kept_summaries.Folder(workdir)
    self._like = jax.eval_shape(lambda given: given, like)
    self._store = store

  # ------------------------------------------------------------------- read

  def load(self) -> Kept:
    """Returns the newest memories.

    Raises:
      CheckpointError: there are none, or they are others.
    """
    with self._checkpoints() as manager:
      return Kept(*manager.restore(self._shapes()))

  def events(self, user: str) -> list[str]:
    """Returns what a person did, in words; [] where nothing is kept.

    Raises:
      ValueError: the file is damaged, or another person's.
    """
    path = self._path(user)
    if not path.exists():
      return []
    try:
      known = json.loads(path.read_text('utf-8'))
      owner, texts = known['user'], known['events']
    except (ValueError, KeyError, TypeError) as error:
      raise ValueError(f'{path} is damaged: {error!r}') from error
    if owner != user:
      raise ValueError(f'{path}: user is {owner!r}, not {user!r}')
    return list(texts)

  # ----------------------------------------------------------------- change

  def begin(self, users: Sequence[str]) -> 'Draft':
    """Returns what a training may save: of people who are not forgotten.

    Args:
      users: whose memories are trained, in order of their rows.

    Raises:
      ValueError: a person is given twice, or others than `like` has rows.
    """
    rows = len(self._like.events.latest)
    if len(users) != rows:
      raise ValueError(f'{len(users)} people for {rows} rows')
    people = bank.with_ids(bank.empty(rows, (), ()), users)
    return Draft(self, users, people, self.summaries.begin(users))

  def forget(self, *users: str) -> None:
    """Leaves nothing of some people: of all of them, or of nobody.

    Events in words and what was computed of them, summaries, and rows of the
    newest checkpoint, which is written anew; earlier ones are deleted.

    Args:
      *users: of whom nothing may remain.

    Raises:
      KeyError: nothing is kept of one of them; then nobody is forgotten.
    """
    with self._held():
      kept = self.load() if self._saved() else None
      unknown = [user for user in users if not self._knows(user, kept)]
      if unknown:
        names = ', '.join(map(repr, unknown))
        raise KeyError(f'nothing is kept of {names}')
      # In an order in which, wherever it is killed, it can be repeated: what
      # is cached is found by the events, and the record goes last.
      if self._store is not None:
        for user in users:
          self._store.forget(self.events(user))
      if kept is not None:
        self._rewrite(without(kept, users))
      for user in users:
        self._delete(user)
      self.summaries.forget(*users, strangers=True)

  def _rewrite(self, kept: Kept) -> None:
    """Saves a step beside which no other stays."""
    with self._checkpoints() as manager:
      step = (manager.latest() or 0) + 1
      manager.save(step, kept)
      manager.wait()

  # ------------------------------------------------------------------ files

  def _knows(self, user: str, kept: Kept | None) -> bool:
    if self._path(user).exists() or self.summaries.knows(user):
      return True
    return kept is not None and user in _rows(kept.people, [user])

  def _describe(self) -> None:
    """Writes what `opened` reads."""
    cached = None
    if self._store is not None:
      cached = _ELSEWHERE
    if isinstance(self._store, embeddings.Store | embeddings.Kept):
      path, own = self._store.folder.resolve(), self.workdir.resolve()
      inside = path.is_relative_to(own)
      cached = str(path.relative_to(own) if inside else path)
    writers.write_json_atomic(
      self.workdir / _CARD,
      {'format': VERSION, 'cache': cached, 'shapes': _described(self._like)},
    )

  def _shapes(self) -> Kept:
    rows = len(self._like.events.latest)
    people = jax.eval_shape(lambda: bank.empty(rows, (), ()))
    return Kept(people, self._like)

  def _saved(self) -> bool:
    folder = self.workdir / _CHECKPOINTS
    if not folder.exists():
      return False
    with self._checkpoints() as manager:
      return manager.latest() is not None

  def _checkpoints(self) -> checkpoint.Checkpoints:
    # One step alone: earlier ones would hold who is forgotten.
    return checkpoint.Checkpoints(self.workdir / _CHECKPOINTS, keep=1)

  def _path(self, user: str) -> Path:
    return self.workdir / _EVENTS / f'{_digest(user)}.json'

  def _write(self, user: str, texts: Sequence[str]) -> None:
    writers.write_json_atomic(
      self._path(user), {'format': VERSION, 'user': user, 'events': list(texts)}
    )

  def _delete(self, user: str) -> None:
    # What a killed process has left of the file, too.
    for path in self._path(user).parent.glob(f'{_digest(user)}.json*'):
      path.unlink(missing_ok=True)

  @contextlib.contextmanager
  def _held(self) -> Iterator[None]:
    """Holds the lock, which dies with its process."""
    folder = writers.make_folder(self.workdir / _EVENTS)
    lock = filelock.FileLock(folder / _LOCK, mode=0o600)
    try:
      lock.acquire(timeout=_WAIT)
    except filelock.Timeout:
      raise TimeoutError(
        f'another process has held {folder / _LOCK} for {_WAIT:.0f} seconds: '
        'try again when it is through'
      ) from None
    try:
      yield
    finally:
      lock.release()


class Draft:
  """What one training may save: of people who were there when it began."""

  def __init__(
    self,
    folder: Folder,
    users: Sequence[str],
    people: types.People,
    summaries: kept_summaries.Draft,
  ):
    """Is made by `Folder.begin`."""
    self._folder, self._users, self._people = folder, list(users), people
    self._summaries = summaries

  def save(
    self,
    memories: personal_memories.Memories,
    *,
    events: Mapping[str, Sequence[str]],
    summaries: Mapping[str, str],
  ) -> list[str]:
    """Saves memories, and returns of whom nothing was: who is forgotten.

    Args:
      memories: of U people.
      events: what people did, in words.
      summaries: what is written about people.

    Raises:
      KeyError: somebody was not there when it began.
      SummaryError: a summary is longer than is kept.
    """
    strangers = sorted({*events, *summaries} - set(self._users))
    if strangers:
      raise KeyError(f'not of this training: {strangers}')
    folder = self._folder
    with folder._held():
      folder._describe()  # first: who is known can be forgotten
      # Everybody's, an empty one too: it tells who was forgotten meanwhile.
      allowed = set(self._summaries.users)
      told = {user: summaries.get(user, '') for user in allowed}
      outcome = self._summaries.write(told)
      gone = [
        user
        for user in self._users
        if user not in allowed or user in outcome.gone
      ]
      for user, texts in events.items():
        if user not in gone:
          folder._write(user, texts)
      folder._rewrite(without(Kept(self._people, memories), gone))
    return gone


def opened(workdir: str | Path) -> Folder | None:
  """Returns the memories that somebody has kept; None where nobody has.

  Args:
    workdir: of the model.

  Raises:
    ValueError: what is said of them is damaged, or they are of another format;
      or what is cached of events is where nothing but the program that made
      them can find it.
  """
  path = Path(workdir) / _CARD
  if not path.exists():
    return None
  try:
    card = json.loads(path.read_text('utf-8'))
    version, cached = card['format'], card['cache']
    like = _undescribed(card['shapes'])
    known = isinstance(like, personal_memories.Memories)
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'{path} is damaged: {error!r}') from error
  if version != VERSION or not known:
    raise ValueError(f'{path}: no memories of format {VERSION}')
  if cached == _ELSEWHERE:
    raise ValueError(
      f'{path}: what is cached of events is in a store of another program: '
      'forget there, by kept_memories.Folder with that store'
    )
  store = None if cached is None else embeddings.Kept(Path(workdir) / cached)
  return Folder(workdir, like, store=store)


def _described(tree: types.PyTree) -> Any:
  """Returns the shapes of a tree of arrays as plain data."""
  if tree is None:
    return None
  if hasattr(tree, '_fields'):
    leaves = {name: _described(leaf) for name, leaf in tree._asdict().items()}
    return {'tree': type(tree).__name__, 'leaves': leaves}
  if isinstance(tree, Mapping):
    return {'leaves': {name: _described(leaf) for name, leaf in tree.items()}}
  if isinstance(tree, tuple):
    return [_described(leaf) for leaf in tree]
  return {'shape': list(tree.shape), 'dtype': str(tree.dtype)}


def _undescribed(plain: Any) -> types.PyTree:
  """Returns the tree of shapes that `_described` has made plain."""
  if plain is None:
    return None
  if isinstance(plain, list):
    return tuple(map(_undescribed, plain))
  if 'leaves' not in plain:
    return jax.ShapeDtypeStruct(tuple(plain['shape']), plain['dtype'])
  leaves = {name: _undescribed(x) for name, x in plain['leaves'].items()}
  return _TREES[plain['tree']](**leaves) if 'tree' in plain else leaves


def without(kept: Kept, users: Sequence[str]) -> Kept:
  """Returns what is kept, as if nothing had ever been known of some people.

  Args:
    kept: of U people.
    users: who need not be among them.
  """
  rows = _rows(kept.people, users)
  if not rows:
    return kept
  where = jnp.array(list(rows.values()), jnp.int32)
  return Kept(
    bank.forget(kept.people, list(rows)),
    personal_memories.forget(kept.memories, where),
  )


def _rows(people: types.People, users: Sequence[str]) -> dict[str, int]:
  """Returns the rows of those people who have one."""
  found = {}
  for user in users:
    with contextlib.suppress(KeyError):
      found[user] = int(bank.rows_of(people, [user])[0])
  return found


def _digest(user: str) -> str:
  return hashlib.sha256(user.encode()).hexdigest()
