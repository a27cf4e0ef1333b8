"""Memories on disk: what is forgotten is found in no file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import kept_memories, main, types
from prm_jax.elicitation import pool
from prm_jax.kept_memories import Folder
from prm_jax.models import adapters, embeddings, lora
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
  change = lora.Adapter(jnp.zeros((1, 2, 1)), jnp.zeros((1, 1, 2)))
  start = {'value': change}
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


# ---------------------------------------------------------------- the command


def with_embeddings(tmp_path):
  """Memories whose texts are in a store of embeddings in the same folder."""
  store = embeddings.Kept(tmp_path / 'embeddings')
  shard = store.folder / ('0' * 16) / 'one.npz'
  shard.parent.mkdir(parents=True)
  texts = [text for own in EVENTS.values() for text in own]
  digests = sorted({embeddings._digest(text) for text in texts})
  np.savez(shard, sha256=np.array(digests, 'U64'), means=np.ones((4, 1, 2)))
  saved(Folder(tmp_path, made(), store=store))
  return shard


def test_one_command_forgets_all_that_is_on_disk(tmp_path, capsys):
  shard = with_embeddings(tmp_path)
  user = USERS[1]
  session = pool.session_path(tmp_path, user)
  session.parent.mkdir(parents=True, exist_ok=True)
  session.write_text(json.dumps({'user': user}))
  before = kept_memories.opened(tmp_path).load()
  assert main.run(['forget', f'--workdir={tmp_path}', f'--user={user}']) == 0
  assert 'memories of 1 people' in capsys.readouterr().out
  folder = kept_memories.opened(tmp_path)
  assert found(folder, *own_words(user)) == set()
  assert not session.exists()
  with np.load(shard) as kept:
    gone = {embeddings._digest(text) for text in EVENTS[user]}
    assert len(kept['sha256']) == 2
    assert not gone & set(kept['sha256'].tolist())
  blank = personal_memories.forget(before.memories, jnp.array([1]))
  after = folder.load().memories
  jax.tree.map(np.testing.assert_array_equal, after, blank)
  assert folder.events(USERS[0]) == EVENTS[USERS[0]]
  # Of whom nothing is known nobody is forgotten.
  given = ['forget', f'--workdir={tmp_path}', f'--user={user}']
  assert main.run([*given, f'--user={USERS[0]}']) == 2
  assert 'nothing is kept of' in capsys.readouterr().err
  assert folder.events(USERS[0]) == EVENTS[USERS[0]]


def test_a_folder_says_what_it_holds_or_is_refused(tmp_path):
  assert kept_memories.opened(tmp_path) is None
  path = tmp_path / 'memories.json'
  saved(Folder(tmp_path, made(), store=Store(tmp_path)))
  with pytest.raises(ValueError, match='store of another program'):
    kept_memories.opened(tmp_path)
  saved(Folder(tmp_path, made()))
  like = jax.eval_shape(made)
  assert kept_memories.opened(tmp_path)._like == like
  good = json.loads(path.read_text())
  for damage in (
    {'format': 99},
    {'shapes': {'tree': 'Popen', 'leaves': {}}},
    {'shapes': good['shapes']['leaves']['texts']},
  ):
    path.write_text(json.dumps({**good, **damage}))
    with pytest.raises(ValueError, match=r'memories\.json'):
      kept_memories.opened(tmp_path)
  path.write_text('[')
  with pytest.raises(ValueError, match='damaged'):
    kept_memories.opened(tmp_path)
