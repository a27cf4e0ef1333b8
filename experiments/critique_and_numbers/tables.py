"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import policies
from experiments.critique_and_numbers import methods

Row = dict[str, Any]
TUNING = 'refinement_tuning'
_GAINS = {'gain_over_tuning': TUNING, 'gain_over_few': f'{TUNING}_8'}
CRITIC = 'critique_grpo_step_by_step'
_TRAINED = ('easy', 'medium')
_ENDS = (
  'hard', 'rescued', 'hard_last', 'easy', 'medium', 'medium_last', 'refines',
)  # fmt: skip


def solved(found: Row, share: float) -> float:
  """Returns the share solved of held-out problems mixed as in training."""
  others = np.mean([found[kind] for kind in _TRAINED])
  return float(share * found['hard'] + (1 - share) * others)


def solve_rate(runs: Sequence[Row], node) -> list[Row]:
  """Returns what every method ends with, and its gain over the best numbers.

  Intervals are Student's over seeds, of paired differences for gains. The
  baseline of a share is the number-only method of the same budget whose mean
  is best; the other gains are over supervised learning of refinements: of
  many, and of as few as Critique-GRPO asks for.

  Args:
    runs: of all shares, methods and seeds.
    node: `config.training`.
  """
  table = []
  for share in sorted({run['share'] for run in runs}):
    here = [run for run in runs if run['share'] == share]
    known = _by_method(here)
    best = _best_numbers(known, share)
    for name, mine in known.items():
      row: Row = {
        'method': name, 'unsolved_share': share, 'seeds': len(mine)
      }  # fmt: skip
      rates = {s: solved(run['final'], share) for s, run in mine.items()}
      policies.add(row, 'solve_rate', rates.values())
      for column in _ENDS:
        values = [run['final'].get(column, np.nan) for run in mine.values()]
        policies.add(row, column, values)
      policies.add(
        row,
        'tokens_per_step',
        [policies.mean_of(r, 'tokens') for r in mine.values()],
      )
      row['oracle_digits_per_critique'] = next(iter(mine.values()))[
        'oracle_digits'
      ]
      used = [
        methods.critiques(name, node, policies.mean_of(r, 'criticised'))
        for r in mine.values()
      ]
      policies.add(row, 'critiques_per_step', used)
      for column, other in {'gain': best, **_GAINS}.items():
        if other in known and name != other:
          there = known[other]
          gap = [
            rates[s] - solved(there[s]['final'], share)
            for s in rates if s in there
          ]  # fmt: skip
          policies.add(row, column, gap)
      if 'gain' in row:
        row['baseline'] = best
      table.append(row)
  return table


def _best_numbers(known, share) -> str | None:
  numbers = [
    name for name in known
    if name in methods.NUMBERS and name != 'dr_grpo_16'
  ]  # fmt: skip
  if not numbers:
    return None
  return max(
    numbers,
    key=lambda name: np.mean(
      [solved(run['final'], share) for run in known[name].values()]
    ),
  )


