"""Rows of results.json on real histories: aggregates alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reasoning_rewards import measured
from experiments.summaries import real, real_people, real_reads, words
from prm_jax.lab import columns, units
from prm_jax.ops import intervals

Row = dict[str, Any]
SPLITS = {real_people.NEW: 'new', real_people.SEEN: 'seen'}
# What is told -> what a reader is held against, told other things.
OVER = {
  'nothing': ('options', 'length', 'habits'),
  'history': ('options', 'nothing', 'habits'),
  'vector': ('options', 'nothing', 'habits'),
  'summary': ('options', 'nothing', 'habits', 'history'),
  'chosen': ('options', 'nothing', 'habits', 'history', 'summary'),
  'truth': ('options', 'nothing'),
  'chosen_habits': ('nothing_habits',),
}


class Said:
  """What the readers of all folds say of one split's pairs."""

  def __init__(self, made: Sequence[units.Unit], split: str):
    """Puts folds together.

    Args:
      made: units of folds.
      split: name of a part.
    """
    self._made = [unit for unit in made if f'{split}|label' in unit.arrays]
    self._split = split
    if self._made:
      self.user, self.about, self.label = map(
        self.of, ('user', 'about', 'label')
      )
      self.shared = intervals.crossing(self.user, self.about)

  def __bool__(self) -> bool:
    return bool(self._made)

  def of(self, name: str) -> np.ndarray:
    """Returns an array of all folds."""
    return np.concatenate(
      [unit.arrays[f'{self._split}|{name}'] for unit in self._made]
    )

  def there(self, kind: str, whose: str = real.OWN) -> bool:
    """Returns whether readers are told this."""
    return f'{self._split}|{kind}|{whose}' in self._made[0].arrays

  def right(self, kind: str, whose: str = real.OWN) -> np.ndarray:
    """Returns credits `[n]`: 1, 0, or 1/2 where a reader has no lead."""
    lead = self.of(f'{kind}|{whose}')
    return np.where(lead == 0, 0.5, (lead > 0) == (self.label > 0.5))

  def counts(self) -> Row:
    """Returns how many people, questions and pairs there are."""
    return {
      'people': self.shared.first[1],
      'questions': self.shared.second[1],
      'n': len(self.label),
    }

  def mean(self, name: str, value: np.ndarray, *, least: float = 0.0) -> Row:
    """Returns a mean over people and questions, and what would be detected.

    Args:
      name: of the columns.
      value: `[n]`.
      least: that it can be.
    """
    count = np.ones(len(value))
    row = measured.share(name, value, count, self.shared, least=least)
    row.pop('coverage', None)
    if least < 0:
      seen = intervals.crossed(value, count, self.shared).smallest_detectable
      row[f'{name}_detectable'] = float(seen) if np.isfinite(seen) else None
    return row


def _each(
  made: Mapping[str, Sequence[units.Unit]],
) -> Iterator[tuple[str, str, Said]]:
  for name, some in made.items():
    for part, split in SPLITS.items():
      said = Said(some, part)
      if said:
        yield name, split, said


def predicted(made: Mapping[str, Sequence[units.Unit]]) -> list[Row]:
  """Returns how often readers are right, a row for what they are told.

  `swapped` and `population`: the same reader, told another person's or that of
  training people at large. `all_right`, of PrefEval: questions whose better
  answer is preferred to all three others.

  Args:
    made: units of folds by data set.
  """
  rows = []
  for name, split, said in _each(made):
    for kind in real_reads.SEES:
      if not said.there(kind):
        continue
      row: Row = {'data': name, 'split': split, 'told': kind}
      for whose in real.WHOSE:
        if said.there(kind, whose):
          row |= said.mean(whose, said.right(kind, whose))
      if name == real_people.PREFEVAL:
        row |= _all_right(said, kind)
      rows.append({**row, **said.counts()})
  return rows


