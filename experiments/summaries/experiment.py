"""The study: summaries and their reader, in two worlds of histories."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from experiments.summaries import (
  fits,
  page,
  people,
  planted,
  real,
  real_tables,
  stance_tables,
  stances,
  tables,
  tuned,
  vectors,
  words,
)
from prm_jax.lab import columns, study, units

_VECTOR = 'vector'
# Parts that examine what other parts trained, and their tables.
_PLANTED = {'planted': planted.misconceptions, 'injections': planted.injections}
_STANCES = 'stances'
REAL, TUNED = 'real', 'tuned'  # parts on real histories, without worlds
_STANCE_TABLES: dict[str, Callable[..., list[study.Row]]] = {
  'sycophancy': stance_tables.sycophancy_rows,
  'echo_chambers': stance_tables.echo_rows,
}
_NOTES = (
  'Intervals are over seeds and people at once; a seed draws people, '
  'histories, choices, starts and all training. Of five seeds such intervals '
  'hold in 93.6 to 97.5 of 100 simulations.',
  'Nothing is chosen on new people: steps and rates are fixed, and the vector '
  'is kept where it predicts validation people best.',
  'In the first world no statement has a topic, which favours summaries where '
  'choices are in a topic of which no person was seen; in the second a '
  'statement is a word of its history.',
  'Real histories: ties are not asked about; readers see which text stands '
  'first; what they are told and how much it is let in is chosen on '
  "validation people's questions; intervals are over people and questions, of "
  'one draw of people and one of summaries.',
)


def _wanted(config) -> list[tuple[str, str]]:
  """Returns worlds and methods that the parts ask for, each once."""
  found = [
    (place, label)
    for part in config.parts
    if part not in (REAL, TUNED)
    for place, labels in config.work[part].to_dict().items()
    for label in labels
  ]
  return list(dict.fromkeys(found))


def _starts(config, wanted) -> list[tuple[str, str]]:
  """Returns worlds, and the starts from which their methods go on."""
  found = [
    (place, config.methods.get(label, {}).get('start', 'start'))
    for place, label in wanted
  ]
  return list(dict.fromkeys(found))


def _make(config, folder, label, place, seed) -> units.Make:
  if label == _VECTOR:
    return functools.partial(vectors.run, config, label, place, seed)
  return functools.partial(fits.run, config, folder, label, place, seed)


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns all units, whole seeds one after another."""
  wanted = _wanted(config)
  work: dict[str, units.Make] = {}
  for seed in config.seeds:
    for place, label in _starts(config, wanted):
      work[fits.name(label, place, seed)] = functools.partial(
        fits.start, config, place, seed, label
      )
    for place, label in wanted:
      work[fits.name(label, place, seed)] = _make(
        config, folder, label, place, seed
      )
    for part, place, label in _examined(config, (*_PLANTED, _STANCES)):
      name = fits.name(f'{part}-{label}', place, seed)
      if part == _STANCES:
        make = functools.partial(stances.run, config, folder)
      else:
        make = functools.partial(planted.run, config, folder, part)
      work[name] = functools.partial(make, label, place, seed)
  if REAL in config.parts:
    work |= real.work(config, folder)
  if TUNED in config.parts:
    work |= tuned.work(config)
  return work


def _examined(config, some) -> Iterator[tuple[str, str, str]]:
  """Yields those of some parts, their worlds and methods."""
  for part in filter(some.__contains__, config.parts):
    for place, labels in config.work[part].to_dict().items():
      for label in labels:
        yield part, place, label


def _read(config, folder, place, labels) -> dict[str, list[units.Unit]]:
  return {
    label: [folder.read(fits.name(label, place, seed)) for seed in config.seeds]
    for label in labels
  }


def _worlds(config) -> Iterator[tuple[str, list[str]]]:
  wanted = _wanted(config)
  for place in dict.fromkeys(place for place, _ in wanted):
    yield place, [label for other, label in wanted if other == place]


