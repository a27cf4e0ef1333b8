import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from configs import how_many_offers
from experiments import run as run_study

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/personalized_vs_aggregate.py'
ONE = "--config.data.names=('attributes_gaussian',)"


def run(workdir, variant, *more):
  command = [sys.executable, '-m', 'experiments.run']
  command += [f'--config={CONFIG}:{variant}', f'--workdir={workdir}', *more]
  return subprocess.run(
    command, capture_output=True, text=True, cwd=ROOT, check=False
  )


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('smoke')
  done = run(workdir, 'smoke', ONE)
  assert done.returncode == 0, done.stderr[-2000:]
  return workdir


def test_everything_is_written(smoke):
  known = json.loads((smoke / 'results.json').read_text())
  tables = known['tables']
  assert known['study'] == 'personalized_vs_aggregate'
  for name in ('accuracy', 'gain', 'controls', 'recovery', 'ceilings'):
    assert tables[name], name
  row = tables['accuracy'][0]
  for name in (
    'accuracy',
    'auc',
    'nll',
    'ece',
    'macro_accuracy',
    'worst_decile_accuracy',
  ):
    assert {name, f'{name}_low', f'{name}_high'} <= set(row)
  answers = {row['answers'] for row in tables['accuracy']}
  assert answers == {0, 1, 2, 5, 10, 20, 50, 'all'}
  assert (smoke / 'report' / 'index.html').stat().st_size > 10_000
  run_ = json.loads((smoke / 'run.json').read_text())
  assert run_['config']['variant'] == 'smoke'
  assert 'jax' in run_['versions']


def test_predictions_give_the_accuracies(smoke):
  with gzip.open(smoke / 'predictions.jsonl.gz', 'rt') as file:
    rows = [json.loads(line) for line in file]
  want = json.loads((smoke / 'results.json').read_text())['tables']['accuracy']
  names = ('data', 'features', 'method', 'split', 'answers')
  for row in want[::7]:
    chosen = [r for r in rows if all(r[name] == row[name] for name in names)]
    right = [
      0.5 if r['probability'] == 0.5 else (r['probability'] > 0.5) == r['label']
      for r in chosen
    ]
    assert sum(right) / len(right) == pytest.approx(row['accuracy'], abs=0.02)
    assert {'user_id', 'prompt_id', 'label'} <= set(chosen[0])


def test_second_call_resumes(smoke):
  before = json.loads((smoke / 'results.json').read_text())
  cells = {p: p.stat().st_mtime_ns for p in (smoke / 'cells').iterdir()}
  assert run(smoke, 'smoke', ONE).returncode == 0
  assert json.loads((smoke / 'results.json').read_text()) == before
  assert cells == {p: p.stat().st_mtime_ns for p in (smoke / 'cells').iterdir()}


def test_bad_calls_say_what_is_wrong(smoke, tmp_path):
  other = run(smoke, 'smoke', ONE, '--config.bootstrap=7')
  assert other.returncode != 0
  assert 'bootstrap' in other.stderr
  typo = run(tmp_path, 'smoke', '--config.seedz=7')
  assert typo.returncode != 0
  assert 'seedz' in typo.stderr
  variant = run(tmp_path, 'huge')
  assert 'unknown variant' in variant.stderr
  file = tmp_path / 'file'
  file.write_text('')
  blocked = run(file / 'below', 'smoke')
  assert blocked.returncode != 0
  assert str(file) in blocked.stderr


@pytest.mark.slow
def test_full_needs_real_data(tmp_path, monkeypatch):
  monkeypatch.delenv('PRM_DATA_DIR', raising=False)
  done = run(tmp_path, 'full', "--config.data.names=('jester',)")
  assert done.returncode != 0
  assert 'PRM_DATA_DIR' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
  ('study', 'table'),
  [('ten_questions', 'curve'), ('choose_for_a_person', 'utility')],
)
def test_studies_that_ask_people(study, table, tmp_path, request):
  command = [
    sys.executable,
    '-m',
    'experiments.run',
    f'--config=configs/{study}.py:smoke',
    f'--workdir={tmp_path}',
  ]
  if study == 'choose_for_a_person':
    folder = request.getfixturevalue('real_data')
    command.append(f'--config.data.dir={folder}')
  done = subprocess.run(
    command, capture_output=True, text=True, cwd=ROOT, check=False
  )
  assert done.returncode == 0, done.stderr[-2000:]
  known = json.loads((tmp_path / 'results.json').read_text())
  rows = known['tables'][table]
  assert {'random', 'variance'} <= {row['acquisition'] for row in rows}
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000