def _all_right(said: Said, kind: str) -> Row:
  """Returns the share of questions of which all pairs are right."""
  key = np.stack([said.user, said.about])
  both, place = np.unique(key, axis=1, return_inverse=True)
  whole = np.ones(both.shape[1])
  np.minimum.at(whole, place.ravel(), np.floor(said.right(kind)))
  row = measured.share(
    'all_right', whole, np.ones(len(whole)), intervals.crossing(*both)
  )
  row.pop('coverage', None)
  return row


def gains(made: Mapping[str, Sequence[units.Unit]]) -> list[Row]:
  """Returns what is gained by what is told, on the same pairs.

  `lead_detectable` is the mean that a two-sided test at 5 % finds in 80 of 100
  repetitions.

  Args:
    made: units of folds by data set.
  """
  rows = []
  for name, split, said in _each(made):
    for kind, others in OVER.items():
      if not said.there(kind):
        continue
      own = said.right(kind)
      beside = [(whose, kind, whose) for whose in real.WHOSE[1:]]
      beside += [(other, other, real.OWN) for other in others]
      for over, other, whose in beside:
        if said.there(other, whose):
          less = own - said.right(other, whose)
          lead = said.mean('lead', less, least=-1.0)
          row = {'data': name, 'split': split, 'told': kind, 'over': over}
          rows.append({**row, **lead, **said.counts()})
  return rows


def written(made: Sequence[units.Unit]) -> list[Row]:
  """Returns what the untrained writer wrote, a row a data set.

  Args:
    made: units of summaries.
  """
  rows = []
  for unit in made:
    known, n = unit.arrays, unit.record['histories']
    row: Row = {key: unit.record[key] for key in ('data', 'histories')}
    for name, values in (
      ('silent', known['silent']),
      ('finished', known['finished']),
    ):
      row |= columns.mean(name, values.mean(1), least=0.0, most=1.0)
    row |= columns.mean('tokens', known['tokens'].mean(1))
    row |= {
      key: unit.record[key]
      for key in ('samples', 'read_tokens', 'cut', 'cpu_seconds')
    }
    rows.append({**row, 'n': n})
  return rows


def training(made: Mapping[str, Sequence[units.Unit]]) -> list[Row]:
  """Returns what validation pairs chose in every fold."""
  return [
    {
      'data': name,
      'fold': unit.record['fold'],
      'told': kind,
      'ridge': choice['ridge'],
      'let_in': choice['let_in'],
      'validation_nats': choice['validation'],
      'people': unit.record['people'],
      'pairs': unit.record['pairs'],
      'cpu_seconds': unit.record['cpu_seconds'],
    }
    for name, some in made.items()
    for unit in some
    for kind, choice in unit.record['chosen'].items()
  ]


def made(config, folder: units.Folder) -> dict[str, list[Row]]:
  """Returns the tables, of units that are done."""
  folds = {
    name: [
      folder.read(real.read_name(name, number))
      for number in range(real_people.folds(config, name))
    ]
    for name in config.real.data
  }
  summaries = [folder.read(real.written_name(name)) for name in folds]
  return {
    'real': predicted(folds),
    'real_gains': gains(folds),
    'real_written': written(summaries),
    'real_training': training(folds),
  }


_TOLD = ('chosen', 'summary', 'history', 'truth')
_SAID_OVER = ('nothing', 'swapped', 'population')


def answer(found: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what new people's figures say, a sentence a data set."""
  rows = [row for row in found.get('real', ()) if row['split'] == 'new']
  leads = {
    (row['data'], row['told'], row['over']): row
    for row in found.get('real_gains', ())
    if row['split'] == 'new'
  }
  for name in dict.fromkeys(row['data'] for row in rows):
    figures = [
      f'{words.TOLD[row["told"]]} {columns.percent(row, "own")}'
      for row in rows
      if row['data'] == name
    ]
    shown = []
    for kind in _TOLD:
      some = [
        f'{words.OVER[over]} {columns.percent(leads[name, kind, over], "lead")}'
        for over in _SAID_OVER
        if (name, kind, over) in leads
      ]
      if some:
        shown.append(f'{words.TOLD[kind]} less {", ".join(some)}')
    yield (
      f'Real histories, {words.DATA[name]}, new people with new questions: '
      f'{"; ".join(figures)}. {". ".join(shown)}.'
    )
