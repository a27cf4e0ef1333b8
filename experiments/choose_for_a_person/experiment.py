"""Does an answer picked for one person please them more? The study."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import tqdm

from experiments.choose_for_a_person import page, settings, tables
from prm_jax.lab import asking, study, units
from prm_jax.models import features
from prm_jax.users import gaussian


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns what makes each seed; its settings are units beside it."""
  source = features.Source()

  def seed(number: int) -> Iterator[tuple[str, units.Unit]]:
    for choosing in settings.settings(config, number, source):
      yield choosing.setting.name, _picks(config, choosing)

  return {
    f'seed{number}': folder.several(seed, number) for number in config.seeds
  }


def _picks(config, choosing: settings.Choosing) -> units.Unit:
  """Returns the true utility `[U, S]` of every pick of one setting."""
  setting, utility = choosing.setting, choosing.setting.utility
  assert setting.aggregate_menus is not None
  scores = {'aggregate': setting.aggregate_menus, **choosing.limits}
  arrays = {
    'oracle|none|0': utility.max(-1),
    'random_pick|none|0': utility.mean(-1),
    **{
      f'{name}|none|0': asking.picked(
        np.broadcast_to(score, utility.shape), utility
      )
      for name, score in scores.items()
    },
  }
  for acquire in tqdm.tqdm(config.acquisitions, desc=setting.name):
    trace = asking.ask(setting, acquire, max(config.answers))
    for count in config.answers:
      belief = gaussian.Context(
        jnp.asarray(trace.mean[:, count]), jnp.asarray(trace.factor[:, count])
      )
      pick = np.asarray(asking.best(jnp.asarray(setting.menus), belief))
      value = np.take_along_axis(utility, pick[..., None], -1)[..., 0]
      arrays[f'{setting.method}|{acquire}|{count}'] = value
  return units.Unit(setting.named, arrays)


def _tables(config, folder: units.Folder) -> study.Tables:
  cells = [cell for seed in config.seeds for cell in folder.each(f'seed{seed}')]
  return {'utility': tables.utility(cells, config.bootstrap)}


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE)
