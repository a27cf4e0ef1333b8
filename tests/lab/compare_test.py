"""The protocol on small planted populations, and its bad cases."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from prm_jax import comparing, main
from prm_jax.data import schema
from prm_jax.lab import compare, units
from prm_jax.models import features
from tests.counted import source_that_counts

ROOT = Path(__file__).parents[2]
WORDS = ['please', 'kindly', 'thanks', 'dude', 'whatever', 'stuff', 'no', 'yes']


def rows(people=12, each=24, seed=0, taste=True):
  rng = np.random.default_rng(seed)
  said = [
    [' '.join(rng.choice(WORDS, 3 + 2 * k)) for k in range(8)] for _ in range(8)
  ]
  for user in range(people):
    for _ in range(each):
      prompt = int(rng.integers(8))
      a, b = (said[prompt][k] for k in rng.choice(8, 2, replace=False))
      more = [
        sum(text.split().count(w) for w in WORDS[:3]) / len(text.split())
        for text in (a, b)
      ]
      if not taste:
        more = [len(text) / 40 for text in (a, b)]
      margin = 9 * (more[0] - more[1]) * (1 if user % 2 else -1)
      label = 'ab'[int(rng.random() > 1 / (1 + np.exp(-margin)))]
      if abs(margin) < 0.3:
        label = 'tie'
      yield {
        'user_id': f'u{user}',
        'prompt_id': f'p{prompt}',
        'prompt': f'Question {prompt}?',
        'response_a': a,
        'response_b': b,
        'label': label,
      }


def write(path, found):
  path.write_text(''.join(json.dumps(row) + '\n' for row in found))
  return path


@pytest.fixture(scope='module', autouse=True)
def counted():
  """Counts of words instead of an encoder, and few numbers to search."""
  patch = pytest.MonkeyPatch()

  source_that_counts(patch, WORDS)
  patch.setattr(
    compare.registry,
    'grid',
    lambda kind: (
      [{'spread': 1.0}, {'spread': 0.3}]
      if kind == 'hierarchical'
      else [{'ridge': 1.0}, {'ridge': 30.0}]
    ),
  )
  yield
  patch.undo()


METHODS = ['hierarchical']
OPTIONS = {'methods': METHODS, 'components': 9}


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
  folder = tmp_path_factory.mktemp('compared')
  path = write(folder / 'mine.jsonl', rows())
  results = comparing.run(path, folder / 'run', **OPTIONS, audit=False)
  return path, folder / 'run', results


def gain(results, split, method, baseline='aggregate', answers='all'):
  return next(
    row
    for row in results['tables']['gain']
    if (row['split'], row['method'], row['baseline'], row['answers'])
    == (split, method, baseline, answers)
  )


def test_a_taste_is_found_beyond_the_aggregate_and_habits(compared):
  results = compared[2]
  for split in ('new_pairs', 'new_prompts'):
    for baseline in ('aggregate', 'traits'):
      row = gain(results, split, 'hierarchical', baseline)
      assert row['gain_low'] > 0
      assert row['chosen']
      assert row['resampled'] == 'people and prompts'
      assert row['gain_people_low'] < row['gain'] < row['gain_people_high']
  assert 'personal' in results['answer'][0]


def test_every_table_is_there(compared):
  tables = compared[2]['tables']
  assert {row['method'] for row in tables['accuracy']} >= {
    'aggregate',
    'traits',
    'shared_habits',
    'length_only',
    'hierarchical',
    'majority_of_others',
  }
  assert {row['split'] for row in tables['accuracy']} == {
    'new_pairs',
    'new_prompts',
    'new_people',
    'new_people_new_prompts',
  }
  tested = {row['control'] for row in tables['controls']}
  assert tested >= {
    'swapped_people',
    'population_coefficients',
    'exchange',
    'slot_probe',
    'copied_people',
    'label_flip',
  }
  left = {row['method']: row['reason'] for row in tables['left_out']}
  assert left.keys() >= {'gpo', 'pref'}
  assert left['plus'].endswith('give --backbone=FOLDER')
  assert {row['trait'] for row in tables['traits']} == {
    'side',
    'length',
    'ties',
  }
  ties = {row['method']: row for row in tables['ties']}
  assert 0 < ties['aggregate']['tie_share'] < 1
  assert ties['hierarchical']['log_loss'] < ties['aggregate']['log_loss']


def test_more_answers_of_a_new_person_help(compared):
  rows_ = [
    gain(compared[2], 'new_people', 'hierarchical', answers=n)['gain']
    for n in (0, 5, 10)
  ]
  assert rows_[0] < rows_[-1]


def test_numbers_are_chosen_over_folds_that_may_have_dropped_them():
  def row(spread, nll, people=100):
    return {
      'features': 'response',
      'ridge': 1.0,
      'spread': spread,
      'nll': nll,
      'people': people,
    }

  def choice(*folds):
    found = compare._choice('hierarchical', [{'scores': f} for f in folds])
    return found['spread'], found['nll']

  both = [row(0.1, 0.5), row(1.0, 0.4)], [row(0.1, 0.2), row(1.0, 0.4)]
  assert choice(*both) == (0.1, pytest.approx(0.35))
  # What few people looked at counts for nothing, and in most folds is better
  # than in one; the best of a fold stands where numbers fell out.
  dropped = [row(0.1, 0.5), row(1.0, 0.4)], [row(0.1, 0.1, 10), row(1.0, 0.6)]
  assert choice(*dropped) == (1.0, pytest.approx(0.5))
  apart = [row(0.1, 0.5), row(1.0, 0.4)], [row(0.3, 0.2)]
  assert choice(*apart) == (1.0, pytest.approx(0.3))


def test_what_is_written(compared):
  path, run, results = compared
  folder = run / 'compare'
  assert (
    json.loads((folder / 'results.json').read_text())['answer']
    == (results['answer'])
  )
  assert (folder / 'report' / 'index.html').exists()
  told = [
    json.loads(x) for x in schema.read_lines(folder / 'predictions.jsonl.gz')
  ]
  assert {row['method'] for row in told} >= {'hierarchical', 'aggregate'}
  assert comparing.chosen(run)['method'] == 'hierarchical'
  assert comparing.chosen(path.parent) is None


def test_a_comparison_is_not_done_again(compared, monkeypatch):
  path, run, results = compared
  monkeypatch.setattr(
    compare.fitting, 'method_unit', lambda *a, **k: pytest.fail('done again')
  )
  again = comparing.run(path, run, **OPTIONS, audit=False)
  assert again['answer'] == results['answer']


@pytest.mark.slow
def test_the_best_personal_model_is_audited(compared):
  path, run, _ = compared
  results = comparing.run(path, run, **OPTIONS)
  assert {row['method'] for row in results['tables']['audit']} >= {'personal'}


def test_training_takes_what_was_chosen(compared, capsys):
  path, run, _ = compared
  call = ['train', f'--data={path}', f'--workdir={run}', '--components=9']
  assert main.run(call) == 0
  assert 'hierarchical: what the comparison here chose' in (
    capsys.readouterr().out
  )
  config = json.loads((run / 'config.json').read_text())
  assert config['method'] == 'hierarchical'
  assert config['options']['spread'] in (1.0, 0.3)


def test_who_is_forgotten_leaves_the_comparison(compared):
  run = compared[1]
  said = comparing.forget(run, ['u3'])
  assert 'deleted' in said
  assert not list((run / 'compare' / 'units').glob('*.npz'))
  told = [
    json.loads(x)
    for x in schema.read_lines(run / 'compare' / 'predictions.jsonl.gz')
  ]
  assert told
  assert not any(row['user_id'] == 'u3' for row in told)


# ------------------------------------------------------------------ bad cases


def call(path, run, *more):
  return main.run(
    [
      'compare',
      f'--data={path}',
      f'--workdir={run}',
      '--components=9',
      '--methods=hierarchical',
      *more,
    ]
  )


def test_data_that_change_are_refused_and_named(tmp_path, capsys):
  path, run = write(tmp_path / 'mine.jsonl', rows(3, 4)), tmp_path / 'run'
  units.Folder(run / 'compare')
  (run / 'compare' / 'config.json').write_text('{"data": "another"}')
  assert call(path, run) == 2
  said = capsys.readouterr().err
  assert 'mine.jsonl is not what' in said
  assert 'another' in said


def test_data_that_change_meanwhile_are_refused(tmp_path, monkeypatch, capsys):
  path = write(tmp_path / 'mine.jsonl', rows(4, 6))

  def change(*args, **options):
    write(path, rows(4, 7))
    return compare.Comparison(
      {},
      {'method': 'aggregate', 'features': 'response', 'ridge': 1.0},
      None,
      [],
      [],
    )

  monkeypatch.setattr(comparing.compare, 'run', change)
  monkeypatch.setattr(comparing, '_audit', lambda *a: [])
  assert call(path, tmp_path / 'run') == 2
  assert 'changed while it was compared' in capsys.readouterr().err
  assert not (tmp_path / 'run' / 'compare' / 'results.json').exists()


@pytest.mark.parametrize(
  ('found', 'message'),
  [
    (rows(1, 30), 'one person'),
    (
      ({**row, 'label': 'tie'} for row in rows(4, 6)),
      'no judgement to train on',
    ),
  ],
)
def test_nothing_to_compare_is_said(tmp_path, capsys, found, message):
  path = write(tmp_path / 'mine.jsonl', found)
  assert call(path, tmp_path / 'run') == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / 'run' / 'compare' / 'results.json').exists()


def test_an_unknown_method_is_named(tmp_path, capsys):
  path = write(tmp_path / 'mine.jsonl', rows(4, 6))
  assert call(path, tmp_path / 'run', '--methods=magic') == 2
  assert "unknown method 'magic'" in capsys.readouterr().err
  assert call(path, tmp_path / 'run', '--methods=plus') == 2
  assert 'plus tells a language model of people' in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
  path = write(tmp_path / 'mine.jsonl', rows(4, 6))
  (tmp_path / 'run').write_text('a file')
  assert call(path, tmp_path / 'run') == 2
  assert 'cannot make the folder' in capsys.readouterr().err


def test_a_full_disk_keeps_what_was_made(tmp_path, monkeypatch, capsys):
  path, run = write(tmp_path / 'mine.jsonl', rows(8, 12)), tmp_path / 'run'
  kept, real = [], units.Folder.write

  def full(self, name, unit):
    if len(kept) == 3:
      raise OSError(28, 'No space left on device')
    kept.append(name)
    real(self, name, unit)

  monkeypatch.setattr(units.Folder, 'write', full)
  assert call(path, run) == 2
  assert 'No space left' in capsys.readouterr().err
  folder = units.Folder(run / 'compare' / 'units')
  assert all(folder.done(name) for name in kept)


def test_killed_it_goes_on(tmp_path):
  path, run = write(tmp_path / 'mine.jsonl', rows(8, 12)), tmp_path / 'run'
  code = (
    'import os, sys\n'
    'from prm_jax.lab import units\n'
    'from prm_jax import main\n'
    'real = units.Folder.write\n'
    'def write(self, name, unit):\n'
    '  real(self, name, unit)\n'
    '  if name.endswith("aggregate"): os.kill(os.getpid(), 9)\n'
    'units.Folder.write = write\n'
    'main.run(sys.argv[1:])\n'
  )
  command = [
    'compare',
    f'--data={path}',
    f'--workdir={run}',
    '--components=9',
    '--methods=hierarchical',
    f'--features={tmp_path / "own.npz"}',
  ]
  sides = ('response_a', 'response_b')
  texts = sorted({row[side] for row in rows(8, 12) for side in sides})
  np.savez(
    tmp_path / 'own.npz',
    sha256=[features.embeddings._digest(text) for text in texts],
    features=[[t.split().count(w) for w in WORDS] for t in texts],
  )
  killed = subprocess.run(
    [sys.executable, '-c', code, *command],
    cwd=ROOT,
    capture_output=True,
    env={**os.environ},
    check=False,
  )
  assert killed.returncode == -9
  folder = units.Folder(run / 'compare' / 'units')
  assert folder.done('pairs-fold0.aggregate')
  assert not (run / 'compare' / 'results.json').exists()


def test_judgements_that_a_language_model_reads_alike_are_left_out(tmp_path):
  path = write(tmp_path / 'mine.jsonl', rows(people=3, each=4))
  judged, _ = schema.read_jsonl(path)
  table = np.arange(len(judged.texts), dtype=np.float32)[:, None]
  table[judged.items[2]] = 7
  source = types.SimpleNamespace(
    backbone='folder', together=lambda prompts, texts: table
  )
  left, notes = comparing._read_apart(judged, source)
  same = (table[judged.items[:, 0]] == table[judged.items[:, 1]])[:, 0]
  assert same[2]
  assert len(left.user) == len(judged.user) - same.sum()
  assert notes == [
    f'{same.sum()} judgements are left out: the language model reads both '
    'responses alike.'
  ]
  source.backbone = None
  assert comparing._read_apart(judged, source) == (judged, [])
