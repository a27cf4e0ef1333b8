"""The study: memories of people, in worlds where each finding may hold."""

import functools

from experiments.memories import (
  fits,
  language,
  nodes,
  page,
  people,
  planted,
  real,
  real_tables,
  stances,
  tables,
  words,
)
from prm_jax.lab import columns, study, units

# Parts that examine a block of people whose histories were tampered with.
_AUDITS = {'planted': planted.run, 'stances': stances.run}
_AUDIT_TABLES = {
  'planted': ('planted', planted.rows),
  'sycophancy': ('stances', stances.sycophancy_rows),
  'echo_chambers': ('stances', stances.echo_rows),
}
REAL, LANGUAGE = 'real', 'language'
_NOTES = (
  'Intervals are over seeds and people at once; a seed draws people, '
  'histories, queries, the base model and all training.',
  'Rates and betas are chosen on validation people of the same seed and world, '
  'by an adapter alone; nothing is chosen on the people that are told of.',
  'Core milliseconds are CPU time of one process; only ratios of one run '
  'count.',
  'Real people: heads are fitted and their ridge is chosen on other people and '
  'questions; intervals are over people and questions, of one draw of both.',
)


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns all units, whole seeds one after another."""
  work: dict[str, units.Make] = {}
  if REAL in config.parts:
    work |= real.work(config)
  if LANGUAGE in config.parts:
    work |= language.work(config)
  for seed in config.seeds if _places(config) else ():
    work[f'base-{seed}'] = functools.partial(fits.base, config, seed)
    for place in _places(config):
      work[fits.name('search', place, seed)] = functools.partial(
        fits.search, config, folder, place, seed
      )
      if place in _of(config, 'signs'):
        work[fits.name('signs', place, seed)] = functools.partial(
          nodes.run, config, folder, place, seed
        )
    for place in _of(config, 'lengths'):
      work[fits.name('lengths', place, seed)] = functools.partial(
        nodes.lengths, config, folder, place, seed
      )
    for part, make in _AUDITS.items():
      for place in _of(config, part):
        work[fits.name(part, place, seed)] = functools.partial(
          make, config, folder, place, seed
        )
  return work


def _of(config, part: str) -> list[str]:
  """Returns the worlds of a part; none where it is not asked for."""
  return list(config[part].worlds) if part in config.parts else []


def _places(config) -> list[str]:
  parts = ('signs', 'lengths', *_AUDITS)
  return list(dict.fromkeys(place for p in parts for place in _of(config, p)))


def _tables(config, folder: units.Folder) -> study.Tables:
  names = ('signs', 'accuracies', 'ceilings', 'thinking', 'facts', 'controls')
  found: study.Tables = {name: [] for name in (*names, 'lengths', 'searched')}
  for place in _of(config, 'signs'):
    made = _read(config, folder, 'signs', place)
    found['signs'] += tables.signs(place, made)
    found['accuracies'] += tables.accuracies(place, made)
    setting = people.setting(config, place)
    found['ceilings'] += tables.ceilings(place, setting, made)
    found['thinking'] += tables.thinking(place, made)
    found['facts'] += tables.facts(place, made)
    found['controls'] += tables.controls(place, made)
    found['searched'] += tables.searched(made)
  for place in _of(config, 'lengths'):
    made = _read(config, folder, 'lengths', place)
    found['lengths'] += tables.lengths(place, made)
  for name, (part, make) in _AUDIT_TABLES.items():
    for place in _of(config, part):
      made = _read(config, folder, part, place)
      found.setdefault(name, []).extend(make(place, made))
  if REAL in config.parts:
    found |= real_tables.made(config, folder)
  if LANGUAGE in config.parts:
    found |= language.made(config, folder)
  return {'bars': tables.bars(found['signs']), **found}


def _read(config, folder, part, place) -> list[units.Unit]:
  return [folder.read(fits.name(part, place, seed)) for seed in config.seeds]


def answer(made: study.Tables) -> list[str]:
  """Returns five sentences: which published finding holds where."""
  said = []
  for finding in words.TOLD:
    rows = [row for row in made['signs'] if row['finding'] == finding]
    if not rows:
      continue
    clauses = []
    for sign in (tables.HOLDS, tables.REVERSED, tables.OPEN):
      some = [
        f'{words.WORLDS.get(row["world"], row["world"])} '
        f'({columns.percent(row, "lead")})'
        for row in rows
        if row['sign'] == sign
      ]
      if some:
        clauses.append(f'{sign}: {", ".join(some)}')
    claim = words.FINDINGS[finding][0]
    said.append(f'{claim[0].upper()}{claim[1:]} {"; ".join(clauses)}.')
  return [*said, *real_tables.answer(made)]


STUDY = study.Study(_work, _tables, answer, page.PAGE, _NOTES)
