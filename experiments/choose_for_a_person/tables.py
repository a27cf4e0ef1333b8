"""From picks to the table of results.json."""

from collections.abc import Mapping, Sequence

import numpy as np

from prm_jax.lab import bootstrap, columns, units

# A person's pick, the aggregate's and the oracle's, and wins -> a figure.
_FIGURES: dict[str, bootstrap.Statistic] = {
  'utility': lambda of: of[..., 0],
  'gain': lambda of: of[..., 0] - of[..., 1],
  'recovered': lambda of: (of[..., 0] - of[..., 1]) / (of[..., 2] - of[..., 1]),
  'win_rate': lambda of: of[..., 3],
}


def utility(cells: Sequence[units.Unit], replicates: int) -> list[columns.Row]:
  """Returns what every pick is worth to the people it is made for.

  `recovered` is (pick - aggregate's) / (oracle's - aggregate's), of means over
  people and menus; `gain` its numerator; `win_rate` how often the pick is
  better than the aggregate's, the same answer counting half. Intervals are
  over seeds and people.

  Args:
    cells: all settings, with the utility `[U, S]` of picks.
    replicates: of the bootstrap.
  """
  rows = []
  for key, members in units.grouped(cells, 'data', 'features').items():
    people = bootstrap.people(members, replicates, by_seed=True)
    theirs, most = map(people.of, ('aggregate|none|0', 'oracle|none|0'))
    for name in members[0].arrays:
      method, acquire, answers = name.split('|')
      mine = people.of(name)
      wins = (mine > theirs) + 0.5 * (mine == theirs)
      means = np.stack([of.mean(1) for of in (mine, theirs, most, wins)], 1)
      row = {
        'data': key[0],
        'features': key[1],
        'method': method,
        'acquisition': acquire,
        'answers': int(answers),
        'prompts': most.shape[1],
        **people.counts,
      }
      for column, figure in _FIGURES.items():
        row |= people.interval(column, means, figure)
      rows.append(row)
  return rows


def answer(tables: Mapping[str, Sequence[columns.Row]]) -> list[str]:
  """Returns what the table says, in plain sentences."""
  sentences = [
    'Does an answer picked for one person please them more than the one that '
    'is picked for everybody?'
  ]
  for row in tables['utility']:
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
      f"{better} the aggregate's pick, {columns.percent(row, 'recovered')} "
      'of the gap to the oracle, and better for '
      f'{100 * row["win_rate"]:.0f} % of picks.'
    )
  return sentences
