"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.critique_and_numbers import methods
from prm_jax.ops import intervals

Row = dict[str, Any]
CRITIC = 'critique_grpo_step_by_step'
_TRAINED = ('easy', 'medium')
_ENDS = (
  'hard', 'rescued', 'hard_last', 'easy', 'medium', 'medium_last', 'refines',
)  # fmt: skip


def solved(found: Row, share: float) -> float:
  """Returns the share solved of held-out problems mixed as in training."""
  others = np.mean([found[kind] for kind in _TRAINED])
  return float(share * found['hard'] + (1 - share) * others)


def solve_rate(runs: Sequence[Row]) -> list[Row]:
  """Returns what every method ends with, and its gain over the best numbers.

  Intervals are Student's over seeds, of paired differences for gains. The
  baseline of a share is the number-only method of the same budget whose mean
  is best.
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
      _add(row, 'solve_rate', rates.values())
      for column in _ENDS:
        values = [run['final'].get(column, np.nan) for run in mine.values()]
        _add(row, column, values)
      _add(row, 'tokens_per_step', [_mean(r, 'tokens') for r in mine.values()])
      row['oracle_digits_per_critique'] = next(iter(mine.values()))[
        'oracle_digits'
      ]
      if best and name != best:
        gain = [
          rates[s] - solved(known[best][s]['final'], share)
          for s in rates if s in known[best]
        ]  # fmt: skip
        row['baseline'] = best
        _add(row, 'gain', gain)
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
  for (share, name), mine in _grouped(runs, 'share', 'method').items():
    if share == 0:
      continue
    late = []
    for run in mine:
      curve = exams(run)
      third = curve[2 * (len(curve) - 1) // 3]
      late.append(run['final']['hard'] - third['hard'])
    row: Row = {'method': name, 'unsolved_share': share, 'seeds': len(mine)}
    _add(row, 'hard_gain_last_third', late)
    _add(row, 'no_gradient_share', [_mean(r, 'no_gradient') for r in mine])
    table.append(row)
  return table


def curves(runs: Sequence[Row]) -> list[Row]:
  """Returns the figures along training, seeds averaged."""
  table = []
  for (share, name), mine in _grouped(runs, 'share', 'method').items():
    known = [exams(run) for run in mine]
    for rows in zip(*known, strict=True):
      row: Row = {
        'method': name, 'unsolved_share': share, 'step': rows[0]['step'],
        'seeds': len(rows),
      }  # fmt: skip
      _add(row, 'hard', [r['hard'] for r in rows])
      rates = [solved(r, share) for r in rows]
      _add(row, 'solve_rate', rates)
      for column in ('easy', 'medium', 'refines', 'entropy', 'reward'):
        values = [r[column] for r in rows if column in r]
        row[column] = float(np.nanmean(values)) if values else None
      row['valid_refinement'] = _nanmean(
        [r.get('valid_refinement', np.nan) for r in rows]
      )
      table.append(row)
  return table


def exams(run: Row) -> list[Row]:
  """Returns a run's examinations in order, with the training after each.

  A window's figures are written at its end, the examination is of its start.
  """
  curve = run['curve']
  width = curve[0]['step']
  found = []
  for i, window in enumerate(curve):
    row = {
      k.removeprefix('at '): v for k, v in window.items()
    }  # fmt: skip
    found.append({**row, 'step': i * width})
  return [*found, {**run['final'], 'step': len(curve) * width}]


def per_seed(runs: Sequence[Row]) -> list[Row]:
  """Returns one row a run: nothing is averaged."""
  return [
    {
      'method': run['method'], 'unsolved_share': run['share'],
      'seed': run['seed'], 'stuck_problems': run['stuck'],
      'start_hard': run['start']['hard'],
      'start_refines': run['start']['refines'],
      'solve_rate': solved(run['final'], run['share']),
      **{column: run['final'].get(column) for column in _ENDS},
      'sampler_gap_nats': max(row['sampler_gap'] for row in run['curve'])
      if 'sampler_gap' in run['curve'][0] else None,
    }
    for run in runs
  ]  # fmt: skip


def answer(made: dict[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  for row in made['solve_rate']:
    text = (
      f'{row["method"]}, {row["unsolved_share"]:.0%} unsolved at the start: '
      f'{_percent(row, "solve_rate")} solved, hard {_percent(row, "hard")}'
    )
    if 'gain' in row:
      text += f'; over {row["baseline"]} {_percent(row, "gain")}'
    lines.append(f'{text}.')
  return lines


def _percent(row: Row, name: str) -> str:
  low, high = row[f'{name}_low'], row[f'{name}_high']
  text = f'{100 * row[name]:.1f} %'
  if low is None:
    return text
  return f'{text} [{100 * low:.1f}, {100 * high:.1f}]'


def _by_method(runs: Sequence[Row]) -> dict[str, dict[int, Row]]:
  found: dict[str, dict[int, Row]] = {}
  for run in runs:
    found.setdefault(run['method'], {})[run['seed']] = run
  return found


def _grouped(runs: Sequence[Row], *names: str) -> dict[tuple, list[Row]]:
  found: dict[tuple, list[Row]] = {}
  for run in runs:
    found.setdefault(tuple(run[name] for name in names), []).append(run)
  return found


def _mean(run: Row, name: str) -> float:
  return _nanmean([row.get(name, np.nan) for row in run['curve']]) or 0.0


def _nanmean(values) -> float | None:
  known = [value for value in values if np.isfinite(value)]
  return float(np.mean(known)) if known else None


def _add(row: Row, name: str, values) -> None:
  """Adds a mean with Student's interval; none where nothing is known."""
  found = intervals.mean(list(values))
  for suffix, value in (
    ('', found.value), ('_low', found.low), ('_high', found.high)
  ):  # fmt: skip
    row[f'{name}{suffix}'] = float(value) if np.isfinite(value) else None
