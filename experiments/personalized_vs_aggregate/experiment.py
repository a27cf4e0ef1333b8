"""The study: every cell once, then tables and the page."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.personalized_vs_aggregate import problems, tables
from prm_jax.audits import leaks
from prm_jax.lab import fitting, rows, units
from prm_jax.report import page
from prm_jax.runtime import writers

_LENGTH = ({'features': 'length', 'ridge': 1.0},)


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/personalized_vs_aggregate.py.
    workdir: where cells, results.json, predictions and report are written.
  """
  folder = units.Folder(workdir / 'cells')
  embed = problems.Embedder()
  loaded, probes = [], []
  for name in config.data.names:
    for seed in config.seeds:
      done = f'{name}-seed{seed}'
      if not folder.done(done):
        made = {}
        for problem in problems.problems(config, name, seed, embed):
          made[problem.name] = _compute(config, name, problem, folder)
        folder.write(done, units.Unit(made, {}))
        # Shapes differ between data sets: programs that are not used again
        # would fill the process's memory maps.
        jax.clear_caches()
      for cell, methods in folder.read(done).record.items():
        loaded.append(rows.read(folder, cell, methods))
        probes += loaded[-1].record['probes']
  return _finish(config, workdir, loaded, probes)


def _compute(config, name: str, problem, folder: units.Folder) -> list[str]:
  """Makes a problem's units; returns its methods."""
  grids = _grids(config, name, problem)
  protocol = fitting.Protocol(tuple(config.answers), config.panel_answers)
  make = functools.partial(
    fitting.method_unit, problem, protocol, sets=fitting.FeatureSets(problem)
  )
  people = grids['people']
  work: dict[str, units.Make] = {
    method: functools.partial(
      make, config.methods[method].to_dict(), grids[method], people=people
    )
    for method in config.methods
    if method in grids
  }
  work[fitting.LENGTH] = functools.partial(
    make, {'kind': 'aggregate'}, _LENGTH, people=people, role='control'
  )

  def all_rows():
    unit = fitting.rows_unit(problem, protocol)
    unit.record['probes'] = _probes(problem) if problem.fold == 0 else []
    return unit

  named = {f'{problem.name}.{method}': made for method, made in work.items()}
  folder.make_all({problem.name: all_rows, **named}, problem.name)
  return list(work)


def _grids(config, name: str, problem) -> dict[str, Any]:
  """Returns the search grids of a problem, checked to be of one size."""
  if name.startswith('attributes'):
    node = config.attributes
    grids = node.levels if problem.features_name == 'levels' else node.search
  elif name == 'jester_new_jokes':
    grids = config.jester.search_new_jokes
  else:
    grids = config[name].search
  plain = {
    key: value if key == 'people' else tuple(dict(row) for row in value)
    for key, value in grids.items()
  }
  sizes = {key: len(rows) for key, rows in plain.items() if key != 'people'}
  if len(set(sizes.values())) != 1:
    raise ValueError(
      f'{name}: every method has the same number of configurations, not {sizes}'
    )
  return plain


def _probes(problem) -> list[dict[str, Any]]:
  """Returns what format alone can tell of a problem's rows."""
  strict = (problem.split == fitting.TRAIN) & (problem.judged.rows.label != 0.5)
  judged = problem.judged.take(np.flatnonzero(strict))
  found = leaks.rows(
    problem.texts, judged.inputs.index, judged.rows.label > 0.5,
    seed=problem.seed,
  )  # fmt: skip
  return [
    {
      'data': problem.data,
      'features': problem.features_name,
      'method': 'format only',
      'split': 'train',
      'answers': 'all',
      'people': int(np.unique(judged.rows.user).size),
      **row,
    }
    for row in found
  ]


def _finish(config, workdir: Path, loaded, probes) -> dict[str, Any]:
  """Writes tables, predictions and page."""
  groups, replicates = rows.group(loaded), config.bootstrap
  gain, person_gain = rows.gain_tables(groups, replicates)
  # Where people differ most in how many judgements they gave.
  convarg = {k: cells for k, cells in groups.items() if k[0] == 'ukp_convarg'}
  gain += rows.gains_by_judgements(convarg, ('new_topics',), replicates)
  results = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'tables': {
      'accuracy': rows.accuracy_table(groups, replicates),
      'gain': gain,
      'controls': rows.control_table(groups, replicates) + probes,
      'recovery': tables.recovery_table(groups),
      'person_gain': person_gain,
      'calibration': rows.calibration_table(groups),
      'ceilings': tables.ceilings(groups),
      'decodability': [
        row for cell in loaded for row in cell.record.get('decodability', [])
      ],
      'choices': rows.choice_table(loaded),
    },
  }
  results['answer'] = page.plain_answer(results)
  writers.write_json_atomic(workdir / 'results.json', results)
  writers.write_lines(
    workdir / 'predictions.jsonl.gz', rows.prediction_lines(groups)
  )
  page.write_page(results, workdir / 'report' / 'index.html')
  return results
