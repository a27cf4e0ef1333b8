"""What PLUS has fitted, as a folder whose people can be shown and edited."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import history_rows, kept_summaries, main, summary_model, types
from prm_jax.policy import padding
from prm_jax.toys import WRITER
from prm_jax.users.records import SummaryError
from prm_jax.worlds import histories
from tests.contract import small

KEY = jax.random.key(0)
TOKENIZER = history_rows.tokenizer()


@pytest.fixture(scope='module')
def fitted():
  """A learner, and parameters that tell events apart; not trained."""
  learner, world = small.built('plus')
  params = learner.init(KEY, world.spec).params
  noise = jax.random.normal(KEY, params['reward']['weight'].shape)
  reward = {**params['reward'], 'weight': noise}
  return learner, {**params, 'reward': reward}


def events(seed, count):
  rng = np.random.default_rng(seed)
  return rng.integers(histories.EVENT, len(histories.TOKENS), count).tolist()


TOLD = {
  'ann': events(0, 12),
  'bob': events(0, 12),  # as ann
  'one': events(1, 1),
  'nobody': [],
  'long': events(2, 64),  # longer than any that was trained on
}


@pytest.fixture(scope='module')
def folder(fitted, tmp_path_factory):
  """A reward model with the summaries of its people."""
  _, params = fitted
  path = tmp_path_factory.mktemp('plus') / 'run'
  draft = kept_summaries.Folder(path).begin([*TOLD, 'gone'])
  kept_summaries.Folder(path).forget('gone')  # while it is trained
  summary_model.save_plus(
    path, WRITER, params['reward'], TOKENIZER, response=4, total=32
  )
  told = {**TOLD, 'gone': events(3, 12)}
  found = summary_model.write(
    KEY, path, WRITER, params['user'], told, draft=draft
  )
  assert found.written == tuple(TOLD)
  assert found.gone == ('gone',)
  return path


def settled(fitted, *told):
  """Tokens of the summaries of people who are told, as the learner has them."""
  learner, params = fitted
  user = learner.system.user
  states = []
  for one in told:
    ids = np.array(one, np.int32).reshape(-1, 1)
    event = types.Event(
      padding.full(ids), jnp.zeros(len(ids)), jnp.ones(len(ids))
    )
    states.append(user.update(KEY, None, user.prior(None), event)[0])
  many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
  return user.settle(KEY, params['user'], many).text


def test_words_and_scores_are_those_of_the_learner(fitted, folder):
  learner, params = fitted
  # Of the shape that is compiled anyway.
  text = settled(
    fitted, *(TOLD[user] for user in ('ann', 'bob', 'one', 'long'))
  )
  people = summary_model.people(folder)
  for row, user in ((0, 'ann'), (2, 'one'), (3, 'long')):
    said = [i for i in text.ids[row].tolist() if i > histories.END]
    assert people.read(user).words == histories.read(said) != ''
  response = np.array([[[100, 50, 70, 60], [55, 100, 44, 70]]], np.int32)
  score = jax.jit(learner.system.reward.score)(
    params['reward'],
    padding.full(response),
    jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), text),
  ).score
  spoken = [histories.read(row) for row in response[0]]
  found = summary_model.load(folder).score('ann', '', spoken)
  np.testing.assert_allclose(found, score[0], rtol=1e-4, atol=1e-5)


def test_who_has_no_history_one_event_or_another_s(folder):
  people = summary_model.people(folder)
  words = {user: people.read(user).words for user in people.users()}
  assert sorted(words) == sorted(TOLD)
  assert words['nobody'] == ''
  assert words['ann'] == words['bob']
  assert 1 <= len(words['one'].split()) <= histories.STATEMENTS
  assert 1 <= len(words['long'].split()) <= histories.STATEMENTS
  # One that contradicts itself is read as it stands.
  scorer, one = summary_model.load(folder), ['a0=0@1 a1=1@1']
  found = {}
  for version, text in enumerate(('a0=0 a0=1', 'a0=0', 'a0=1'), 2):
    people.edit('ann', text, version=version)
    found[text] = scorer.score('ann', '', one)
  assert all(np.isfinite(score).all() for score in found.values())
  assert len({float(score[0]) for score in found.values()}) == 3
  people.release('ann')
  # An edit of one is no edit of who has the same history.
  people.edit('ann', 'a0=1')
  assert people.read('bob').words == words['bob']
  people.release('ann')


def test_an_edit_is_read_at_once_and_survives_a_refit(fitted, folder, capsys):
  _, params = fitted
  scorer, two = summary_model.load(folder), ['a0=0@1 a1=1@1', 'a0=1@1 a1=0@1']

  def prm(action, *more):
    command = ['summary', action, f'--workdir={folder}', '--user=one', *more]
    return main.run(command), *capsys.readouterr()

  before = scorer.score('one', '', two)
  assert prm('edit', '--text=a0=1 a5=2')[0] == 0
  edited = scorer.score('one', '', two)
  assert not np.allclose(edited, before)
  told = {**TOLD, 'one': TOLD['one'] + TOLD['ann']}
  found = summary_model.write(KEY, folder, WRITER, params['user'], told)
  assert found.held == ('one',)
  np.testing.assert_array_equal(scorer.score('one', '', two), edited)
  assert prm('show')[1] == 'a0=1 a5=2\n'
  # Another language, nothing, and more than is read.
  status, _, about = prm('edit', '--text=短い 返事 a0=1', '--version=3')
  assert (status, 'does not know 2 of its 3 tokens' in about) == (0, True)
  assert prm('edit', '--empty', '--version=4')[0] == 0
  nobody = scorer.score(None, '', two)
  np.testing.assert_array_equal(scorer.score('one', '', two), nobody)
  for words, why in (
    ('a0=1 ' * 4, '4 tokens, and the reward model reads 3'),
    ('x' * 100_000, '100,000 characters'),
  ):
    status, _, error = prm('edit', f'--text={words}', '--version=5')
    assert (status, why in error) == (2, True)
  assert prm('release')[0] == 0
  assert prm('show')[1].strip() not in ('', 'a0=1 a5=2')


def test_a_reward_is_not_saved_where_something_is(fitted, folder, tmp_path):
  _, params = fitted
  given = WRITER, params['reward'], TOKENIZER
  with pytest.raises(FileExistsError, match='not empty'):
    summary_model.save_plus(folder, *given, response=4, total=32)
  with pytest.raises(ValueError, match='leave no room'):
    summary_model.save_plus(tmp_path, *given, response=4, total=7)


def test_words_that_the_reader_would_cut_are_not_written(fitted, tmp_path):
  _, params = fitted
  summary_model.save_plus(
    tmp_path,
    WRITER._replace(max_new_tokens=1),
    params['reward'],
    TOKENIZER,
    response=4,
    total=32,
  )
  with pytest.raises(SummaryError, match='and the reward model reads 1'):
    summary_model.write(KEY, tmp_path, WRITER, params['user'], TOLD)
  assert summary_model.people(tmp_path).read('ann').model is None
