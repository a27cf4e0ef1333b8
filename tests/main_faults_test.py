"""Situations in which people met faults: each kind, with what is right."""

import gzip
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import main, registry, types
from prm_jax.elicitation import pool
from prm_jax.systems import scoring

ROOT = Path(__file__).parents[1]
WORDS = ['please', 'kindly', 'sir', 'thanks', 'dude', 'whatever', 'stuff', 'no']


def texts(seed, count):
  rng = np.random.default_rng(seed)
  return [' '.join(rng.choice(WORDS, 4)) for _ in range(count)]


def write_features(path, found, turn=None):
  """A bag of words for every text, or a turned one."""
  found = sorted(set(found))
  counts = np.array([[t.split().count(w) for w in WORDS] for t in found], float)
  if turn is not None:
    counts = counts @ turn
  keys = [sha256(text.encode()).hexdigest() for text in found]
  np.savez(path, sha256=keys, features=counts)


@pytest.fixture
def judged(tmp_path, private_cache):
  """Writes judgements of so many people, with features; returns both."""

  def make(people, each=10, name='mine'):
    words, rows = texts(people, 2 * people * each), []
    for n in range(people * each):
      a, b = words[2 * n : 2 * n + 2]
      rows.append(
        {
          'user_id': f'u{n // each}',
          'prompt_id': 'p',
          'prompt': 'Go on?',
          'response_a': a,
          'response_b': b + ' .',
          'label': 'a' if 'please' in a else 'b',
        }
      )
    path, features = tmp_path / f'{name}.jsonl', tmp_path / f'{name}.npz'
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    write_features(
      features, [row[k] for row in rows for k in ('response_a', 'response_b')]
    )
    return path, features

  return make


def train(judged, workdir, *more):
  path, features = judged
  return main.run(
    [
      'train',
      f'--data={path}',
      f'--features={features}',
      '--components=5',
      f'--workdir={workdir}',
      '--set=steps=5',
      *more,
    ]
  )


