"""How many answers does a person have to give? The study."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tqdm

from experiments.ten_questions import page, settings, tables
from prm_jax.lab import asking, study, units
from prm_jax.models import features


def _cells(config) -> dict[str, tuple[str, int]]:
  """Returns data set and seed of each unit."""
  return {
    f'{data}-seed{seed}': (data, seed)
    for data in config.data.names
    for seed in config.seeds[
      : None if data in config.gaussian else config.real_seeds
    ]
  }


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns what makes each data set and seed; settings are units beside."""
  source = features.Source()

  def asked(data: str, seed: int) -> Iterator[tuple[str, units.Unit]]:
    for setting in settings.settings(config, data, seed, source):
      yield setting.name, _curves(config, setting)

  return {
    name: folder.several(asked, *cell) for name, cell in _cells(config).items()
  }


def _curves(config, setting: asking.Setting) -> units.Unit:
  """Returns what one setting's people were asked, and how well that did."""
  arrays: dict[str, Any] = {}
  for acquire in tqdm.tqdm(config.acquisitions, desc=setting.name):
    questions = config.questions
    if acquire == 'profile':  # looks at every pair of questions
      questions = min(questions, config.profile.questions)
    trace = asking.ask(setting, acquire, questions, config.profile.pairs)
    scored = [
      asking.scores(setting, np.asarray(trace.mean[:, t]))
      for t in range(questions + 1)
    ]
    correct, regret = np.stack(scored, -1).astype(np.float32)
    arrays |= {f'correct|{acquire}': correct, f'regret|{acquire}': regret}
  if setting.aggregate_test is not None:
    assert setting.aggregate_menus is not None
    menus = np.broadcast_to(setting.aggregate_menus, setting.utility.shape)
    correct = asking.right(setting.aggregate_test, setting.test)
    arrays['correct|aggregate'] = correct[:, None]
    arrays['regret|aggregate'] = asking.regret(menus, setting.utility)[:, None]
  return units.Unit(setting.named, arrays)


def _tables(config, folder: units.Folder) -> study.Tables:
  cells = [unit for name in _cells(config) for unit in folder.each(name)]
  groups = tables.groups(cells, config.bootstrap)
  return {
    'curve': tables.curve(groups, config.answers),
    'answers_needed': tables.answers_needed(groups, config.targets),
  }


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE)
