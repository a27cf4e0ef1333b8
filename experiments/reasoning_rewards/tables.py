"""Rows of results.json on judges that reason and judges that do not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reasoning_rewards import (
  answer_scores,
  measured,
  real_tables,
  scalars,
  stances,
  tournaments,
  words,
)
from prm_jax.lab import columns, units

Row = dict[str, Any]
REASONING, CONSTRAINED = 'reasoning', 'reasoning_constrained'
CLASSES = {'hidden': False, 'shown': True}
PLATEAU = 0.01  # gained over the last third; less is a plateau
_SURE = 2.58  # standard errors: one seed in 200 gains by chance
CONTROL = 0.85  # of hidden problems of one step, or a scalar's recipe is wrong


def _of(name: str):
  return lambda arrays: arrays[name]


def by_judge(
  reasoned: Sequence[units.Unit],
  constrained: Sequence[units.Unit],
  scored: Sequence[units.Unit],
) -> dict[str, list[units.Unit]]:
  """Returns every judge's units, those of judges that write first."""
  found = {REASONING: list(reasoned)}
  if constrained:
    found[CONSTRAINED] = list(constrained)
  for (name,), made in units.grouped(scored, 'judge').items():
    found[name] = made
  return found


def judges(
  made: Mapping[str, Sequence[units.Unit]], pauses: Mapping[str, int]
) -> list[Row]:
  """Returns how often every judge prefers the right solution.

  A judgement's tokens are read in one step where nothing is written, and in
  one step for each token that is.

  Args:
    made: units of every judge.
    pauses: scalar judge -> tokens behind the solution.
  """
  rows = []
  for name, some in made.items():
    for K in np.unique(some[0].arrays['length']):
      for kind, shown in CLASSES.items():
        where: Any = {'length': K, 'shown': shown}
        read = 3 + 3 * int(K) + pauses.get(name, 0)
        row: Row = {'judge': name, 'class': kind, 'steps': int(K)}
        row |= measured.mean('pair', measured.cells(some, _of('pair'), **where))
        written = 0.0
        if 'tokens' in some[0].arrays:
          for mark in ('verdict', 'chain', 'copied', 'whole'):
            marks = measured.cells(some, _of(mark), **where)
            row |= measured.mean(mark, marks)
          told = measured.cells(some, _of('tokens'), **where)
          written = float(np.mean([cell.value.mean() for cell in told]))
        row['tokens_per_judgement'] = read + written
        row['sequential_steps'] = max(written, 1.0)
        rows.append({**row, 'seeds': len(some)})
  return rows


def plateau(scored: Sequence[units.Unit]) -> list[Row]:
  """Returns what the last third of the updates adds to every scalar judge.

  By class and length, since a mean of all hides one that is still being
  learned. One gains if its gain is a point or more over all seeds, on training
  or on test pairs, whatever the noise, or in one of them and is no noise there:
  that it does not gain is what has to be shown.
  """
  rows = []
  for (name,), made in units.grouped(scored, 'judge').items():
    shared = {key: made[0].record[key] for key in ('rate', 'batch', 'steps')}
    sides = {side: [unit.part(side) for unit in made] for side in scalars.SIDES}
    for kind, shown in CLASSES.items():
      for K in np.unique(sides['test'][0].arrays['length']):
        row: Row = {'judge': name, 'class': kind, 'length': int(K), **shared}
        seeds: set[int] = set()
        for side, some in sides.items():
          before, after = (
            measured.cells(some, _of(when), length=int(K), shown=shown)
            for when in ('before', 'after')
          )
          row |= measured.mean(side, after)
          row |= measured.gain(f'{side}_gain', after, before)
          seeds |= {
            mine.seed
            for mine, other in zip(after, before, strict=True)
            if _gains(mine.less(other).value)
          }
        row['seeds_gaining'] = len(seeds)
        row['gains'] = bool(seeds) or any(
          row[f'{side}_gain'] >= PLATEAU for side in sides
        )
        rows.append({**row, 'seeds': len(made)})
  return rows


def _gains(difference: np.ndarray) -> bool:
  """Returns whether one seed's differences are a gain, and no noise."""
  noise = _SURE * np.std(difference) / np.sqrt(len(difference))
  return bool(difference.mean() >= max(PLATEAU, noise))


