"""From picks to the table of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.lab import columns, units
from prm_jax.ops import statistics


def utility(
  cells: Sequence[units.Unit], replicates: int
) -> list[dict[str, Any]]:
  """Returns what every pick is worth to the people it is made for.

  `recovered` is (pick - aggregate's) / (oracle's - aggregate's), of means over
  people and menus; `gain` its numerator; `win_rate` how often the pick is
  better than the aggregate's, the same answer counting half. Intervals are
  over seeds and people.

  Args:
    cells: all settings.
    replicates: of the bootstrap.
  """
  rows = []
  groups = columns.grouped((c.record for c in cells), 'data', 'features')
  for data, features in groups:
    members = [
      cell
      for cell in cells
      if (cell.record['data'], cell.record['features']) == (data, features)
    ]
    seed = np.concatenate(
      [
        np.full(len(c.arrays['oracle|none|0']), c.record['seed'])
        for c in members
      ]
    )
    weights = statistics.bootstrap_weights(
      seed, replicates, resample_groups=True
    )
    for name in members[0].arrays:
      method, acquire, answers = name.split('|')
      rows.append(
        {
          'data': data,
          'features': features,
          'method': method,
          'acquisition': acquire,
          'answers': int(answers),
          **_row([_sums(cell, name) for cell in members], weights),
          'people': len(seed),
          'prompts': int(
            np.mean([c.arrays['oracle|none|0'].shape[1] for c in members])
          ),
          'seeds': len(members),
        }
      )
  return rows


def _sums(cell: units.Unit, name: str) -> np.ndarray:
  """Returns each person's pick, aggregate, oracle and wins, `[U, 4]`."""
  mine, theirs, most = (
    cell.arrays[key] for key in (name, 'aggregate|none|0', 'oracle|none|0')
  )
  wins = (mine > theirs) + 0.5 * (mine == theirs)
  return np.stack([a.mean(1) for a in (mine, theirs, most, wins)], 1)


def _row(parts, weights: np.ndarray) -> dict[str, float]:
  sums = np.concatenate(parts)
  drawn = weights @ sums / weights.sum(1, keepdims=True)
  found: dict[str, float] = {}
  for name, of in (
    ('utility', lambda s: s[..., 0]),
    ('gain', lambda s: s[..., 0] - s[..., 1]),
    (
      'recovered',
      lambda s: (s[..., 0] - s[..., 1]) / (s[..., 2] - s[..., 1]),
    ),
    ('win_rate', lambda s: s[..., 3]),
  ):
    limits = statistics.interval(of(drawn))
    found |= columns.interval(name, (float(of(sums.mean(0))), *limits))
  return found


def answer(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns what the table says, in plain sentences."""
  sentences = [
    'Does an answer picked for one person please them more than the one that '
    'is picked for everybody?'
  ]
  for row in rows:
    personal = row['acquisition'] != 'none'
    if not personal and not row['method'].startswith('best'):
      continue
    if personal and row['answers'] not in (0, 10):
      continue
    who = (
      f'after {row["answers"]} answers ({row["acquisition"]})'
      if personal
      else 'the limit'
    )
    better = (
      'better than'
      if row['gain_low'] > 0
      else 'worse than'
      if row['gain_high'] < 0
      else 'not shown to differ from'
    )
    sentences.append(
      f'{row["data"]} ({row["features"]}), {row["method"]}, {who}: '
      f"{better} the aggregate's pick, {100 * row['recovered']:.1f} % "
      f'[{100 * row["recovered_low"]:.1f}, {100 * row["recovered_high"]:.1f}] '
      'of the gap to the oracle, and better for '
      f'{100 * row["win_rate"]:.0f} % of picks.'
    )
  return sentences