def _tables(config, folder: units.Folder) -> study.Tables:
  found: study.Tables = {
    name: [] for name in ('predicted', 'gains', 'costs', 'curves', 'summaries')
  }
  splits = config.people.splits
  for place, labels in _worlds(config):
    made = _read(config, folder, place, labels)
    found['predicted'] += tables.predicted(place, made, splits)
    found['gains'] += tables.gains(place, made, splits)
    found['costs'] += tables.costs(place, made)
    found['curves'] += tables.curves(place, made)
    found['summaries'] += _shown(config, place, made)
  for part in ('partners', 'rounds', 'one_objective'):
    if part in config.parts:
      found[part] = _some(found['predicted'], config.work[part].plain)
  for part, place, label in _examined(config, _PLANTED):
    some = _read(config, folder, place, [f'{part}-{label}'])
    rows = _PLANTED[part](label, *some.values())
    found.setdefault(part, []).extend({'world': place, **row} for row in rows)
  if _STANCES in config.parts:
    for place, labels in config.work[_STANCES].to_dict().items():
      names = {f'{_STANCES}-{label}': label for label in labels}
      some = _read(config, folder, place, names)
      named = {names[name]: made for name, made in some.items()}
      for name, make in _STANCE_TABLES.items():
        found.setdefault(name, []).extend(make(place, named))
  if REAL in config.parts:
    found |= real_tables.made(config, folder)
  if TUNED in config.parts:
    found |= tuned.tables(config, folder)
  return {'claims': tables.claims(found), **found}


def _some(rows: list[study.Row], labels) -> list[study.Row]:
  """Returns rows of the first world's new people, of some methods."""
  known = {
    row['method']: row
    for row in rows
    if (row['world'], row['split']) == ('plain', 'new')
  }
  return [known[label] for label in labels if label in known]


def _shown(config, place, made) -> list[study.Row]:
  world = people.world(config, place, config.seeds[0])
  write = {
    label: some[0]
    for label, some in made.items()
    if 'new|summary' in some[0].arrays and '_by_' not in label
  }
  return tables.shown(place, world.tests['new'], write, config.shown)


def answer(made: study.Tables) -> list[str]:
  """Returns what the tables say, in sentences."""
  said = []
  for world, heading in words.WORLDS.items():
    for split in ('new', 'topic'):
      rows = {
        row['method']: row
        for row in made['predicted']
        if (row['world'], row['split']) == (world, split)
      }
      figures = [
        f'{words.METHODS[label]} {columns.percent(rows[label], "own")}'
        for label in words.METHODS
        if label in rows
      ]
      if figures:
        said.append(
          f'{heading.capitalize()}, {words.SPLITS[split]}: '
          f'{", ".join(figures)} of choices predicted.'
        )
  return [
    *said,
    *_leads(made['gains']),
    *_followed(made.get('sycophancy', [])),
    *_claimed(made['claims']),
    *real_tables.answer(made),
  ]


def _leads(rows: list[study.Row]) -> list[str]:
  """Returns how far PLUS is ahead of histories in context, in either world."""
  return [
    f'{words.WORLDS[row["world"]].capitalize()}, {words.SPLITS[row["split"]]}: '
    f'PLUS less {words.METHODS[row["over"]]} {columns.percent(row, "lead")}.'
    for row in rows
    if row['over'] in tables.HISTORIES and row['split'] in ('new', 'topic')
  ]


def _followed(rows: list[study.Row]) -> list[str]:
  """Returns how far PLUS follows opinions, with stances matched and without."""
  found = [
    f'{words.SAID[row["said"]]} {columns.percent(row, "gap")}'
    f'{words.GUARDS[row["safeguard"]]}'
    for row in rows
    if (row['world'], row['method']) == ('plain', tables.BASE)
    and row['safeguard'] in ('none', 'matching')
  ]
  if not found:
    return []
  return [
    'How much more of a stance PLUS serves people than their twins of the '
    f'opposite opinion: {"; ".join(found)}.'
  ]


def _claimed(rows: list[study.Row]) -> list[str]:
  missed: list[Any] = [row['claim'] for row in rows if not row['met']]
  if not rows:
    return []
  text = f'{len(rows) - len(missed)} of {len(rows)} bars are met'
  return [f'{text}; not: {"; ".join(missed)}.' if missed else f'{text}.']


STUDY = study.Study(_work, _tables, answer, page.PAGE, _NOTES)