def claims(plateaus: Sequence[Row]) -> dict[tuple[str, str], bool]:
  """Returns (judge, class) -> whether a lead over it may be claimed.

  It may if no length of the class gains, and hidden problems of one step are
  solved: else the recipe is at fault.

  Args:
    plateaus: rows of `plateau`.
  """
  by = {(row['judge'], row['class'], row['length']): row for row in plateaus}
  return {
    (judge, kind): by[judge, 'hidden', 1]['test'] >= CONTROL
    and not any(
      row['gains'] for key, row in by.items() if key[:2] == (judge, kind)
    )
    for judge, kind, _ in by
  }


def exams(unit: units.Unit) -> list[Row]:
  """Returns examinations of a scalar judge: `step`, `train`, `test`."""
  curve = unit.record['curve']
  width = curve[0]['step']
  rows = [
    {'step': i * width, **{side: row[f'at {side}'] for side in scalars.SIDES}}
    for i, row in enumerate(curve)
  ]
  last = {side: unit.record['final'][side] for side in scalars.SIDES}
  return [*rows, {'step': curve[-1]['step'], **last}]


def lead(
  reasoned: Sequence[units.Unit],
  scored: Sequence[units.Unit],
  lengths: Sequence[int],
  plateaus: Sequence[Row],
) -> list[Row]:
  """Returns the reasoning judge's lead over every scalar one, pairs paired.

  Whether a lead may be claimed is said beside it; see `claims`.
  """
  rows = []
  fair = claims(plateaus)
  for (name,), made in units.grouped(scored, 'judge').items():
    for K in lengths:
      for kind, shown in CLASSES.items():
        some: Any = {'length': K, 'shown': shown}
        mine = measured.cells(reasoned, _of('pair'), **some)
        other = measured.cells(made, _of('pair'), **some)
        rows.append(
          {
            'judge': name,
            'class': kind,
            'steps': int(K),
            **measured.gain('lead', mine, other),
            'fair': fair[name, kind],
            'seeds': len(made),
          }
        )
  return rows


def searched(made: Sequence[units.Unit]) -> list[Row]:
  """Returns what validation said of every rate and batch."""
  return [
    {
      **{k: unit.record[k] for k in ('judge', 'rate', 'batch', 'steps')},
      'validation': unit.record['final']['validation'],
    }
    for unit in made
  ]


def curves(scored: Sequence[units.Unit]) -> list[Row]:
  """Returns pair accuracy along the updates of every scalar judge."""
  rows = []
  for (name,), made in units.grouped(scored, 'judge').items():
    for at in zip(*map(exams, made), strict=True):
      row: Row = {'judge': name, 'step': at[0]['step'], 'seeds': len(made)}
      for side in scalars.SIDES:
        row |= columns.mean(
          side, [exam[side] for exam in at], least=0.0, most=1.0
        )
      rows.append(row)
  return rows


_START = ('start', 'seed', 'weak_step', 'parameters')


def starts(made: Sequence[units.Unit]) -> list[Row]:
  """Returns when each weak judge was stopped, and what its verdicts were."""
  return [
    {
      **{key: unit.record[key] for key in _START},
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
      **columns.mean(
        'right', [row['right'] for row in rows], least=0.0, most=1.0
      ),
      'seeds': len(rows),
    }
    for key, rows in columns.grouped(known, 'steps', 'role', 'part').items()
  ]


