"""Rows of results.json on judges that reason and judges that do not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reasoning_rewards import measured
from prm_jax.lab import columns, units

Row = dict[str, Any]
REASONING = 'reasoning'
CLASSES = {'shown': True, 'hidden': False}
PLATEAU = 0.01  # gained over the last third; less is a plateau
CONTROL = 0.85  # of hidden problems of one step, or a scalar's recipe is wrong


def _of(name: str):
  return lambda arrays: arrays[name]


def _by_judge(
  reasoned: Sequence[units.Unit], scored: Sequence[units.Unit]
) -> dict[str, list[units.Unit]]:
  by_judge = {REASONING: list(reasoned)}
  for (name,), made in units.grouped(scored, 'judge').items():
    by_judge[name] = made
  return by_judge


def judges(
  reasoned: Sequence[units.Unit],
  scored: Sequence[units.Unit],
  pauses: Mapping[str, int],
) -> list[Row]:
  """Returns how often every judge prefers the right solution.

  A judgement's tokens are read in one step where nothing is written, and in
  one step for each token that is.

  Args:
    reasoned: of the judge that writes.
    scored: of scalar judges.
    pauses: scalar judge -> tokens behind the solution.
  """
  rows = []
  for name, made in _by_judge(reasoned, scored).items():
    for K in np.unique(made[0].arrays['length']):
      for kind, shown in CLASSES.items():
        some: Any = {'length': K, 'shown': shown}
        read = 3 + 3 * int(K) + pauses.get(name, 0)
        row: Row = {'judge': name, 'class': kind, 'steps': int(K)}
        row |= measured.mean('pair', measured.cells(made, _of('pair'), **some))
        written = 0.0
        if name == REASONING:
          for mark in ('verdict', 'chain', 'copied', 'whole'):
            marks = measured.cells(made, _of(mark), **some)
            row |= measured.mean(mark, marks)
          told = measured.cells(made, _of('tokens'), **some)
          written = float(np.mean([cell.value.mean() for cell in told]))
        row['tokens_per_judgement'] = read + written
        row['sequential_steps'] = max(written, 1.0)
        rows.append({**row, 'seeds': len(made)})
  return rows


def plateau(scored: Sequence[units.Unit], control: int = 1) -> list[Row]:
  """Returns what the last third of the updates adds to every scalar judge.

  Args:
    scored: of all scalar judges.
    control: steps of the hidden problems that serve as control.
  """
  rows = []
  for (name,), made in units.grouped(scored, 'judge').items():
    row: Row = {
      'judge': name,
      **{key: made[0].record[key] for key in ('rate', 'batch', 'steps')},
    }
    late = {side: [_late(unit, side) for unit in made] for side in _SIDES}
    for side, gained in late.items():
      row |= columns.mean(f'{side}_gain_last_third', gained)
      ends = [unit.record['final'][side] for unit in made]
      row |= columns.mean(side, ends)
    row['at_plateau'] = all(
      np.mean(gained) < PLATEAU for gained in late.values()
    )
    one: Any = {'length': control, 'shown': False}
    row |= measured.mean('control', measured.cells(made, _of('pair'), **one))
    row['control_holds'] = row['control'] >= CONTROL
    rows.append({**row, 'seeds': len(made)})
  return rows


_SIDES = ('train', 'test')


def exams(unit: units.Unit) -> list[Row]:
  """Returns examinations of a scalar judge: `step`, `train`, `test`."""
  curve = unit.record['curve']
  width = curve[0]['step']
  rows = [
    {'step': i * width, **{side: row[f'at {side}'] for side in _SIDES}}
    for i, row in enumerate(curve)
  ]
  last = {side: unit.record['final'][side] for side in _SIDES}
  return [*rows, {'step': curve[-1]['step'], **last}]


def _late(unit: units.Unit, side: str) -> float:
  values = [exam[side] for exam in exams(unit)]
  return values[-1] - values[2 * (len(values) - 1) // 3]


def lead(
  reasoned: Sequence[units.Unit],
  scored: Sequence[units.Unit],
  lengths: Sequence[int],
) -> list[Row]:
  """Returns the reasoning judge's lead over every scalar one, pairs paired.

  Whether a lead may be claimed is said beside it: not over a judge that still
  gains, or whose recipe fails the control.
  """
  rows = []
  said = {row['judge']: row for row in plateau(scored)}
  for (name,), made in units.grouped(scored, 'judge').items():
    for K in lengths:
      for kind, shown in CLASSES.items():
        some: Any = {'length': K, 'shown': shown}
        mine = measured.cells(reasoned, _of('pair'), **some)
        other = measured.cells(made, _of('pair'), **some)
        fair = said[name]['at_plateau'] and said[name]['control_holds']
        rows.append(
          {
            'judge': name,
            'class': kind,
            'steps': int(K),
            **measured.gain('lead', mine, other),
            'fair': fair,
            'seeds': len(made),
          }
        )
  return rows


def curves(scored: Sequence[units.Unit]) -> list[Row]:
  """Returns pair accuracy along the updates of every scalar judge."""
  rows = []
  for (name,), made in units.grouped(scored, 'judge').items():
    for at in zip(*map(exams, made), strict=True):
      row: Row = {'judge': name, 'step': at[0]['step'], 'seeds': len(made)}
      for side in _SIDES:
        row |= columns.mean(side, [exam[side] for exam in at])
      rows.append(row)
  return rows


def starts(made: Sequence[units.Unit]) -> list[Row]:
  """Returns when each weak judge was stopped, and what its verdicts were."""
  return [
    {
      **{key: unit.record[key] for key in ('seed', 'weak_step', 'parameters')},
      'verdict_on_validation': unit.record['weak_validation'],
    }
    for unit in made
  ]


def parts(reasoned: Sequence[units.Unit]) -> list[Row]:
  """Returns how often each part of a right trace is continued rightly."""
  known = [
    {**row, 'seed': unit.record['seed']}
    for unit in reasoned
    for row in unit.record['forced']
  ]
  return [
    {
      **dict(zip(('steps', 'role', 'part'), key, strict=True)),
      **columns.mean('right', [row['right'] for row in rows]),
      'seeds': len(rows),
    }
    for key, rows in columns.grouped(known, 'steps', 'role', 'part').items()
  ]


def answer(made: Mapping[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  return [*_serial(made)]


def _serial(made: Mapping[str, list[Row]]) -> list[str]:
  """Returns what reasoning is worth where a chain has to be followed."""
  lines = []
  longest = max((row['steps'] for row in made['lead']), default=0)
  by = {
    (row['judge'], row['class'], row['steps']): row for row in made['judges']
  }
  for kind in CLASSES:
    mine = by.get((REASONING, kind, longest))
    if mine:
      lines.append(
        f'Solutions of {longest} steps, {kind}: the judge that writes a chain '
        f'prefers the right one in {columns.percent(mine, "pair")}; its verdict '
        f'is right in {columns.percent(mine, "verdict")} and its chain in '
        f'{columns.percent(mine, "chain")}.'
      )
    for row in made['lead']:
      if (row['class'], row['steps']) != (kind, longest):
        continue
      text = f'{row["judge"]}: {columns.percent(by[row["judge"], kind, longest], "pair")}'
      if row['fair']:
        text += f', behind by {columns.percent(row, "lead")}'
      else:
        text += ', not at its plateau or below its control: no lead is claimed'
      lines.append(f'{text}.')
  return lines
