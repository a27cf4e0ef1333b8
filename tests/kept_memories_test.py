"""Memories on disk: what is forgotten is found in no file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.kept_memories import Folder
from prm_jax.models import adapters
from prm_jax.systems import personal_memories
from prm_jax.users import bank, episodic

USERS = ['ann-of-the-hills', 'bob-of-the-sea', 'eve-of-the-moor']
U, E, T, D = 3, 2, 4, 3
EVENTS = {
  USERS[0]: ['walks before breakfast', 'hates Mondays'],
  USERS[1]: ['sails alone', 'x' * 100_000],
  # Of whom another has the same history.
  USERS[2]: ['walks before breakfast', 'hates Mondays'],
}
SUMMARIES = {user: f'likes {i} things' for i, user in enumerate(USERS)}


class Store:
  """A cache on disk, by text."""

  def __init__(self, folder):
    self.path = folder / 'cache.json'
    known = {text: [1.0] for texts in EVENTS.values() for text in texts}
    self.path.write_text(json.dumps(known))

  def forget(self, units):
    known = json.loads(self.path.read_text())
    left = {text: x for text, x in known.items() if text not in units}
    self.path.write_text(json.dumps(left))
    return len(known) - len(left)


def made():
  """Memories in which nothing of anybody is 0."""
  rng = np.random.default_rng(0)

  def words(*shape):
    ids = jnp.asarray(rng.integers(1, 9, shape), jnp.int32)
    return types.Tokens(ids, jnp.ones(shape, jnp.int32))

  one = types.Tokens(*(jnp.zeros(T, jnp.int32) for _ in range(2)))
  ones = jnp.ones((U, E))
  embedding = jnp.asarray(rng.random((U, E, D)), jnp.float32)
  events = episodic.append(
    episodic.empty(U, E, D, one),
    episodic.Events(embedding, ones, ones, ones, words(U, E, T)),
  )
  start = {'kernel': {'a': jnp.zeros((1, 2))}}
  own = jax.tree.map(lambda leaf: jnp.ones((U, *leaf.shape)), start)
  base = jnp.arange(8, dtype=jnp.uint32)
  return personal_memories.Memories(
    events,
    {'counts': words(U, 2)},
    {'task': adapters.Bank(own, start, base)},  # type: ignore[arg-type]
    {'selected': words(U, 2)},
  )


@pytest.fixture
def folder(tmp_path):
  store = Store(tmp_path)
  return Folder(tmp_path, made(), store=store)


def found(folder, *words):
  """Files in which one of the words stands, by path."""
  return {
    path.relative_to(folder.workdir).as_posix()
    for path in folder.workdir.rglob('*')
    for word in words
    if path.is_file()
    and (word.encode() in path.read_bytes() or word in path.as_posix())
  }


def own_words(user):
  digest = types_digest(user)
  return (user, digest, *EVENTS[user], SUMMARIES[user])


def types_digest(user):
  return ''.join(f'{word:08x}' for word in bank.user_digest([user])[0].tolist())


def saved(folder, users=USERS):
  draft = folder.begin(users)
  draft.save(made(), events=EVENTS, summaries=SUMMARIES)
  return draft


def test_nothing_of_who_is_forgotten_is_in_any_file(folder):
  saved(folder)
  saved(folder)  # a later step
  user = USERS[1]
  known = found(folder, *own_words(user))
  # The search can find: events, summary and cache, and names of files.
  assert any(path.startswith('events/') for path in known)
  assert any(path.startswith('summaries/') for path in known)
  assert 'cache.json' in known
  before = folder.load()
  steps = {path.name for path in (folder.workdir / 'checkpoints').iterdir()}
  folder.forget(user)
  assert found(folder, *own_words(user)) == set()
  (step,) = (path.name for path in (folder.workdir / 'checkpoints').iterdir())
  assert step not in steps
  after = folder.load()
  blank = personal_memories.forget(before.memories, jnp.array([1]))
  jax.tree.map(np.testing.assert_array_equal, after.memories, blank)
  with pytest.raises(KeyError):
    bank.rows_of(after.people, [user])
  rows = bank.rows_of(after.people, [USERS[0], USERS[2]])
  np.testing.assert_array_equal(rows, [0, 2])
  with pytest.raises(KeyError, match=user):
    folder.forget(user)


def test_of_two_people_with_one_history_the_other_stays(folder):
  saved(folder)
  folder.forget(USERS[0])
  assert found(folder, USERS[0], SUMMARIES[USERS[0]]) == set()
  assert folder.events(USERS[0]) == []
  assert folder.events(USERS[2]) == EVENTS[USERS[2]]
  assert folder.summaries.read(USERS[2]).words == SUMMARIES[USERS[2]]
  assert np.asarray(folder.load().memories.events.events.mask[2]).all()


def test_who_is_forgotten_in_training_is_not_saved(folder):
  draft = saved(folder)
  folder.forget(USERS[1])
  assert draft.save(made(), events=EVENTS, summaries=SUMMARIES) == [USERS[1]]
  assert found(folder, USERS[1], *EVENTS[USERS[1]]) <= {'cache.json'}
  # Nor is by a training that begins afterwards with their history.
  again = folder.begin(USERS)
  assert again.save(made(), events=EVENTS, summaries={}) == [USERS[1]]
  kept = folder.load()
  assert not np.asarray(kept.memories.traces['selected'].ids[1]).any()
  assert np.asarray(kept.memories.traces['selected'].ids[0]).all()


def test_a_killed_forgetting_can_be_repeated(folder, monkeypatch):
  saved(folder)

  def killed(*args, **options):
    raise KeyboardInterrupt

  for name in ('_rewrite', '_delete'):
    with monkeypatch.context() as patch:
      patch.setattr(Folder, name, killed)
      with pytest.raises(KeyboardInterrupt):
        folder.forget(USERS[1])
  with monkeypatch.context() as patch:
    patch.setattr(type(folder.summaries), 'forget', killed)
    with pytest.raises(KeyboardInterrupt):
      folder.forget(USERS[1])
  folder.forget(USERS[1])
  assert found(folder, *own_words(USERS[1])) == set()


def test_of_several_all_are_forgotten_or_none(folder):
  saved(folder)
  with pytest.raises(KeyError, match='nobody-known'):
    folder.forget(USERS[0], 'nobody-known')
  assert folder.events(USERS[0]) == EVENTS[USERS[0]]
  folder.forget(*USERS)
  assert found(folder, *(word for u in USERS for word in own_words(u))) == set()


def test_what_cannot_be_kept_is_refused(folder):
  with pytest.raises(ValueError, match='2 people for 3 rows'):
    folder.begin(USERS[:2])
  draft = folder.begin(USERS)
  with pytest.raises(KeyError, match='zoe'):
    draft.save(made(), events={'zoe': ['x']}, summaries={})
  path = folder.workdir / 'events'
  saved(folder)
  damaged = next(path.glob('*.json'))
  damaged.write_text('{')
  owner = next(user for user in USERS if folder._path(user) == damaged)
  with pytest.raises(ValueError, match='damaged'):
    folder.events(owner)