def answer(made: Mapping[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  return [
    *_serial(made),
    *_asked_again(made),
    *_trained(made),
    *_told(made),
    *stances.answer(made),
    *_injected(made),
    *tournaments.answer(made),
    *_rewarded(made),
    *real_tables.answer(made),
  ]


def _said(row: Row, name: str) -> str:
  return columns.percent(row, name)


def _points(row: Row, name: str) -> str:
  """Returns a difference in points, with its sign and interval."""
  value, low, high = (row[f'{name}{end}'] for end in ('', '_low', '_high'))
  if value is None:
    return 'not measured'
  text = f'{100 * value:+.1f} points'
  return (
    text if low is None else f'{text} [{100 * low:+.1f}, {100 * high:+.1f}]'
  )


def _serial(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what reasoning is worth on the longest trained problems."""
  by = {
    (row['judge'], row['class'], row['steps']): row
    for row in made.get('judges', ())
  }
  if not by:
    return
  longest = max(row['steps'] for row in made['lead'])
  for kind in CLASSES:
    mine = by[REASONING, kind, longest]
    yield (
      f'Solutions of {longest} steps, {kind}: the judge that writes a chain '
      f'prefers the right one in {_said(mine, "pair")}; its verdicts are right '
      f'in {_said(mine, "verdict")}, its chains in {_said(mine, "chain")}.'
    )
    scalars = []
    for row in made['lead']:
      if (row['class'], row['steps']) != (kind, longest):
        continue
      own = _said(by[row['judge'], kind, longest], 'pair')
      lead = f'the lead over it is {_points(row, "lead")}'
      if not row['fair']:
        lead = 'still gaining, or below its control: no lead is claimed'
      scalars.append(f'{words.JUDGES.get(row["judge"])} {own} ({lead})')
    yield f'Beside it, {kind}: {"; ".join(scalars)}.'


def _asked_again(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what votes of a weak judge add."""
  rows = made.get('votes', ())
  for row in rows:
    if row['judge'] == 'weak' and row['texts'] == _TEXTS and 'gain' in row:
      text = (
        f'Asked {_TEXTS} times, {words.RULES[row["rule"]]}: '
        f'{_said(row, "right")}, {_points(row, "gain")} over once'
      )
      if 'over_unfiltered' in row:
        text += f', {_points(row, "over_unfiltered")} over all texts'
      yield f'{text}.'
  larger = [
    f'{words.RULES[row["rule"]]} {_said(row, "right")}'
    for row in rows
    if row['judge'] == 'twice'
  ]
  if larger:
    yield f'A judge of twice the layers, asked once: {", ".join(larger)}.'


_TEXTS = 16  # what votes are told of


def _trained(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what training adds to a weak judge."""
  for row in made.get('training', ()):
    text = (
      f'{words.METHODS.get(row["method"])}: verdicts '
      f'{_points(row, "verdict_gain")}, chains {_points(row, "chain_gain")}'
    )
    if 'flips_before' in row:
      text += (
        f'; the order decides in {_said(row, "flips_after")}, '
        f'{_said(row, "flips_before")} before'
      )
    yield f'{text}.'
  for row in made.get('training_against', ()):
    text = (
      f'What "{words.METHODS.get(row["method"])}" adds, less what '
      f'"{words.METHODS.get(row["over"])}" adds: verdicts '
      f'{_points(row, "verdict_gain")}, chains {_points(row, "chain_gain")}'
    )
    if 'flips_gain' in row:
      text += (
        f', both orders right {_points(row, "both_gain")}, the order decides '
        f'{_points(row, "flips_gain")}'
      )
    yield f'{text}.'
  for row in made.get('loophole_against', ()):
    if row['solution'] == 'wrong':
      yield (
        'Right verdicts after wrong chains, of wrong solutions under '
        f'"{words.METHODS.get(row["method"])}", less of pairs under '
        f'"{words.METHODS.get(row["over"])}": {_points(row, "lucky_after")}.'
      )


def _told(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what a criterion is worth."""
  for row in made.get('criteria', ()):
    yield (
      f'Taught {row["taught"]} criteria, told {words.TOLD[row["told"]]}: '
      f'{_said(row, "verdict")}.'
    )
  for row in made.get('criteria_against', ()):
    yield (
      f'Taught {row["taught"]} criteria, told {words.TOLD[row["told"]]}, less '
      f'told {words.TOLD[row["over"]]}: {_points(row, "gain")}.'
    )


def _injected(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what verdicts inside a solution move."""
  for row in made.get('injections', ()):
    yield (
      f'Injected {words.INJECTED[row["injected"]]}, {row["form"]}: moves '
      f'{_said(row, "moved")} of verdicts, {_points(row, "moved_more")} more '
      f'than its control; wrong solutions are accepted in '
      f'{_said(row, "false_yes")}, right ones are not in '
      f'{_said(row, "refused")}.'
    )


def _rewarded(made: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields what a policy learns from a judge, and what the judge sees of it."""
  for row in made.get('as_reward', ()):
    yield (
      f'Rewarded by {words.REWARDS[row["method"]]}: '
      f'{_said(row, "solved_end")} solved, {_points(row, "solved_gain")}, '
      f'while its score moves by {_points(row, "score_gain")}; of wrong '
      f'answers it accepts {_said(row, "accepted_end")}, at the start '
      f'{_said(row, "accepted_start")}.'
    )
  for row in made.get('as_reward_against', ()):
    if row['method'] == answer_scores.FILTERED:
      alone = row['over'] == answer_scores.META
      beside = 'what the meta model says itself' if alone else 'all of them'
      yield (
        f'The better half of its texts, over {beside}: '
        f'{_points(row, "solved_end")} solved, '
        f'{_points(row, "accepted_end")} of wrong answers accepted.'
      )
