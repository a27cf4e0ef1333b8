"""The study: serve everybody, with and without safeguards; tables and page."""

import json
from pathlib import Path
from typing import Any

import jax
import tqdm

from experiments.echo_chambers import (
  answers,
  cells,
  planted,
  real_text,
  tables,
  worlds,
)
from prm_jax.report import page
from prm_jax.runtime import writers

_NOTES = (
  'Every method is served at the same mean KL to the base policy. Intervals '
  'are Student\'s over paired seeds, Fieller\'s for ratios. "Added" is against '
  'the frozen aggregate of the same unsafeguarded world. Expectations are '
  'exact over candidates with their true labels, on prompts that nothing was '
  'fitted to.',
)


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/echo_chambers.py.
    workdir: where cells, results.json and report are written.
  """
  folder = writers.make_folder(workdir / 'cells')
  found: dict[str, Any] = {'hazard': [], 'certificate': []}
  for part, name, make in tqdm.tqdm(_jobs(config), desc='cells'):
    path = folder / f'{name}.json'
    if not path.exists():
      writers.write_json_atomic(path, make())
    found[part] += json.loads(path.read_text())
  made: dict[str, list[dict[str, Any]]] = {
    'hazard': tables.hazard(found['hazard']),
    'certificate': tables.certificate(found['certificate']),
    'strata': tables.strata(found['hazard']),
    'rounds': tables.rounds(found['hazard']),
  }
  for name, rows in (
    ('planted', lambda: planted.table(config.planted_seeds)),
    ('real_text', lambda: _real_text(config)),
  ):
    path = folder / f'{name}.json'
    if not path.exists():
      writers.write_json_atomic(path, rows())
    made[name] = json.loads(path.read_text())
  results: dict[str, Any] = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'notes': list(_NOTES),
    'tables': made,
  }
  results['answer'] = answers.answer(made)
  writers.write_json_atomic(workdir / 'results.json', results)
  page.write_page(results, workdir / 'report' / 'index.html')
  return results


def _jobs(config) -> list[tuple[str, str, Any]]:
  """Returns (part, name of the file, function) of every cell.

  Methods come first and seeds last, so that a program serves all seeds before
  the next is compiled.
  """
  jobs = []
  for method, safeguards in config.hazard.items():
    for loving in config.loving:
      condition = worlds.Condition(loving=loving, people=config.people)
      for seed in config.seeds:
        jobs.append(
          (
            'hazard',
            f'hazard-{method}-{condition.name}-seed{seed}',
            _job(
              config,
              condition,
              seed,
              {method: tuple(safeguards)},
              rounds=config.rounds,
            ),
          )
        )
  for row in config.certificate:
    node = dict(row)
    serve = node.pop('serve', 'tilt')
    condition = worlds.Condition(**{'people': config.people, **node})
    for seed in config.certificate_seeds:
      jobs.append(
        (
          'certificate',
          f'certificate-{condition.name}-{serve}-seed{seed}',
          _job(
            config,
            condition,
            seed,
            {config.certified_method: tuple(config.certified)},
            serve=serve,
          ),
        )
      )
  return jobs


def _job(config, condition, seed, names, **options):
  return lambda: cells.run(config, condition, seed, names, **options)


def _real_text(config) -> list[dict[str, Any]]:
  if not config.real_text:
    return []
  # What was compiled for simulated people is not needed any more.
  jax.clear_caches()
  return real_text.rows({}, config.data.dir or None)
