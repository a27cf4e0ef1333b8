"""How many answers must be offered for the best to be among them? The study."""

from collections.abc import Iterator

import numpy as np

from experiments.how_many_offers import page
from experiments.ten_questions import settings
from prm_jax.lab import asking, bootstrap, columns, study, units
from prm_jax.models import features


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  source = features.Source()

  def ranked(data: str, seed: int) -> Iterator[tuple[str, units.Unit]]:
    for setting in settings.settings(config, data, seed, source):
      yield setting.name, _places(config, setting)

  return {
    f'{data}-seed{seed}': folder.several(ranked, data, seed)
    for data in config.data.names
    for seed in config.seeds
  }


def _places(config, setting: asking.Setting) -> units.Unit:
  """Returns where everybody's best answers stand on menus, `[U, S, 2]`."""
  arrays = {}
  if setting.aggregate_menus is not None:
    score = np.broadcast_to(setting.aggregate_menus, setting.utility.shape)
    arrays['aggregate|none|0'] = place(score, setting.utility)
  for acquire in config.acquisitions:
    trace = asking.ask(setting, acquire, max(config.answers))
    for count in config.answers:
      score = np.einsum('skj,uj->usk', setting.menus, trace.mean[:, count])
      name = f'{setting.method}|{acquire}|{count}'
      arrays[name] = place(score, setting.utility)
  return units.Unit(setting.named, arrays)


def place(score: np.ndarray, utility: np.ndarray) -> np.ndarray:
  """Returns how many answers are before the best, and its equals, `[..., 2]`.

  Args:
    score: `[..., K]`, by which answers are offered.
    utility: `[..., K]`, which says what is best.
  """
  best = np.take_along_axis(score, utility.argmax(-1)[..., None], -1)
  return np.stack([(score > best).sum(-1), (score == best).sum(-1)], -1)


def _tables(config, folder: units.Folder) -> study.Tables:
  names = [f'{d}-seed{s}' for d in config.data.names for s in config.seeds]
  cells = [cell for name in names for cell in folder.each(name)]
  rows = []
  for key, members in units.grouped(cells, 'data', 'features').items():
    people = bootstrap.people(members, config.bootstrap, by_seed=True)
    for name in members[0].arrays:
      method, acquire, answers = name.split('|')
      row = {'data': key[0], 'features': key[1], 'method': method}
      row |= {'acquisition': acquire, 'answers': int(answers)}
      for offered in config.offered:
        before, equal = np.moveaxis(people.of(name), -1, 0)
        # Equals are offered in any order.
        among = np.clip((offered - before) / equal, 0, 1).mean(1)
        rows.append(
          {**row, 'offered': offered, **people.interval('among', among)}
          | people.counts
        )
  return {'offers': rows}


def answer(made: study.Tables) -> list[str]:
  """Returns what the table says, in plain sentences."""
  return [
    f'{row["data"]}, {row["method"]} after {row["answers"]} answers '
    f'({row["acquisition"]}): the best is among {row["offered"]} offers on '
    f'{columns.percent(row, "among")} of menus.'
    for row in made['offers']
    if row['answers'] in (0, 10) and row['offered'] in (1, 3)
  ]


STUDY = study.Study(_work, _tables, answer, page.PAGE)
