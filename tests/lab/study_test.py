"""A study: units made once, several processes, results, predictions, page."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import config_dict

from prm_jax.lab import study, units
from prm_jax.report import kinds, page, tables

ROOT = Path(__file__).parents[2]


def config(**more):
  return config_dict.ConfigDict({'study': 'toy', 'seeds': (0, 1), **more})


def toy(log, **more):
  """A study of squares that logs which units it makes."""

  def square(seed):
    log.append(seed)
    return {'seed': seed, 'square': seed**2}

  def rows(config, folder):
    return {'squares': [folder.read(f'seed{s}').record for s in config.seeds]}

  return study.Study(
    lambda config, folder: {
      f'seed{seed}': units.record(square, seed) for seed in config.seeds
    },
    rows,
    **more,
  )


def written(folder):
  return {path.name for path in folder.iterdir()}


def test_units_are_made_once_and_the_rest_is_made_of_them(tmp_path):
  log: list = []
  first = study.run(toy(log), config(), tmp_path)
  assert log == [0, 1]
  assert study.run(toy(log), config(), tmp_path) == first
  assert log == [0, 1]
  study.run(toy(log), config(seeds=(0, 1, 2)), tmp_path)
  assert log == [0, 1, 2]


def test_results_are_written_as_they_are_returned(tmp_path):
  made = toy(
    [], answer=lambda t: [f'{len(t["squares"])} squares.'], notes=('A note.',)
  )
  results = study.run(made, config(path='x'), tmp_path)
  assert json.loads((tmp_path / 'results.json').read_text()) == results
  assert results == {
    'study': 'toy',
    'config': {'study': 'toy', 'seeds': [0, 1], 'path': 'x'},
    'seeds': [0, 1],
    'notes': ['A note.'],
    'tables': {'squares': [{'seed': 0, 'square': 0}, {'seed': 1, 'square': 1}]},
    'answer': ['2 squares.'],
  }


def test_a_study_without_an_answer_says_what_pages_say(tmp_path):
  results = study.run(toy([]), config(), tmp_path)
  assert results['answer'] == list(page.plain_answer(results))


def test_the_page_shows_what_the_study_adds(tmp_path):
  drawn = {'title': 'Squares drawn', 'note': '', 'pictures': []}

  def sections(results):
    rows = tables.rows_of(results, 'squares')
    y = kinds.Axis('square', 'square')
    x = kinds.Axis('seed', 'seed')
    return [
      {**drawn, 'pictures': [kinds.lines('h', {'s': (rows, y)}, x, 'square')]}
    ]

  own = page.Page({'squares': tables.Spec('Every square')}, sections)
  study.run(toy([], page=own), config(), tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  assert 'Every square' in text
  assert 'Squares drawn' in text


def test_predictions_are_lines(tmp_path):
  def lines(config, folder):
    assert folder.done('seed1')
    return (f'{{"seed": {seed}}}\n' for seed in config.seeds)

  study.run(toy([], predictions=lines), config(), tmp_path)
  with gzip.open(tmp_path / 'predictions.jsonl.gz', 'rt') as file:
    assert [json.loads(line)['seed'] for line in file] == [0, 1]


def test_one_of_several_machines_writes_units_alone(tmp_path):
  log: list = []
  one = study.run(toy(log), config(seeds=(1,)), tmp_path, tabulate=False)
  assert one is None
  assert written(tmp_path) == {study.CELLS}
  assert {'seed1.json'} <= written(tmp_path / study.CELLS)
  results = study.run(toy(log), config(), tmp_path)
  assert log == [1, 0]
  assert [row['seed'] for row in results['tables']['squares']] == [0, 1]


def test_what_fails_ends_the_study_and_keeps_what_is_done(tmp_path):
  def work(config, folder):
    def fail():
      raise ValueError('seed 1 has no people')

    return {'a': units.record(lambda: {'seed': 0}), 'b': fail}

  broken = study.Study(work, lambda config, folder: {})
  with pytest.raises(ValueError, match='no people'):
    study.run(broken, config(), tmp_path)
  folder = units.Folder(tmp_path / study.CELLS)
  assert folder.done('a')
  assert not folder.done('b')
  assert not (tmp_path / 'results.json').exists()


def test_processes_share_a_study(tmp_path):
  code = (
    'import sys, time\n'
    'from pathlib import Path\n'
    'from ml_collections import config_dict\n'
    'from prm_jax.lab import study, units\n'
    'place = Path(sys.argv[1])\n'
    'def make(seed):\n'
    '  time.sleep(0.05)\n'
    '  with open(place / "log", "a") as log: log.write(f"{seed}\\n")\n'
    '  return {"seed": seed}\n'
    'toy = study.Study(\n'
    '  lambda config, _: {\n'
    '    f"seed{s}": units.record(make, s) for s in config.seeds},\n'
    '  lambda config, folder: {})\n'
    'seeds = tuple(range(10))\n'
    'config = config_dict.ConfigDict({"study": "toy", "seeds": seeds})\n'
    'study.run(toy, config, place, tabulate=False)\n'
    'folder = units.Folder(place / study.CELLS)\n'
    'assert all(folder.done(f"seed{s}") for s in seeds)\n'
  )
  both = [
    subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT)
    for _ in range(2)
  ]
  assert [process.wait(240) for process in both] == [0, 0]
  made = (tmp_path / 'log').read_text().split()
  assert sorted(made, key=int) == [str(seed) for seed in range(10)]


@pytest.mark.parametrize(
  ('text', 'known'),
  [('3', [3]), ('0..2', [0, 1, 2]), ('4,0..1', [4, 0, 1]), ('5..5', [5])],
)
def test_seeds_of_a_command_line(text, known):
  assert study.seeds(text) == known


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    ('', 'are no seeds'),
    ('a', 'are no seeds'),
    ('-1', 'are no seeds'),
    ('1,', 'are no seeds'),
    ('0..', 'are no seeds'),
    ('0..x', 'are no seeds'),
    ('3..1', 'names no seed'),
    ('0..2,1', 'or one twice'),
  ],
)
def test_seeds_that_are_none(text, said):
  with pytest.raises(ValueError, match=said):
    study.seeds(text)


def test_a_grid_of_a_command_line():
  assert study.grid('') == [{}]
  assert study.grid('rate=0.1,0.2;steps=5,6') == [
    {'rate': rate, 'steps': steps}
    for rate in ('0.1', '0.2')
    for steps in ('5', '6')
  ]
  assert study.grid('data.dir=/a=b') == [{'data.dir': '/a=b'}]


@pytest.mark.parametrize('text', ['rate', 'rate=', 'rate=1,,2', '=3', 'a=1;b'])
def test_grids_that_are_none(text):
  with pytest.raises(ValueError, match='is no grid'):
    study.grid(text)
