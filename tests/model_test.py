"""A model from Python: nothing of it changes, and all of it comes back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prm_jax.data import schema
from prm_jax.model import Model
from prm_jax.models import features
from prm_jax.runtime import claims
from prm_jax.users import bank
from tests.counted import source_that_counts

ROOT = Path(__file__).parents[1]
WORDS = ['please', 'kindly', 'thanks', 'dude', 'whatever', 'stuff', 'no', 'yes']
POLITE = WORDS[:3]


def rows(people=10, each=30, seed=0):
  """Half of the people like polite words, half do not."""
  rng = np.random.default_rng(seed)
  for user in range(people):
    for number in range(each):
      a, b = (' '.join(rng.choice(WORDS, 5)) for _ in range(2))
      more = sum(a.split().count(w) - b.split().count(w) for w in POLITE)
      more *= 1 if user % 2 else -1
      label = 'tie' if not more else 'a' if more > 0 else 'b'
      yield {
        'user_id': f'u{user}',
        'prompt_id': f'p{number % 6}',
        'prompt': f'Question {number % 6}?',
        'response_a': a,
        'response_b': b,
        'label': label,
      }


@pytest.fixture(scope='module')
def counted():
  """Counts of words, instead of an encoder."""
  patch = pytest.MonkeyPatch()

  source_that_counts(patch, WORDS)
  patch.setattr(features.Source, 'files', lambda self: [])
  yield
  patch.undo()


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  file = tmp_path_factory.mktemp('data') / 'mine.jsonl'
  file.write_text(''.join(json.dumps(row) + '\n' for row in rows()))
  return file


def test_two_fits_in_one_folder_are_one_too_many(counted, path, tmp_path):
  with claims.claimed(tmp_path / 'run'):
    with pytest.raises(claims.ClaimedError, match='another run writes there'):
      Model.fit(path, workdir=tmp_path / 'run')
    assert sorted(os.listdir(tmp_path / 'run')) == ['.running']


@pytest.fixture(scope='module')
def model(counted, path):
  return Model.fit(
    path, method='pref', components=8, options={'steps': 40, 'dim': 3}
  )


TWO = ['please kindly thanks please', 'dude no stuff whatever']


def test_scores_follow_the_person(model):
  polite = model.score('u1', 'Question 0?', TWO)
  rude = model.score('u2', 'Question 0?', TWO)
  assert polite.score[0] > polite.score[1]
  assert rude.score[0] < rude.score[1]
  nobody = model.score(None, 'Question 0?', TWO)
  assert (nobody.standard_deviation > polite.standard_deviation).all()
  with pytest.raises(KeyError, match='never asked'):
    model.score('somebody', 'Question 0?', TWO)


def test_results_say_how_good_it_is(model):
  gain = [r for r in model.results['tables']['gain'] if r['method'] == 'pref']
  assert gain[0]['gain'] > 0.1


def test_a_new_person_is_asked_and_answers(model):
  before = model
  for _ in range(4):
    question = model.ask('new')
    more = sum(
      question.a.split().count(w) - question.b.split().count(w) for w in POLITE
    )
    model = model.answer('new', question, 'a' if more > 0 else 'b')
  assert len({pair for pair, _ in model.asked['new'].answers}) == 4
  new = model.score('new', 'Question 0?', TWO)
  assert new.score[0] > new.score[1]
  # Nothing that was there has changed.
  assert not before.knows('new')
  assert before.asked == {}


def test_answers_of_who_trained_add_to_what_is_known(model):
  question = model.ask('u1')
  told = model.answer('u1', question, 'a')
  one, two = (m.score('u1', '', TWO) for m in (model, told))
  assert (two.standard_deviation < one.standard_deviation).any()
  assert two.score[0] > two.score[1]  # what training said is still known
  skipped = model.answer('u1', question, 'skip').score('u1', '', TWO)
  np.testing.assert_allclose(skipped.score, one.score, atol=1e-3)


def test_an_answer_has_to_be_one(model):
  question = model.ask('u1')
  with pytest.raises(ValueError, match='none of'):
    model.answer('u1', question, 'both')
  with pytest.raises(ValueError, match='not a question of this model'):
    model.answer('u1', question._replace(name='x'), 'a')


def test_forgetting_is_of_all_or_nobody(model):
  told = model.answer('new', model.ask('new'), 'a')
  gone = told.forget('new', 'u3')
  assert not gone.knows('new')
  assert not gone.knows('u3')
  assert told.knows('new')
  assert told.knows('u3')
  with pytest.raises(KeyError, match='typo'):
    told.forget('u3', 'typo')
  where = bank.rows_of(model.state.people, ['u3'])[0]
  assert not np.asarray(gone.state.people.beliefs.answers.label[where]).any()


def test_a_saved_model_is_the_same(model, tmp_path):
  told = model.answer('new', model.ask('new'), 'b')
  told.save(tmp_path / 'kept')
  again = Model.load(tmp_path / 'kept')
  for user in ('u1', 'new', None):
    np.testing.assert_allclose(
      again.score(user, '', TWO).score,
      told.score(user, '', TWO).score,
      rtol=1e-5,
    )
  assert again.ask('new') == told.ask('new')
  with pytest.raises(FileExistsError, match='something in it'):
    told.save(tmp_path / 'kept')


def test_a_workdir_is_a_model(counted, path, tmp_path):
  fitted = Model.fit(
    path, method='hierarchical', components=8, workdir=tmp_path / 'run'
  )
  again = Model.load(tmp_path / 'run')
  np.testing.assert_allclose(
    again.score('u1', '', TWO).score,
    fitted.score('u1', '', TWO).score,
    rtol=1e-5,
  )


def test_an_export_scores_and_knows_nobody(path, tmp_path):
  # Text alone is counted: no encoder travels, and another process needs none.
  model = Model.fit(
    path, method='pref', kind='surface', components=8, options={'steps': 20}
  )
  model.export(tmp_path / 'out')
  want = model.score(None, '', TWO)
  code = (
    'import json, sys\n'
    'from prm_jax.model import Model\n'
    'm = Model.load(sys.argv[1])\n'
    'found = m.score(None, "", sys.argv[2:]).score\n'
    'print(json.dumps([float(x) for x in found]))'
  )
  said = subprocess.run(
    [sys.executable, '-c', code, str(tmp_path / 'out'), *TWO],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  np.testing.assert_allclose(json.loads(said), want.score, rtol=1e-5)
  out = Model.load(tmp_path / 'out')
  assert not out.knows('u1')
  with pytest.raises(ValueError, match='an export has no questions'):
    out.ask('u1')
  with pytest.raises(ValueError, match='holds nobody'):
    out.save(tmp_path / 'again')
  blob = b''.join(p.read_bytes() for p in tmp_path.rglob('*') if p.is_file())
  ids = bank.user_digest(['u1', 'u2'])
  assert b'"u1"' not in blob
  assert ids.tobytes() not in blob


@pytest.mark.slow
@pytest.mark.usefixtures('counted')
def test_prompts_are_read_where_features_are_of_both(path):
  model = Model.fit(
    path, method='hierarchical', kind='prompt_and_response', components=9
  )
  assert model.reads_prompts
  one = model.score('u1', 'please please please', TWO).score
  other = model.score('u1', 'no no stuff', TWO).score
  assert np.abs(one - other).max() > 1e-3


def test_a_table_can_be_fitted(counted):
  table = schema.code_judgements(schema.parse_row(row) for row in rows(5))
  model = Model.fit(table, method='lore', components=8, options={'steps': 5})
  assert model.score('u1', '', TWO).standard_deviation is None
  with pytest.raises(ValueError, match='keeps no Gaussian belief'):
    model.ask('u1')


FOUR = [*TWO, 'yes yes dude', 'thanks no']


@pytest.mark.slow
def test_an_ensemble_has_members_and_every_bound(counted, path, tmp_path):
  model = Model.fit(
    path,
    method='ensemble',
    components=8,
    options={'members': 3, 'steps': 20},
    workdir=tmp_path / 'run',
  )
  score = model.score(None, '', FOUR)
  members = model.members(None, '', FOUR)
  assert members.shape == (3, 4)
  np.testing.assert_allclose(members.mean(0), score.score, atol=1e-5)
  apart = members - members.mean(1, keepdims=True)
  np.testing.assert_allclose(apart.std(0), score.standard_deviation, atol=1e-5)
  assert 'less the mean' in score.of
  assert score.lower is None
  loaded = Model.load(tmp_path / 'run')
  for bound, want in (
    ('WCO', members.min(0)),
    ('UWO', members.mean(0) - 0.3 * members.var(0)),
    ('lower_bound', members.mean(0) - 3 * members.std(0)),
  ):
    lower = loaded.score(None, '', FOUR, bound=bound, width=3, strength=0.3)
    np.testing.assert_allclose(lower.lower, want, atol=1e-5)
  # What another prompt's responses are does not matter.
  both = model.score_rows(None, [*'ppqq'], FOUR)
  two = model.score(None, '', FOUR[2:])
  np.testing.assert_allclose(
    both.standard_deviation[2:], two.standard_deviation, atol=1e-5
  )
  alone = model.score(None, '', FOUR[:1])
  np.testing.assert_allclose(alone.standard_deviation, 0.0, atol=1e-6)


def test_a_last_layer_is_sure_of_differences(counted, path):
  model = Model.fit(path, method='laplace', components=8)
  score = model.score(None, '', FOUR, bound='lower_bound', width=1.5)
  assert 'less the mean' in score.of
  assert (score.standard_deviation > 0).all()
  np.testing.assert_allclose(
    score.lower, score.score - 1.5 * score.standard_deviation, rtol=1e-5
  )
  x = np.asarray(model.features([''] * 4, FOUR), np.float64)
  factor = np.asarray(model.state.params['reward']['factor'], np.float64)
  white = np.linalg.solve(factor, (x - x.mean(0)).T)
  np.testing.assert_allclose(
    score.standard_deviation, np.sqrt((white**2).sum(0)), rtol=1e-3
  )


def test_a_bound_that_a_method_has_not_is_named(model, counted, path):
  found = model.score('u1', '', TWO, bound='lower_bound')
  np.testing.assert_allclose(
    found.lower, found.score - 2 * found.standard_deviation, rtol=1e-5
  )
  assert found.of == 'the score'
  with pytest.raises(ValueError, match='WCO takes the members of an ensemble'):
    model.score('u1', '', TWO, bound='WCO')
  with pytest.raises(ValueError, match="unknown bound 'least'"):
    model.score('u1', '', TWO, bound='least')
  with pytest.raises(ValueError, match='takes the members'):
    model.members('u1', '', TWO)
  plain = Model.fit(path, method='aggregate', components=8, evaluate=False)
  with pytest.raises(ValueError, match='gives scores alone'):
    plain.score(None, '', TWO, bound='lower_bound')


@pytest.mark.slow
def test_a_model_with_a_head_is_exported(path, tmp_path):
  options = {'steps': 5, 'head': {'kind': 'davidson'}}
  model = Model.fit(
    path, method='pref', kind='surface', components=8, options=options
  )
  model.export(tmp_path / 'out')
  exported = Model.load(tmp_path / 'out')
  assert exported.setting.options['head'] == {'kind': 'davidson'}
  np.testing.assert_allclose(
    exported.score(None, '', TWO).score,
    model.score(None, '', TWO).score,
    rtol=1e-4,
  )


@pytest.mark.slow
@pytest.mark.parametrize('personal', [False, True])
def test_a_head_of_ties_is_fitted_kept_and_forgotten(
  counted, path, tmp_path, personal
):
  head = {'kind': 'rao_kupper', 'personal': personal}
  model = Model.fit(
    path,
    method='pref',
    components=8,
    options={'steps': 40, 'dim': 3, 'head': head},
    workdir=tmp_path / 'run',
  )
  gain = [r for r in model.results['tables']['gain'] if r['method'] == 'pref']
  assert gain[0]['gain'] > 0.1
  own = model.state.params['head']['own']
  assert abs(float(own['width'])) > 1e-3  # ties have trained it
  polite, rude = (model.score(u, '', TWO).score for u in ('u1', 'u2'))
  assert polite[0] > polite[1]
  assert rude[0] < rude[1]
  again = Model.load(tmp_path / 'run')
  np.testing.assert_allclose(
    again.score('u1', '', TWO).score, polite, rtol=1e-4
  )
  again.save(tmp_path / 'saved')
  saved = Model.load(tmp_path / 'saved').score('u1', '', TWO).score
  np.testing.assert_allclose(saved, polite, rtol=1e-4)
  gone = model.forget('u1')
  assert not gone.knows('u1')
  if personal:
    where = bank.rows_of(model.state.people, ['u1'])[0]
    width = gone.state.people.free['head']['width'][where]
    assert float(width) == 0.0
    assert float(model.state.people.free['head']['width'][where]) != 0.0
  told = model.answer('new', model.ask('new'), 'a')
  assert told.knows('new')


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'method': 'magic'}, "unknown method 'magic'"),
    ({'method': 'plus'}, 'plus writes about people with a language model'),
    ({'options': {'rigde': 1}}, 'pref takes'),
    ({'options': {'head': {'kind': 'magic'}}}, "unknown head 'magic'"),
    ({'options': {'head': {'kind': 'bins'}}}, 'bins does not read choices'),
    (
      {'method': 'hierarchical', 'options': {'head': {'kind': 'davidson'}}},
      'hierarchical takes none',
    ),
    ({'kind': 'sound'}, "unknown features 'sound'"),
  ],
)
def test_what_cannot_be_fitted_is_named(counted, path, options, message):
  with pytest.raises(ValueError, match=message):
    Model.fit(path, **options)


def test_all_ties_have_nothing_to_train_on(counted, tmp_path):
  path = tmp_path / 'ties.jsonl'
  path.write_text(
    ''.join(json.dumps({**row, 'label': 'tie'}) + '\n' for row in rows(3))
  )
  with pytest.raises(ValueError, match='no judgement to train on'):
    Model.fit(path)


@pytest.mark.parametrize(
  ('module', 'heavy'),
  [
    ('prm_jax.main', ('jax', 'matplotlib', 'grain', 'orbax', 'numpy')),
    ('prm_jax.model', ('matplotlib', 'tensorflow_datasets', 'tensorflow')),
  ],
)
def test_importing_is_light(module, heavy):
  code = (
    f'import sys, {module}\n'
    'try: prm_jax.main.run(["--help"])\n'
    'except (SystemExit, AttributeError): pass\n'
    f'print([m for m in {heavy} if m in sys.modules], file=sys.stderr)'
  )
  said = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert said.stderr.strip() == '[]'


def test_a_file_that_is_too_large_is_refused_with_its_bytes(path, monkeypatch):
  monkeypatch.setattr(
    schema, 'read_jsonl', lambda path: pytest.fail('it was read')
  )
  with pytest.raises(ValueError, match=r'need about [\d,]+ bytes') as told:
    Model.fit(path, memory=0.1)
  assert 'about 300 rows' in str(told.value)
  assert '--memory=1 lets it' in str(told.value)
