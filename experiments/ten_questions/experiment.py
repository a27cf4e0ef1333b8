"""The study: ask everybody, by every acquisition; then tables and the page."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm

from experiments.personalized_vs_aggregate import problems
from experiments.ten_questions import settings, tables
from prm_jax.lab import asking
from prm_jax.report import page
from prm_jax.runtime import writers


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/ten_questions.py.
    workdir: where cells, results.json and report are written.
  """
  folder = writers.make_folder(workdir / 'cells')
  embed = problems.Embedder()
  names = []
  for data in config.data.names:
    seeds = config.seeds[: config.real_seeds]
    for seed in config.seeds if data in config.gaussian else seeds:
      done = folder / f'{data}-seed{seed}.json'
      if not done.exists():
        made = [
          _compute(config, setting, folder)
          for setting in settings.settings(config, data, seed, embed)
        ]
        writers.write_json_atomic(done, made)
      names += json.loads(done.read_text())
    # Seeds share their programs, data sets do not.
    jax.clear_caches()
  cells = [_read(folder / f'{name}.npz') for name in names]
  return _finish(config, workdir, cells)


def _compute(config, setting: asking.Setting, folder: Path) -> str:
  """Writes what one setting's people were asked, and how well that did."""
  head = {
    'data': setting.data,
    'features': setting.features,
    'method': setting.method,
    'seed': setting.seed,
  }
  arrays: dict[str, Any] = {'head': json.dumps(head)}
  for acquire in tqdm.tqdm(config.acquisitions, desc=setting.name):
    trace = asking.ask(setting, acquire, config.questions)
    scored = [
      _scores(setting, np.asarray(trace.mean[:, t]))
      for t in range(config.questions + 1)
    ]
    correct, regret = (
      np.stack(column, 1) for column in zip(*scored, strict=True)
    )
    arrays[f'correct|{acquire}'] = correct.astype(np.float32)
    arrays[f'regret|{acquire}'] = regret.astype(np.float32)
    arrays[f'asked|{acquire}'] = trace.asked
    arrays[f'label|{acquire}'] = trace.label
  if setting.aggregate_test is not None:
    assert setting.aggregate_menus is not None
    menus = np.broadcast_to(setting.aggregate_menus, setting.utility.shape)
    correct = asking.right(setting.aggregate_test, setting.test)
    arrays['correct|aggregate'] = correct[:, None]
    arrays['regret|aggregate'] = _regret(menus, setting.utility)[:, None]
  temporary = folder / 'cell.tmp'
  with temporary.open('wb') as file:
    np.savez_compressed(file, **arrays)
  temporary.replace(folder / f'{setting.name}.npz')
  return setting.name


def _scores(setting: asking.Setting, mean: np.ndarray):
  """Returns each person's accuracy and regret `[U]` under means `[U, J]`."""
  margin = np.einsum('umj,uj->um', setting.test.difference, mean)
  score = np.einsum('skj,uj->usk', setting.menus, mean)
  return (
    asking.right(margin, setting.test),
    _regret(score, setting.utility),
  )


def _regret(score: np.ndarray, utility: np.ndarray) -> np.ndarray:
  """Returns the share of what choosing could win that is lost, `[U]`.

  0 is the best of every menu, 1 as good as any of it; NaN where a person has
  no menu with a choice.
  """
  whole = (~np.isnan(utility)).sum(-1) >= 2
  filled = np.where(whole[..., None], utility, 0.0)
  best = np.nanmax(filled, -1)
  lost = (best - asking.picked(score, filled)).sum(-1)
  with np.errstate(invalid='ignore'):
    return lost / (best - np.nanmean(filled, -1)).sum(-1)


def _read(path: Path) -> tables.Cell:
  with np.load(path, allow_pickle=False) as file:
    arrays = dict(file)
  return tables.Cell(arrays=arrays, **json.loads(str(arrays.pop('head'))))


def _finish(config, workdir: Path, cells) -> dict[str, Any]:
  """Writes tables and page."""
  results: dict[str, Any] = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'tables': {
      'curve': tables.curve(cells, config.answers, config.bootstrap),
      'answers_needed': tables.answers_needed(
        cells, config.targets, config.bootstrap
      ),
    },
  }
  results['answer'] = tables.answer(results['tables'])
  writers.write_json_atomic(workdir / 'results.json', results)
  page.write_page(results, workdir / 'report' / 'index.html')
  return results
