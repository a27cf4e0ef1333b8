"""Rows of results.json on real people: aggregates alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.memories import real, words
from experiments.reasoning_rewards import measured
from prm_jax.lab import columns, units
from prm_jax.ops import intervals

Row = dict[str, Any]
Made = Sequence[units.Unit]
# What is told -> what it is held against beside the controls.
OVER = {'recency': ('similarity',)}
BARS = {1: 0.5, 3: 0.8}  # of preferences that are recalled, at so many


class Answers:
  """What heads of all folds say, whose answer and about what.

  Attributes:
    shared: which answers share a person, a question, or both.
  """

  def __init__(self, arrays: Mapping[str, np.ndarray], first: str, second: str):
    """Keeps n answers.

    Args:
      arrays: `[n, ...]`.
      first: name of what one person's answers share.
      second: name of what those to one question share.
    """
    self.arrays = arrays
    self.shared = intervals.crossing(arrays[first], arrays[second])

  def counts(self) -> Row:
    """Returns how many people, questions and answers there are."""
    return {
      'people': self.shared.first[1],
      'questions': self.shared.second[1],
      'n': len(next(iter(self.arrays.values()))),
    }

  def mean(self, name: str, value: np.ndarray, *, least: float = 0.0) -> Row:
    """Returns a mean, with its interval over people and questions.

    Args:
      name: of the columns.
      value: `[n]`.
      least: that it can be.
    """
    value = np.asarray(value, float)
    row = measured.share(
      name, value, np.ones(len(value)), self.shared, least=least
    )
    row.pop('coverage', None)
    return row


def _joined(made: Made) -> dict[str, np.ndarray]:
  names = made[0].arrays
  return {
    name: np.concatenate([unit.arrays[name] for unit in made]) for name in names
  }


def _told(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """Returns what is told, in order."""
  some = [name.split('|')[0] for name in arrays if '|' in name]
  return list(dict.fromkeys(some))


def _rows(
  data: str, given: Answers, credit: Mapping[str, np.ndarray]
) -> Iterator[Row]:
  """Yields how often each memory is right, and how far above what.

  Args:
    data: name of the set.
    given: n answers.
    credit: `options`, and `MEMORY|WHOSE`, `[n]` each: 1 where it is right.
  """
  options = credit[real.OPTIONS]
  yield {
    **{'data': data, 'told': real.OPTIONS},
    **given.mean('right', options),
    **given.counts(),
  }
  for memory in _told(credit):
    own = credit[f'{memory}|{real.OWN}']
    row: Row = {'data': data, 'told': memory, **given.mean('right', own)}
    for whose in (real.SWAPPED, real.POPULATION):
      other = credit[f'{memory}|{whose}']
      row |= given.mean(whose, other)
      row |= given.mean(f'over_{whose}', own - other, least=-1.0)
    row |= given.mean('over_options', own - options, least=-1.0)
    for name in OVER.get(memory, ()):
      if f'{name}|{real.OWN}' in credit:
        less = own - credit[f'{name}|{real.OWN}']
        row |= given.mean(f'over_{name}', less, least=-1.0)
    yield {**row, **given.counts()}


def choices(name: str, made: Made) -> list[Row]:
  """Returns how well new people's answers to new questions are predicted.

  Args:
    name: of the data.
    made: units of folds.
  """
  arrays = _joined(made)
  answers = Answers(arrays, 'user', 'about')
  label = arrays['label'] > 0.5
  credit = {
    key: np.where(value == 0, 0.5, (value > 0) == label)
    for key, value in arrays.items()
    if key == real.OPTIONS or '|' in key
  }
  return list(_rows(name, answers, credit))


def preferences(made: units.Unit) -> list[Row]:
  """Returns how often the option that follows the preference is chosen.

  Args:
    made: the unit.
  """
  answers = Answers(made.arrays, 'user', 'topic')
  credit = {
    key: (value > 0).all(1).astype(float)
    for key, value in made.arrays.items()
    if value.ndim == 2
  }
  return list(_rows(real.PREFEVAL, answers, credit))


def recalls(preferred: units.Unit, personas: units.Unit) -> list[Row]:
  """Returns how often what is right is among the likest ones.

  Args:
    preferred: of PrefEval.
    personas: of Synthetic-Persona-Chat.
  """
  rows = []
  stored = {'stored': preferred.record['stored']}
  for by, start in (('question', 'any_'), ('question_few_topics', '')):
    known = {
      name: preferred.arrays[f'{start}{name}']
      for name in ('user', 'topic', 'rank')
    }
    answers = Answers(known, 'user', 'topic')
    row: Row = {'data': real.PREFEVAL, 'by': by, **_at(answers, known['rank'])}
    if start:
      row['met'] = all(row[f'at_{count}'] >= bar for count, bar in BARS.items())
    rows.append({**row, **stored, **answers.counts()})
  answers = Answers(personas.arrays, 'user', 'user')
  for told in _told(personas.arrays):
    own, other = (
      personas.arrays[f'{told}|{whose}'] for whose in (real.OWN, real.SWAPPED)
    )
    row = {'data': real.PERSONAS, 'by': told, **_at(answers, own)}
    row |= answers.mean('partners_at_1', other < 1)
    less = (own < 1).astype(float) - (other < 1)
    row |= answers.mean('over_partners_at_1', less, least=-1.0)
    row |= {'stored': personas.record['stored']}
    rows.append({**row, **answers.counts()})
  return rows


def _at(answers: Answers, rank: np.ndarray) -> Row:
  row: Row = {}
  for count in BARS:
    row |= answers.mean(f'at_{count}', rank < count)
  return row


def _cost(made: Made) -> Row:
  return {'cpu_seconds': sum(unit.record['cpu_seconds'] for unit in made)}


def made(config: Any, folder: units.Folder) -> dict[str, list[Row]]:
  """Returns the tables, of units that are done.

  Args:
    config: of the study.
    folder: of its units.
  """
  found: dict[str, list[Row]] = {
    'real': [],
    'real_recalls': [],
    'real_costs': [],
  }
  for name, node in config.real.choices.items():
    some = [folder.read(f'{name}-{fold}') for fold in range(node.folds_used)]
    found['real'] += choices(name, some)
    found['real_costs'].append({'data': name, **_cost(some)})
  preferred, personas = folder.read(real.PREFEVAL), folder.read(real.PERSONAS)
  found['real'] += preferences(preferred)
  found['real_recalls'] = recalls(preferred, personas)
  for name, unit in ((real.PREFEVAL, preferred), (real.PERSONAS, personas)):
    found['real_costs'].append({'data': name, **_cost([unit])})
  return found


def answer(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what is recalled, and what memories add, a sentence each.

  Args:
    made: the tables.
  """
  for row in made.get('real_recalls', ()):
    yield (
      f'{words.DATA[row["data"]]}, by {words.RECALLED[row["by"]]}: the right '
      f'one of {row["stored"]} is recalled {columns.percent(row, "at_1")} of '
      f'times, among three {columns.percent(row, "at_3")}.'
    )
  rows = made.get('real', [])
  for data in dict.fromkeys(row['data'] for row in rows):
    some = [row for row in rows if row['data'] == data]
    figures = [
      f'{words.RECALLED[row["told"]]} {columns.percent(row, "over_swapped")}'
      for row in some
      if 'over_swapped' in row
    ]
    yield (
      f'{words.DATA[data]}: options alone {columns.percent(some[0], "right")}; '
      f"own less another person's: {'; '.join(figures)}."
    )
