"""The study: every cell once, then tables and the page."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.personalized_vs_aggregate import cells, problems, tables
from prm_jax.audits import leaks
from prm_jax.report import page
from prm_jax.runtime import writers


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/personalized_vs_aggregate.py.
    workdir: where cells, results.json, predictions and report are written.
  """
  folder = writers.make_folder(workdir / 'cells')
  embed = problems.Embedder()
  loaded, probes = [], []
  for name in config.data.names:
    for seed in config.seeds:
      done = folder / f'{name}-seed{seed}.json'
      if not done.exists():
        names = []
        for problem in problems.problems(config, name, seed, embed):
          names.append(problem.name)
          if not (folder / f'{problem.name}.json').exists():
            _compute(config, name, problem, folder)
        writers.write_json_atomic(done, names)
        # Shapes differ between data sets: programs that are not used again
        # would fill the process's memory maps.
        jax.clear_caches()
      for cell in json.loads(done.read_text()):
        loaded.append(_read(folder / f'{cell}.npz'))
        probes += loaded[-1].record['probes']
  return _finish(config, workdir, loaded, probes)


def _compute(config, name: str, problem, folder: Path) -> None:
  """Writes one cell; its JSON record last, as the sign that it is whole."""
  grids = _grids(config, name, problem)
  result = cells.run(config, problem, grids)
  rows = problem.judged.rows
  arrays: dict[str, Any] = {
    key: np.asarray(p, np.float32) for key, p in result['predictions'].items()
  }
  training = problem.split == problems.TRAIN
  arrays['judgements'] = np.bincount(
    rows.user[training], minlength=len(problem.user_ids)
  )
  prompts, prompt_of = np.unique(problem.prompt_ids, return_inverse=True)
  units, unit_of = np.unique(problem.unit, return_inverse=True)
  for split, index in result['index'].items():
    arrays[f'{split}#label'] = rows.label[index]
    arrays[f'{split}#user'] = rows.user[index]
    arrays[f'{split}#oracle'] = problem.oracle[index].astype(np.float32)
    texts = problem.judged.inputs.index[index]
    arrays[f'{split}#prompt'] = prompt_of[texts[:, 0]]
    arrays[f'{split}#unit'] = unit_of[texts].astype(np.int32)
  arrays['user_ids'] = np.array(problem.user_ids)
  arrays['prompt_ids'], arrays['unit_names'] = prompts, units
  temporary = folder / 'cell.tmp'
  with temporary.open('wb') as file:
    np.savez_compressed(file, **arrays)
  temporary.replace(folder / f'{problem.name}.npz')
  record = {
    'data': problem.data,
    'features': problem.features_name,
    'units': problem.units,
    'seed': problem.seed,
    'methods': result['record'],
    'probes': _probes(problem) if problem.fold == 0 else [],
    **problem.truth(),
  }
  writers.write_json_atomic(folder / f'{problem.name}.json', record)


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
  strict = (problem.split == problems.TRAIN) & (
    problem.judged.rows.label != 0.5
  )
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


def _read(path: Path) -> tables.Cell:
  record = json.loads(path.with_suffix('.json').read_text())
  with np.load(path, allow_pickle=False) as file:
    arrays = dict(file)
  return tables.Cell(
    data=record['data'],
    features=record['features'],
    seed=record['seed'],
    user_ids=arrays.pop('user_ids'),
    prompt_ids=arrays.pop('prompt_ids'),
    unit_names=arrays.pop('unit_names'),
    arrays=arrays,
    record=record,
  )


def _finish(config, workdir: Path, loaded, probes) -> dict[str, Any]:
  """Writes tables, predictions and page."""
  groups, replicates = tables.group(loaded), config.bootstrap
  gain, person_gain = tables.gain_tables(groups, replicates)
  results = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'tables': {
      'accuracy': tables.accuracy_table(groups, replicates),
      'gain': gain,
      'controls': tables.control_table(groups, replicates) + probes,
      'recovery': tables.recovery_table(groups),
      'person_gain': person_gain,
      'calibration': tables.calibration_table(groups),
      'ceilings': ceilings(groups),
      'decodability': [
        row for cell in loaded for row in cell.record.get('decodability', [])
      ],
      'choices': tables.choice_table(loaded),
    },
  }
  results['answer'] = page.plain_answer(results)
  writers.write_json_atomic(workdir / 'results.json', results)
  writers.write_lines(
    workdir / 'predictions.jsonl.gz', tables.prediction_lines(groups)
  )
  page.write_page(results, workdir / 'report' / 'index.html')
  return results


def ceilings(groups) -> list[dict[str, Any]]:
  """Returns the best that any rule ignoring the person could do.

  On each pair the side with the larger mean true probability over the people
  asked is predicted, and scored by the truth: a bound, not a method.
  """
  rows = []
  for (data, features), group_ in groups.items():
    for cell in group_ if data.startswith('attributes') else []:
      for split, bound in cell.record['ceilings'].items():
        rows.append(
          {
            'data': data,
            'features': features,
            'seed': cell.seed,
            'split': split,
            **bound,
          }
        )
  return rows
