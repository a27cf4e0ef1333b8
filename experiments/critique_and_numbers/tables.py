"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.critique_and_numbers import methods
from prm_jax.lab import columns, curves

Row = dict[str, Any]
TUNING = 'refinement_tuning'
_GAINS = {'gain_over_tuning': TUNING, 'gain_over_few': f'{TUNING}_8'}
CRITIC = 'critique_grpo_step_by_step'
NAMED = ('method', 'unsolved_share')
_ENDS = (
  'hard',
  'rescued',
  'hard_last',
  'easy',
  'medium',
  'medium_last',
  'refines',
)
ALONG = (
  'hard',
  'solve_rate',
  'easy',
  'medium',
  'refines',
  'entropy',
  'valid_refinement',
)


def exams(run: Row) -> list[Row]:
  """Returns examinations, with the rate of problems mixed as in training."""
  share, rows = run['unsolved_share'], curves.exams(run)
  for row in rows:
    others = np.mean([row['easy'], row['medium']])
    row['solve_rate'] = float(share * row['hard'] + (1 - share) * others)
  return rows


def solved(run: Row) -> float:
  """Returns the rate at the end."""
  return exams(run)[-1]['solve_rate']


def solve_rate(
  runs: Sequence[Row], batch: int, baselines: Sequence[str]
) -> list[Row]:
  """Returns what every method ends with, and its gain over the best numbers.

  Intervals are Student's over seeds, of paired differences for gains. The
  baseline of a share is the one whose mean is best; the other gains are over
  supervised learning of refinements: of many, and of as few as Critique-GRPO
  asks for.

  Args:
    runs: of all shares, methods and seeds.
    batch: problems of a step.
    baselines: number-only methods of the same budget.
  """

  def critiques(run):
    criticised = curves.during('criticised')(run)
    return methods.critiques(run['node'], batch, criticised)

  table = curves.averaged(
    runs,
    (*NAMED, 'oracle_digits_per_critique'),
    {
      'solve_rate': solved,
      **{end: curves.after(end) for end in _ENDS},
      'tokens_per_step': curves.during('tokens'),
      'critiques_per_step': critiques,
    },
  )
  rates: dict[float, dict[str, dict[int, float]]] = {}
  for (name, share), members in columns.grouped(runs, *NAMED).items():
    by_seed = {run['seed']: solved(run) for run in members}
    rates.setdefault(share, {})[name] = by_seed
  for row in table:
    name, others = row['method'], rates[row['unsolved_share']]
    best = columns.best(others, baselines)
    for column, other in {'gain': best, **_GAINS}.items():
      if other in others and other != name:
        row |= columns.gain(column, others[name], others[other])
    if 'gain' in row:
      row['baseline'] = best
  return table


def plateau(runs: Sequence[Row]) -> list[Row]:
  """Returns what the last third of training adds on hard problems."""

  def late(run):
    hard = [exam['hard'] for exam in exams(run)]
    return hard[-1] - hard[2 * (len(hard) - 1) // 3]

  return curves.averaged(
    [run for run in runs if run['unsolved_share']],
    NAMED,
    {
      'hard_gain_last_third': late,
      'no_gradient_share': curves.during('no_gradient'),
    },
  )


def refiners(runs: Sequence[Row]) -> list[Row]:
  """Returns what it is worth that a frozen policy writes refinements.

  One row a share: the lowest valid refinements of any window, per refiner,
  and what the frozen one adds over the policy in training, seeds paired.
  """
  table = []
  for (share,), members in columns.grouped(runs, 'unsolved_share').items():
    by_method = columns.grouped(members, 'method')
    frozen, live = (
      columns.by_seed(by_method.get((name,), []))
      for name in (CRITIC, f'{CRITIC}_live')
    )
    both = [seed for seed in frozen if seed in live]
    if not both:
      continue
    row: Row = {'unsolved_share': share, 'seeds': len(both)}
    for name, by_seed in (('frozen', frozen), ('live', live)):
      valid = [
        curves.of_windows(by_seed[seed], 'valid_refinement') for seed in both
      ]
      row |= columns.mean(f'lowest_{name}', [min(v) for v in valid if v])
    for column in ('hard', 'rescued'):
      end = curves.after(column)
      added = [end(frozen[seed]) - end(live[seed]) for seed in both]
      row |= columns.mean(f'{column}_added', added)
    table.append(row)
  return table


def per_seed(runs: Sequence[Row]) -> list[Row]:
  """Returns one row a run: nothing is averaged."""
  return [
    {
      **{column: run[column] for column in (*NAMED, 'seed')},
      'stuck_problems': run['stuck'],
      **{f'start_{n}': run['start'][n] for n in ('hard', 'refines', 'trials')},
      'solve_rate': solved(run),
      **{end: run['final'].get(end) for end in _ENDS},
      'sampler_gap_nats': curves.largest(run, 'sampler_gap'),
    }
    for run in runs
  ]


def words(runs: Sequence[Row]) -> list[Row]:
  """Returns solve rates of a language model before and after training."""
  table = curves.before_and_after(
    runs, 'solved', 'reward', 'valid_refinement', 'no_gradient', 'tokens'
  )
  ends = {'finished_after': curves.after('finished')}
  finished = curves.averaged(runs, ('method',), ends)
  return [{**row, **end} for row, end in zip(table, finished, strict=True)]


def answer(made: dict[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  for row in made['solve_rate']:
    text = (
      f'{row["method"]}, {row["unsolved_share"]:.0%} unsolved at the start: '
      f'{columns.percent(row, "solve_rate")} solved, hard '
      f'{columns.percent(row, "hard")}'
    )
    for column, other in {'gain': row.get('baseline'), **_GAINS}.items():
      if column in row:
        text += f'; over {other} {columns.percent(row, column)}'
    lines.append(f'{text}.')
  lines += [
    f'{row["method"]}, GSM8K: {columns.percent(row, "solved_after")} solved, '
    f'{columns.percent(row, "solved_before")} before.'
    for row in made['words']
  ]
  return lines
