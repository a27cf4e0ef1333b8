"""Rows of results.json on summaries that are learned with their reader."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reasoning_rewards import measured
from experiments.summaries import fits
from prm_jax.lab import columns, units
from prm_jax.worlds import histories

Row = dict[str, Any]
Made = Mapping[str, Sequence[units.Unit]]  # label -> a unit of each seed
FACTS = ('strong_first', 'both', 'silent')
BASE = 'plus'
HISTORIES = ('history_equal_pairs', 'history_equal_time')
NEAR = 0.03  # new topics and combinations are as good as what is known


def cells(
  made: Sequence[units.Unit],
  split: str,
  value: str | Callable[[Mapping[str, np.ndarray]], np.ndarray],
) -> list[measured.Cell]:
  """Returns what every seed measured of a split's people.

  Args:
    made: of a method, one a seed.
    split: of the people.
    value: the name of an array, or what is made of the split's arrays.
  """
  found = []
  for unit in made:
    start = f'{split}|'
    arrays = {
      name.removeprefix(start): array
      for name, array in unit.arrays.items()
      if name.startswith(start)
    }
    if isinstance(value, str) and value not in arrays:
      continue
    values = arrays[value] if isinstance(value, str) else value(arrays)
    found.append(
      measured.Cell(
        unit.record['seed'], arrays['person'], np.asarray(values, float)
      )
    )
  return found


def _least(found: Sequence[measured.Cell]) -> float | None:
  """Returns the mean of the seed where it is least."""
  return min((float(np.nanmean(cell.value)) for cell in found), default=None)


def _own_less_other(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
  return arrays['own'] - arrays['other']


def _finite(some: Sequence[measured.Cell]) -> list[measured.Cell]:
  return measured.finite(some)


def predicted(world: str, made: Made, splits: Sequence[str]) -> list[Row]:
  """Returns how well choices are predicted, and what summaries tell.

  `own`, `other` and `empty` are whose summary is read; `worst_seed` is the
  least mean of `own` over seeds, and `less_new` how much better a split is
  predicted than new people.

  Args:
    world: of the units.
    made: of every method.
    splits: of people.
  """
  rows = []
  for label, some in made.items():
    for split in splits:
      row: Row = {'world': world, 'method': label, 'split': split}
      for which in fits.OF:
        row |= measured.mean(which, _finite(cells(some, split, which)))
      row['worst_seed'] = _least(cells(some, split, 'own'))
      gap = _finite(cells(some, split, _own_less_other))
      row |= measured.mean('own_less_other', gap, least=-1.0)
      if split != 'new' and 'new' in splits:
        row |= _less_new(some, split)
      for fact in FACTS:
        known = cells(some, split, fact)
        if known:
          row |= measured.mean(fact, known)
      rows.append({**row, **_counts(some, split)})
  return rows


def _less_new(some: Sequence[units.Unit], split: str) -> Row:
  """Returns a split less new people, who are others."""
  mine, new = (cells(some, each, 'own') for each in (split, 'new'))
  apart = [
    cell._replace(problem=cell.problem + 1 + known.problem.max())
    for cell, known in zip(mine, new, strict=True)
  ]
  return measured.apart('less_new', apart, new)


def _counts(some: Sequence[units.Unit], split: str) -> Row:
  people = [len(np.unique(u.arrays[f'{split}|person'])) for u in some]
  return {'people': sum(people), 'seeds': len(people)}


def gains(world: str, made: Made, splits: Sequence[str]) -> list[Row]:
  """Returns PLUS less every other method, on the same people's choices."""
  rows = []
  for label, some in made.items():
    if label == BASE or BASE not in made:
      continue
    for split in splits:
      mine, other = (cells(each, split, 'own') for each in (made[BASE], some))
      row = measured.gain('lead', mine, other)
      known = {cell.seed: cell for cell in other}
      each_seed = [
        float(np.nanmean(cell.less(known[cell.seed]).value))
        for cell in mine
        if cell.seed in known
      ]
      rows.append(
        {
          'world': world,
          'over': label,
          'split': split,
          **row,
          'worst_seed': min(each_seed, default=None),
          **_counts(some, split),
        }
      )
  return rows


