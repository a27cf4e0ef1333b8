"""What all benchmarks share, on one that measures nothing."""

import json
import sys
from typing import NamedTuple

from experiments.benchmarks import program


class Sizes(NamedTuple):
  people: int = 100
  model: str = 'large'
  counts: tuple[int, ...] = (1, 2)


def measure(sizes):
  return {'rows': [{'people': sizes.people, 'model': sizes.model}]}


def written(tmp_path, monkeypatch, *options):
  output = tmp_path / 'new' / 'made.json'
  command = ['experiments/benchmarks/made.py', f'--output={output}', *options]
  monkeypatch.setattr(sys, 'argv', command)
  program.main(
    'It does\nthis.\n\nAnd that.', measure, Sizes(), Sizes(2, 'tiny')
  )
  return json.loads(output.read_text())


def test_results_are_tables_with_what_they_depend_on(
  tmp_path, monkeypatch, capsys
):
  results = written(tmp_path, monkeypatch)
  assert results['study'] == 'made'
  assert results['config'] == {
    'people': 100,
    'model': 'large',
    'counts': [1, 2],
  }
  assert results['notes'] == ['It does this.', 'And that.']
  assert results['tables']['rows'] == [{'people': 100, 'model': 'large'}]
  (machine,) = results['tables']['hardware']
  assert machine['cores'] >= 1
  assert {'load', 'load_after', 'jax'} <= set(machine)
  assert '| 100 | large |' in capsys.readouterr().out


def test_smoke_is_small_and_options_change_sizes(tmp_path, monkeypatch):
  rows = written(tmp_path, monkeypatch, '--smoke', '--people=7')
  assert rows['tables']['rows'] == [{'people': 7, 'model': 'tiny'}]