def plateau(runs: Sequence[Row]) -> list[Row]:
  """Returns what the last third of training adds on hard problems."""
  table = []
  for (share, name), mine in policies.grouped(runs, 'share', 'method').items():
    if share == 0:
      continue
    late = []
    for run in mine:
      curve = policies.exams(run)
      third = curve[2 * (len(curve) - 1) // 3]
      late.append(run['final']['hard'] - third['hard'])
    row: Row = {'method': name, 'unsolved_share': share, 'seeds': len(mine)}
    policies.add(row, 'hard_gain_last_third', late)
    policies.add(
      row,
      'no_gradient_share',
      [policies.mean_of(r, 'no_gradient') for r in mine],
    )
    table.append(row)
  return table


def refiners(runs: Sequence[Row]) -> list[Row]:
  """Returns what it is worth that a frozen policy writes refinements.

  One row a share: the lowest valid refinements of any window, per refiner,
  and what the frozen one adds over the policy in training, seeds paired.
  """
  table = []
  for (share,), here in policies.grouped(runs, 'share').items():
    known = _by_method(here)
    frozen, live = known.get(CRITIC, {}), known.get(f'{CRITIC}_live', {})
    both = [(frozen[seed], live[seed]) for seed in frozen if seed in live]
    if not both:
      continue
    row: Row = {'unsolved_share': share, 'seeds': len(both)}
    for name, mine in zip(
      ('frozen', 'live'), zip(*both, strict=True), strict=True
    ):
      lowest = [policies.smallest(run, 'valid_refinement') for run in mine]
      policies.add(row, f'lowest_{name}', [v for v in lowest if v is not None])
    for column in ('hard', 'rescued'):
      gap = [one['final'][column] - two['final'][column] for one, two in both]
      policies.add(row, f'{column}_added', gap)
    table.append(row)
  return table


def curves(runs: Sequence[Row]) -> list[Row]:
  """Returns the figures along training, seeds averaged."""
  table = []
  for (share, name), mine in policies.grouped(runs, 'share', 'method').items():
    known = [policies.exams(run) for run in mine]
    for rows in zip(*known, strict=True):
      row: Row = {
        'method': name, 'unsolved_share': share, 'step': rows[0]['step'],
        'seeds': len(rows),
      }  # fmt: skip
      policies.add(row, 'hard', [r['hard'] for r in rows])
      rates = [solved(r, share) for r in rows]
      policies.add(row, 'solve_rate', rates)
      for column in ('easy', 'medium', 'refines', 'entropy'):
        policies.add(row, column, [r.get(column, np.nan) for r in rows])
      policies.add(
        row,
        'valid_refinement',
        [r.get('valid_refinement', np.nan) for r in rows],
      )
      table.append(row)
  return table


def per_seed(runs: Sequence[Row]) -> list[Row]:
  """Returns one row a run: nothing is averaged."""
  return [
    {
      'method': run['method'], 'unsolved_share': run['share'],
      'seed': run['seed'], 'stuck_problems': run['stuck'],
      'start_hard': run['start']['hard'],
      'start_refines': run['start']['refines'],
      'start_trials': run['start']['trials'],
      'solve_rate': solved(run['final'], run['share']),
      **{column: run['final'].get(column) for column in _ENDS},
      'sampler_gap_nats': policies.largest(run, 'sampler_gap'),
    }
    for run in runs
  ]  # fmt: skip


def words(runs: Sequence[Row]) -> list[Row]:
  """Returns solve rates of a language model before and after training."""
  table = policies.before_and_after(
    runs, 'solved', 'reward', 'valid_refinement', 'no_gradient', 'tokens'
  )
  for row in table:
    mine = [run for run in runs if run['method'] == row['method']]
    finished = [run['final']['finished'] for run in mine]
    policies.add(row, 'finished_after', finished)
  return table


def answer(made: dict[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  for row in made['solve_rate']:
    text = (
      f'{row["method"]}, {row["unsolved_share"]:.0%} unsolved at the start: '
      f'{policies.percent(row, "solve_rate")} solved, hard '
      f'{policies.percent(row, "hard")}'
    )
    if 'gain' in row:
      text += f'; over {row["baseline"]} {policies.percent(row, "gain")}'
    for column, other in _GAINS.items():
      if column in row:
        text += f'; over {other} {policies.percent(row, column)}'
    lines.append(f'{text}.')
  lines += [
    f'{row["method"]}, GSM8K: {policies.percent(row, "solved_after")} solved, '
    f'{policies.percent(row, "solved_before")} before.'
    for row in made['words']
  ]
  return lines


def _by_method(runs: Sequence[Row]) -> dict[str, dict[int, Row]]:
  found: dict[str, dict[int, Row]] = {}
  for run in runs:
    found.setdefault(run['method'], {})[run['seed']] = run
  return found