def costs(world: str, made: Made) -> list[Row]:
  """Returns what methods that learn cost; CPU seconds, one process.

  Of a unit all is meant: examinations and compilation, not its start. Only
  ratios of one run count, which other work on the machine changes as well.
  """
  rows = []
  for label, some in made.items():
    records = [unit.record for unit in some]
    if 'steps' not in records[0]:
      continue
    row = {'world': world, 'method': label, 'steps': records[0]['steps']}
    row['pairs_drawn'] = records[0]['pairs_drawn']
    for name in ('cpu_seconds_per_step', 'training_cpu_seconds', 'cpu_seconds'):
      row |= columns.mean(name, [record[name] for record in records])
    rows.append({**row, 'seeds': len(records)})
  return rows


def curves(world: str, made: Made) -> list[Row]:
  """Returns validation people along the training, over seeds."""
  rows = []
  for label, some in made.items():
    known = [unit.record['curve'] for unit in some if 'curve' in unit.record]
    for at in zip(*known, strict=True):
      row: Row = {'world': world, 'method': label, 'step': at[0]['step']}
      for figure in (*fits.OF, *FACTS):
        if figure in at[0]:
          each = [exam[figure] for exam in at]
          row |= columns.mean(figure, each, least=0.0, most=1.0)
      rows.append({**row, 'seeds': len(at)})
  return rows


def shown(
  world: str,
  contexts: histories.Contexts,
  made: Mapping[str, units.Unit],
  count: int,
) -> list[Row]:
  """Returns summaries of some new people beside what they like.

  Args:
    world: of the units.
    contexts: the new people of a seed, of whom the first are shown.
    made: of methods that write, of the same seed.
    count: people.
  """
  truth = histories.truths(contexts)
  rows = []
  for person in range(min(count, len(truth))):
    row: Row = {'world': world, 'person': person}
    row['likes'] = _words(truth[person])
    for label, unit in made.items():
      row[label] = _words(unit.arrays['new|summary'][person])
    rows.append(row)
  return rows


def _words(ids: Sequence[int]) -> str:
  """Returns a summary without its end; '(nothing)' where it is empty."""
  said = histories.read([i for i in ids if i != histories.END])
  return said or '(nothing)'


# --------------------------------------------------------------------- claims


def claims(made: Mapping[str, list[Row]]) -> list[Row]:
  """Returns what was to be shown of the first world, and whether it is.

  The bar and what is held against it are of means, unless the claim is of
  every seed.
  """
  rows = {
    (row['method'], row['split']): row
    for row in made.get('predicted', [])
    if row['world'] == 'plain'
  }
  leads = {
    (row['over'], row['split']): row
    for row in made.get('gains', [])
    if row['world'] == 'plain'
  }
  plus = rows.get((BASE, 'new'), {})
  found = [
    _claim('new people, on every seed', plus.get('worst_seed'), 0.8),
    _claim(
      'above the untrained summariser, on every seed',
      leads.get(('untrained', 'new'), {}).get('worst_seed'),
      0.15,
    ),
    _claim("own less another's summary", plus.get('own_less_other'), 0.25),
    _claim('strong preference first', plus.get('strong_first'), 0.85),
    _claim('both preferences', plus.get('both'), 0.65),
    _claim(
      'read by a reward model that saw none of these people',
      rows.get(('plus_by_start', 'new'), {}).get('own'),
      0.78,
    ),
  ]
  for split in ('combo', 'topic'):
    value = rows.get((BASE, split), {}).get('less_new')
    found.append(_claim(f'{split} less new people', value, -NEAR))
  for label in HISTORIES:
    value = leads.get((label, 'topic'), {}).get('lead')
    found.append(_claim(f'unseen topic, over {label}', value, 0.05))
  return [row for row in found if row['value'] is not None]


def _claim(claim: str, value: float | None, bar: float) -> Row:
  met = value is not None and value >= bar
  return {'claim': claim, 'value': value, 'bar': bar, 'met': met}