def lines(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


@pytest.fixture
def trained(judged, tmp_path):
  """A model of six people, and a file of responses with features."""
  workdir = tmp_path / 'run'
  assert train(judged(6, 20), workdir) == 0
  asked = texts(99, 4)
  write_features(tmp_path / 'asked.npz', asked)
  rows = [{'response': text, 'id': n} for n, text in enumerate(asked)]
  return workdir, lines(tmp_path / 'asked.jsonl', rows), tmp_path / 'asked.npz'


def score(trained, *more):
  workdir, data, features = trained
  return main.run(
    [
      'score',
      f'--workdir={workdir}',
      f'--data={data}',
      f'--features={features}',
      *more,
    ]
  )


# --------------------------------------------------------- N where N is enough


@pytest.mark.parametrize('method', ['pref', 'lore'])
def test_blocks_of_texts_score_as_all_at_once(monkeypatch, method):
  learner = registry.build('learner', {'kind': method, 'dim': 3})
  state = learner.init(jax.random.key(0), types.Spec(4, 5))
  rng = np.random.default_rng(0)
  features = rng.normal(size=(11, 4)).astype(np.float32)
  user = learner.system.user
  context = user.context(state.params['user'], user.prior(state.params['user']))
  reward, system = state.params['reward'], learner.system
  reward = {
    **reward,
    'basis': jnp.asarray(rng.normal(size=(4, 3)), jnp.float32),
  }
  encoded = system.reward.encode(reward, features)
  params = {**state.params, 'reward': reward}
  both = jax.tree.map(lambda leaf: leaf[None], context)
  want = system.reward.score(reward, encoded[None], both)
  for size in (3, 11, 100):
    monkeypatch.setattr(scoring, '_BLOCK', size)
    found = scoring.scores(system, params, context, features)
    score, deviation = found.score, found.standard_deviation
    np.testing.assert_allclose(score, want.score[0], atol=1e-5)
    if want.covariance is None:
      assert deviation is None
      continue
    variance = np.diagonal(want.covariance[0])
    np.testing.assert_allclose(deviation**2, variance, atol=1e-5)


# -------------------------------------------------- fewer people than numbers


FEW = [
  ('pref', 1),
  ('hierarchical', 1),
  *(pytest.param('pref', n, marks=pytest.mark.slow) for n in (2, 3, 4)),
  pytest.param('lore', 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(('method', 'people'), FEW)
def test_a_few_people_s_ten_judgements_train_and_score(
  judged, tmp_path, capsys, people, method
):
  given = judged(people)
  workdir = tmp_path / 'run'
  call = [
    'train',
    f'--data={given[0]}',
    f'--features={given[1]}',
    '--components=5',
    f'--workdir={workdir}',
    f'--method={method}',
  ]
  call += [] if method == 'hierarchical' else ['--set=steps=5']
  assert main.run(call) == 0
  said = capsys.readouterr().out
  if people == 1:
    results = json.loads((workdir / 'results.json').read_text())
    gains = results['tables']['gain']
    assert all(row['gain_low'] is None for row in gains)
    assert 'nothing can be said' in said or 'cannot be said' in said
  data = lines(tmp_path / 'a.jsonl', [{'response': texts(people, 1)[0]}])
  out = tmp_path / 'out.jsonl'
  assert (
    main.run(
      [
        'score',
        f'--workdir={workdir}',
        f'--data={data}',
        '--user=u0',
        f'--features={given[1]}',
        f'--output={out}',
      ]
    )
    == 0
  )
  assert np.isfinite(json.loads(out.read_text())['score'])


# ----------------------------------------------- what made a model's features


@pytest.mark.slow
def test_other_features_are_refused_before_anything_is_written(
  judged, tmp_path, capsys
):
  given, workdir = judged(6, 20), tmp_path / 'run'
  assert train(given, workdir) == 0
  before = {p: p.read_bytes() for p in workdir.rglob('*') if p.is_file()}
  turned = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
  rows = [json.loads(line) for line in given[0].read_text().splitlines()]
  found = [row[k] for row in rows for k in ('response_a', 'response_b')]
  write_features(tmp_path / 'other.npz', found, turned)
  assert train((given[0], tmp_path / 'other.npz'), workdir) == 2
  assert 'source' in capsys.readouterr().err
  assert before == {
    p: p.read_bytes() for p in workdir.rglob('*') if p.is_file()
  }


def test_scores_need_features_from_where_training_had_them(trained, capsys):
  workdir, data, features = trained
  command = ['score', f'--workdir={workdir}', f'--data={data}']
  assert main.run(command) == 2
  assert 'trained on features of your own' in capsys.readouterr().err
  with np.load(features) as file:
    wide = {k: file[k] for k in file}
  wide['features'] = np.pad(wide['features'], ((0, 0), (0, 3)))
  np.savez(features, **wide)
  assert main.run([*command, f'--features={features}']) == 2
  assert 'has 11 features of a text' in capsys.readouterr().err
  assert main.run(['audit', f'--workdir={workdir}']) == 2
  assert 'writes texts that have none' in capsys.readouterr().err


# ------------------------------------------------------- checks before effects


def test_an_output_that_cannot_be_is_refused_first(trained, tmp_path, capsys):
  assert score(trained, f'--output={tmp_path}/nowhere/x.jsonl') == 2
  assert 'its folder does not exist' in capsys.readouterr().err
  assert score(trained, f'--output={tmp_path}') == 2
  assert 'is a folder' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['score', 'standard_deviation'])
def test_a_person_s_own_column_is_not_overwritten(trained, capsys, name):
  workdir, data, features = trained
  rows = [json.loads(line) for line in data.read_text().splitlines()]
  lines(data, [{**row, name: 5} for row in rows])
  assert score((workdir, data, features)) == 2
  assert f'4 rows have a field {name!r} of their own' in capsys.readouterr().err


def test_all_are_forgotten_or_none(trained, tmp_path, capsys):
  workdir, _, _ = trained
  session = pool.session_path(workdir, 'me')
  session.parent.mkdir()
  session.write_text('{"version": 1, "user": "me"}\n')
  command = ['forget', f'--workdir={workdir}', '--user=me']
  assert main.run([*command, '--user=typo']) == 2
  assert "'typo'" in capsys.readouterr().err
  assert session.exists()
  assert main.run([*command, '--user=u0']) == 0
  assert not session.exists()


# ----------------------------------------------------- a line, not a traceback


@pytest.mark.parametrize(
  'text',
  ['dim=2.5', 'dim=-1', 'ridge=nan', 'ridge=inf', 'backbone=3', 'dim', 'dim=x'],
)
def test_options_of_a_wrong_kind(judged, tmp_path, capsys, text):
  workdir = tmp_path / 'run'
  assert train(judged(6), workdir, f'--set={text}') == 2
  said = capsys.readouterr().err
  assert said.startswith('prm: ')
  assert f'{text}: ' in said
  assert not workdir.exists()


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    ('{"study": "echo_chambers", "seeds": [0]}', 'is not of `prm train`'),
    ('[]', 'is not of `prm train`'),
    ('{', 'is not JSON'),
    (
      '{"method": "pref", "people": 3, "judgements": 2, "more": 1}',
      'another version',
    ),
  ],
)
def test_a_folder_of_something_else(tmp_path, capsys, config, message):
  (tmp_path / 'config.json').write_text(config)
  for command in (['score', '--data=x'], ['ask'], ['export', '--output=x']):
    assert main.run([*command, f'--workdir={tmp_path}']) == 2
    assert message in capsys.readouterr().err


def test_a_cut_archive_of_responses(trained, tmp_path, capsys):
  workdir, data, features = trained
  cut = tmp_path / 'cut.jsonl.gz'
  cut.write_bytes(gzip.compress(data.read_bytes())[:-12])
  assert score((workdir, cut, features)) == 2
  assert 'cut.jsonl.gz cannot be read' in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error(trained):
  workdir, data, features = trained
  rows = [json.loads(line) for line in data.read_text().splitlines()]
  lines(data, [{**row, 'note': 'x' * 100_000} for row in rows])
  code = (
    'import sys; from prm_jax import main; sys.exit(main.run(sys.argv[1:]))'
  )
  with subprocess.Popen(
    [
      sys.executable,
      '-c',
      code,
      'score',
      f'--workdir={workdir}',
      f'--data={data}',
      f'--features={features}',
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    cwd=ROOT,
    text=True,
  ) as process:
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert 'Broken pipe' not in process.stderr.read()
  assert process.returncode == 0


def test_ratings_that_compare_nothing(tmp_path, private_cache, capsys):
  rows = [
    {
      'user_id': f'u{n}',
      'prompt_id': f'p{n}',
      'prompt': f'{n}?',
      'response': 'x',
      'rating': 3,
    }
    for n in range(20)
  ]
  path = lines(tmp_path / 'rated.jsonl', rows)
  assert train((path, tmp_path / 'none.npz'), tmp_path / 'run') == 2
  assert 'nothing to compare' in capsys.readouterr().err