# ----------------------------------------------- seeds, grids, several machines


def offers(workdir, *more):
  """Runs the smallest study; returns how it ended."""
  command = [sys.executable, '-m', 'experiments.run']
  command += ['--config=configs/how_many_offers.py:smoke']
  command += [f'--workdir={workdir}', *more]
  return subprocess.run(
    command, capture_output=True, text=True, cwd=ROOT, check=False
  )


def names(folder):
  return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_machines_share_a_folder_and_one_tabulates(tmp_path):
  few = '--config.acquisitions=("random",)'
  done = offers(tmp_path, few, '--seeds=1', '--notabulate')
  assert done.returncode == 0, done.stderr[-2000:]
  assert 'results.json' not in names(tmp_path)
  made = {path.name for path in (tmp_path / 'cells').glob('*.json')}
  assert made == {'gaussian-seed1.json', 'gaussian-known-pref-seed1.json'}
  before = {
    path: path.stat().st_mtime_ns for path in (tmp_path / 'cells').glob('*.np*')
  }
  done = offers(tmp_path, few, '--seeds=0..1')
  assert done.returncode == 0, done.stderr[-2000:]
  results = json.loads((tmp_path / 'results.json').read_text())
  assert results['seeds'] == results['config']['seeds'] == [0, 1]
  assert {row['seeds'] for row in results['tables']['offers']} == {2}
  for path, when in before.items():
    assert path.stat().st_mtime_ns == when, 'made again'


@pytest.mark.slow
def test_a_grid_has_a_folder_a_point(tmp_path):
  done = offers(
    tmp_path,
    '--seeds=0',
    '--config.acquisitions=("random",)',
    '--grid=bootstrap=10,20;gaussian.gaussian.people=5',
  )
  assert done.returncode == 0, done.stderr[-2000:]
  points = [f'bootstrap={n},gaussian.gaussian.people=5' for n in (10, 20)]
  assert names(tmp_path) == set(points)
  for point, bootstrap in zip(points, (10, 20), strict=True):
    results = json.loads((tmp_path / point / 'results.json').read_text())
    assert results['config']['bootstrap'] == bootstrap
    assert {row['people'] for row in results['tables']['offers']} == {5}


@pytest.mark.parametrize(
  'flag', ['--seeds=one', '--grid=bootstrap=2;bootstrep=1']
)
def test_what_cannot_be_run_is_said_before_anything_is_made(flag, tmp_path):
  done = offers(tmp_path / 'run', flag)
  assert done.returncode != 0
  assert flag.rpartition('=')[0].rpartition(';')[2].lstrip('-') in done.stderr
  assert not (tmp_path / 'run').exists()


def test_a_point_of_a_grid_changes_its_copy_alone():
  config = how_many_offers.get_config('smoke')
  assert run_study.at(config, {}) is config
  point = {'bootstrap': '7', 'study': 'other', 'gaussian.gaussian.scale': '1.5'}
  changed = run_study.at(config, point)
  assert changed.bootstrap == 7
  assert changed.study == 'other'
  assert changed.gaussian.gaussian.scale == 1.5
  assert config.bootstrap == 1000
  with pytest.raises(KeyError, match='bootstrep'):
    run_study.at(config, {'bootstrep': '1'})
  with pytest.raises(TypeError):
    run_study.at(config, {'bootstrap': 'many'})


def test_a_study_that_is_unknown():
  with pytest.raises(ValueError, match="no study 'nothing': one of"):
    run_study.named('nothing')
