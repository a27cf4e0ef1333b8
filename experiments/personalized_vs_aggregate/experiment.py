"""Do personal reward models beat one model for everyone? The study."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.personalized_vs_aggregate import page, problems
from prm_jax.lab import fitting, rows, study, units, worded
from prm_jax.models import features

_LENGTH = ({'features': 'length', 'ridge': 1.0},)
# What is new to a model that is scored on a split of simulated people.
_REGIMES = {
  'new_pairs': 'seen prompts',
  'new_topics': 'new prompts, shared lexicon',
  'new_people': 'new prompts, shared lexicon',
  'new_lexicon': 'everything new',
}


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns what makes each data set and seed, with a unit a method beside."""
  model = config.language.model
  source = features.Source(backbone=model or None)

  def made(name: str, seed: int) -> dict[str, list[str]]:
    return {
      problem.name: _methods(config, name, problem, folder)
      for problem in problems.problems(config, name, seed, source)
    }

  return {
    f'{name}-seed{seed}': units.record(made, name, seed)
    for name in config.data.names
    for seed in config.seeds
  }


def _methods(
  config, name: str, problem: fitting.Problem, folder: units.Folder
) -> list[str]:
  """Makes a problem's units; returns its methods."""
  grids = _grids(config, name, problem)
  protocol = fitting.Protocol(tuple(config.answers), config.panel_answers)
  make = functools.partial(
    fitting.method_unit,
    problem,
    protocol,
    sets=fitting.FeatureSets(problem),
    people=grids.pop('people'),
  )
  work: dict[str, units.Make] = {}
  kinds = {name: node.kind for name, node in config.methods.items()}
  fitters = _worded(config, [kinds[name] for name in kinds if name in grids])
  for method, node in config.methods.items():
    if method in grids:
      more: dict[str, Any] = {}
      if node.kind in fitters:
        more = {'fit': fitters[node.kind], 'role': 'personal'}
      work[method] = functools.partial(
        make, node.to_dict(), grids[method], **more
      )
  work[fitting.LENGTH] = functools.partial(
    make, {'kind': 'aggregate'}, _LENGTH, role='control'
  )

  def judged():
    unit = fitting.rows_unit(problem, protocol)
    unit.record['probes'] = _probes(problem) if problem.fold == 0 else []
    return unit

  named = {f'{problem.name}.{method}': made for method, made in work.items()}
  folder.make_all({problem.name: judged, **named}, problem.name)
  return list(work)


def _worded(config, kinds: Sequence[str]) -> dict[str, worded.Fitter]:
  """Returns what fits those methods that a language model is told.

  Raises:
    ValueError: no language model is named, or it cannot be used.
  """
  named = tuple(kind for kind in kinds if kind in worded.METHODS)
  if not named:
    return {}
  if not config.language.model:
    raise ValueError(
      'language.model is empty: give the folder of a language model '
      '(--config.language.model=...), in the layout of Hugging Face'
    )
  folder = Path(config.language.model)
  return worded.fitters(folder, named, config.language.options.to_dict())


def _grids(config, name: str, problem: fitting.Problem) -> dict[str, Any]:
  """Returns the search grids of a problem, and at most how many `people`.

  Raises:
    ValueError: methods have not the same number of configurations.
  """
  of = 'search_new_jokes' if name == 'jester_new_jokes' else 'search'
  of = 'levels' if problem.features_name == 'levels' else of
  node = config['attributes' if 'attributes' in name else problem.data]
  grids = {
    method: tuple(dict(row) for row in grid)
    for method, grid in node[of].items()
    if method != 'people'
  }
  sizes = {method: len(grid) for method, grid in grids.items()}
  if len(set(sizes.values())) != 1:
    raise ValueError(
      f'{name}: every method has the same number of configurations, not {sizes}'
    )
  return {**grids, 'people': node[of]['people']}


def _probes(problem: fitting.Problem) -> list[dict[str, Any]]:
  """Returns what format alone can tell of a problem's rows."""
  strict = (problem.split == fitting.TRAIN) & problem.strict
  head = {
    'data': problem.data,
    'features': problem.features_name,
    'method': 'format only',
    'split': 'train',
    'answers': 'all',
    'people': len(np.unique(problem.judged.rows.user[strict])),
  }
  found = rows.probes(problem, np.flatnonzero(strict))
  return [{**head, **row} for row in found]


def _cells(config, folder: units.Folder) -> list[rows.Cell]:
  return [
    rows.read(folder, cell, methods)
    for name in config.data.names
    for seed in config.seeds
    for cell, methods in folder.read(f'{name}-seed{seed}').record.items()
  ]


def _tables(config, folder: units.Folder) -> study.Tables:
  cells = _cells(config, folder)
  groups, replicates = rows.group(cells), config.bootstrap
  in_groups = [cell for group in groups.values() for cell in group]
  gain, person_gain = rows.gain_tables(groups, replicates)
  # Where people differ most in how many judgements they gave.
  debates = {k: group for k, group in groups.items() if k[0] == 'ukp_convarg'}
  gain += rows.gains_by_judgements(debates, ('new_topics',), replicates)
  probes = [row for cell in cells for row in cell.record['probes']]
  recovery = [
    {
      **row,
      'population': row['data'].removeprefix('attributes_'),
      'regime': _REGIMES[row['split']],
    }
    for row in rows.recovery_table(groups)
  ]
  return {
    'accuracy': rows.accuracy_table(groups, replicates),
    'gain': gain,
    'controls': rows.control_table(groups, replicates) + probes,
    'recovery': recovery,
    'person_gain': person_gain,
    'calibration': rows.calibration_table(groups),
    'choices': rows.choice_table(cells),
    **{
      name: [row for cell in in_groups for row in cell.record.get(name, [])]
      for name in ('ceilings', 'decodability')
    },
  }


def _predictions(config, folder: units.Folder) -> Iterator[str]:
  return rows.prediction_lines(rows.group(_cells(config, folder)))


STUDY = study.Study(_work, _tables, page=page.PAGE, predictions=_predictions)
