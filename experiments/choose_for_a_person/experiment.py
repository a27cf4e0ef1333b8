"""The study: pick for everybody after some answers; then table and page."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from experiments import elicited
from experiments.choose_for_a_person import settings, tables
from experiments.personalized_vs_aggregate import problems
from prm_jax import types
from prm_jax.alignment import selection
from prm_jax.report import page
from prm_jax.rewards import factorized
from prm_jax.runtime import writers
from prm_jax.users import gaussian


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/choose_for_a_person.py.
    workdir: where cells, results.json and report are written.
  """
  folder = writers.make_folder(workdir / 'cells')
  embed = problems.Embedder()
  names = []
  for seed in config.seeds:
    done = folder / f'seed{seed}.json'
    if not done.exists():
      made = [
        _compute(config, choosing, folder)
        for choosing in settings.settings(config, seed, embed)
      ]
      writers.write_json_atomic(done, made)
    names += json.loads(done.read_text())
  cells = [_read(folder / f'{name}.npz') for name in names]
  results: dict[str, Any] = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'tables': {'utility': tables.utility(cells, config.bootstrap)},
  }
  results['answer'] = tables.answer(results['tables']['utility'])
  writers.write_json_atomic(workdir / 'results.json', results)
  page.write_page(results, workdir / 'report' / 'index.html')
  return results


def _compute(config, choosing: settings.Choosing, folder: Path) -> str:
  """Writes the utility `[U, S]` of every pick of one setting."""
  setting, utility = choosing.setting, choosing.setting.utility
  head = {
    'data': setting.data,
    'features': setting.features,
    'seed': setting.seed,
  }
  arrays: dict[str, Any] = {
    'head': json.dumps(head),
    'oracle|none|0': utility.max(-1),
    'random_pick|none|0': utility.mean(-1),
  }
  assert setting.aggregate_menus is not None
  known = {'aggregate': setting.aggregate_menus, **choosing.limits}
  for name, score in known.items():
    score = np.broadcast_to(score, utility.shape)
    arrays[f'{name}|none|0'] = elicited.picked(score, utility)
  for acquire in tqdm.tqdm(config.acquisitions, desc=setting.name):
    trace = elicited.ask(setting, acquire, max(config.answers))
    for count in config.answers:
      belief = gaussian.Context(
        jnp.asarray(trace.mean[:, count]), jnp.asarray(trace.factor[:, count])
      )
      pick = np.asarray(best(jnp.asarray(setting.menus), belief))
      value = np.take_along_axis(utility, pick[..., None], -1)[..., 0]
      arrays[f'{setting.method}|{acquire}|{count}'] = value
  temporary = folder / 'cell.tmp'
  with temporary.open('wb') as file:
    np.savez_compressed(file, **arrays)
  temporary.replace(folder / f'{setting.name}.npz')
  return setting.name


@jax.jit
def best(menus: jax.Array, belief: gaussian.Context) -> jax.Array:
  """Returns what is picked for everybody from every menu, `[U, S]`."""
  reward = factorized.identity()
  system = types.System(reward, gaussian.gaussian(dim=1, capacity=0))

  def person(belief):
    context = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (len(menus), *leaf.shape)), belief
    )
    params: dict[str, Any] = {'reward': {}, 'user': {}}
    return selection.best_of_n(system, params, menus, context).pick

  return jax.lax.map(person, belief)


def _read(path: Path) -> tables.Cell:
  with np.load(path, allow_pickle=False) as file:
    arrays = dict(file)
  return tables.Cell(arrays=arrays, **json.loads(str(arrays.pop('head'))))
