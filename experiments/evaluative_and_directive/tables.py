"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import policies

Row = dict[str, Any]
_ENDS = (
  'fit', 'fit_held_out', 'format', 'agrees_with_false', 'stance_flip_gap',
)  # fmt: skip


def first_reply_fit(runs: Sequence[Row]) -> list[Row]:
  """Returns how well first replies fit, on average and at the end.

  The mean over training is the area under the curve: it has no end point.
  Gains are over the better of the arm's evaluative and directive methods by
  that mean, paired over seeds.
  """
  table = []
  for (arm,), here in policies.grouped(runs, 'arm').items():
    known = {
      name: {run['seed']: run for run in mine}
      for (name,), mine in policies.grouped(here, 'method').items()
    }
    area = {
      name: {s: _area(run) for s, run in mine.items()}
      for name, mine in known.items()
    }
    single = [n for n in known if not n.startswith('combined')]
    best = max(single, key=lambda n: np.mean(list(area[n].values())))
    for name, mine in known.items():
      first = next(iter(mine.values()))
      row: Row = {
        'arm': arm, 'method': name, 'seeds': len(mine),
        'hint_rate': first['hint_rate'], 'hint_error': first['hint_error'],
      }  # fmt: skip
      policies.add(row, 'mean_fit', area[name].values())
      for column in _ENDS:
        values = [run['final'][column] for run in mine.values()]
        policies.add(row, column, values)
      policies.add(row, 'fall', [_fall(r) for r in mine.values()])
      if name.startswith('combined'):
        gain = [area[name][s] - area[best][s] for s in mine if s in known[best]]
        row['baseline'] = best
        policies.add(row, 'gain', gain)
      table.append(row)
  return table


def _area(run: Row) -> float:
  return float(np.mean([row['fit'] for row in policies.exams(run)]))


def _fall(run: Row) -> float:
  """Returns how far the fit falls below its best, later: a collapse."""
  fit = np.array([row['fit'] for row in policies.exams(run)])
  best = int(fit.argmax())
  return float(fit[best:].min() - fit[best])


def curves(runs: Sequence[Row]) -> list[Row]:
  """Returns first-reply fit along training, seeds averaged."""
  table = []
  for (arm, name), mine in policies.grouped(runs, 'arm', 'method').items():
    known = [policies.exams(run) for run in mine]
    for rows in zip(*known, strict=True):
      row: Row = {
        'arm': arm, 'method': name, 'step': rows[0]['step'],
        'seeds': len(rows),
      }  # fmt: skip
      for column in ('fit', 'fit_held_out', 'agrees_with_false'):
        policies.add(row, column, [r[column] for r in rows])
      policies.add(row, 'entropy', [r.get('entropy', np.nan) for r in rows])
      table.append(row)
  return table


def audit(runs: Sequence[Row]) -> list[Row]:
  """Returns what fitting adds to agreement with false claims."""
  table = []
  for (arm, name), mine in policies.grouped(runs, 'arm', 'method').items():
    row: Row = {'arm': arm, 'method': name, 'seeds': len(mine)}
    for column in ('agrees_with_false', 'stance_flip_gap'):
      first = [policies.exams(run)[0][column] for run in mine]
      last = [run['final'][column] for run in mine]
      policies.add(row, f'{column}_before', first)
      policies.add(row, f'{column}_after', last)
      policies.add(row, f'{column}_added', np.subtract(last, first))
    row['flagged_share'] = float(np.mean([r['final']['flagged'] for r in mine]))
    table.append(row)
  return table


def per_seed(runs: Sequence[Row]) -> list[Row]:
  """Returns one row a run: nothing is averaged."""
  return [
    {
      'arm': run['arm'], 'method': run['method'], 'seed': run['seed'],
      'follows_hints': run['start']['follows_hints'], 'mean_fit': _area(run),
      **{column: run['final'][column] for column in _ENDS},
      'fall': _fall(run),
      'sampler_gap_nats': policies.largest(run, 'sampler_gap'),
    }
    for run in runs
  ]  # fmt: skip


def answer(made: dict[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  for row in made['first_reply_fit']:
    text = (
      f'{row["arm"]}, {row["method"]}: {policies.percent(row, "mean_fit")} of '
      f'first replies fit over training, {policies.percent(row, "fit")} at the '
      'end'
    )
    if 'gain' in row:
      text += f'; over {row["baseline"]} {policies.percent(row, "gain")}'
    lines.append(f'{text}.')
  lines += [
    f'{row["method"]}, in words: {policies.percent(row, "fit_after")} fit, '
    f'{policies.percent(row, "fit_before")} before.'
    for row in made['fit_in_words']
  ]
  return lines
