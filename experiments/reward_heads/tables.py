"""From units to the tables of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reward_heads import real
from prm_jax.lab import columns, units
from prm_jax.ops import intervals

Row = dict[str, Any]


def heads(
  rows: Sequence[Row], worlds: Mapping[str, Any], plain: str
) -> list[Row]:
  """Returns how well each head orders new candidates, by world.

  A gain over plain Bradley-Terry, and what a head is behind the best one, are
  paired over seeds; `among_best` says whether it is inside the best one's
  interval.

  Args:
    rows: one a world, seed and head.
    worlds: with `made_for`.
    plain: label of Bradley-Terry on choices.
  """
  made = []
  for (world,), members in columns.grouped(rows, 'world').items():
    order = {
      head: {row['seed']: row['order'] for row in of}
      for (head,), of in columns.grouped(members, 'head').items()
    }
    best = columns.best(order, order)
    least = columns.mean('order', order[best].values())['order_low']
    lengths = {
      head: [row['length'] for row in of]
      for (head,), of in columns.grouped(members, 'head').items()
    }
    for head, values in order.items():
      gain = columns.gain('gain', values, order[plain])
      behind = columns.gain('behind', order[best], values)
      made.append(
        {
          'world': world,
          'head': head,
          'made_for': head in worlds[world].made_for,
          **columns.mean('order', values.values()),
          **gain,
          **behind,
          'among_best': head == best or np.mean([*values.values()]) >= least,
          'length_correlation': float(np.mean(lengths[head])),
          'seeds': len(values),
        }
      )
  return made


def ties(kept: Sequence[units.Unit]) -> list[Row]:
  """Returns what keeping ties gains in log loss, by data and head.

  Over dropping them with everybody's share, with people's own shares, and on
  held-out choices alone. Intervals are over people and prompts at once.

  Args:
    kept: units of `real.kept`.
  """
  made = []
  for unit in kept:
    arrays, record = unit.arrays, unit.record
    shared = intervals.crossing(arrays['user'], arrays['unit'])
    every = np.ones(len(arrays['user']))
    for head in record['chosen']:
      if head == real.DROPPED:
        continue
      row = {'data': record['data'], 'head': head}
      for name, base, rows in (
        ('gain', real.DROPPED, every),
        ('gain_over_habits', real.DROPPED_OWN, every),
        ('gain_strict', real.DROPPED, 1.0 - arrays['tie']),
      ):
        apart = rows * (arrays[base] - arrays[head])
        mean = intervals.crossed(apart, rows, shared)
        row |= columns.crossed(name, mean)
      row |= {
        'nll': float(arrays[head].mean()),
        'nll_dropped': float(arrays[real.DROPPED].mean()),
        **{
          name: record[name]
          for name in ('tie_share', 'people', 'units', 'unit', 'judgements')
        },
      }
      made.append(row)
  return made


def answer(made: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns what the tables say, in plain sentences."""
  said = []
  own = [row for row in made['heads'] if row['made_for']]
  best = [row for row in own if row['among_best']]
  beaten = {row['world'] for row in own if row['gain_low'] > 0}
  worlds = {row['world'] for row in own}
  said.append(
    f"{len(best)} of {len(own)} heads are best, or inside the best one's "
    'interval, on the data that they are made for.'
  )
  said.append(
    f'Plain Bradley-Terry is significantly worse than they on {len(beaten)} '
    f'of {len(worlds)} kinds of data: {", ".join(sorted(beaten))}.'
  )
  for row in made.get('ties', ()):
    if row['head'] == real.DROPPED_OWN:
      continue
    base = 'over_habits' if row['head'].endswith('_own') else ''
    name = f'gain_{base}'.rstrip('_')
    if row[f'{name}_low'] is None:
      continue
    said.append(
      f'{row["data"]}: keeping ties by {row["head"]} saves {row[name]:.3f} '
      f'nats a judgement [{row[f"{name}_low"]:.3f}, '
      f'{row[f"{name}_high"]:.3f}] over dropping them and saying '
      + ("a person's share." if base else "everybody's share.")
    )
  return said
