"""Rows of results.json on memories of people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.memories import nodes, words
from experiments.reasoning_rewards import measured
from prm_jax.lab import columns, units
from prm_jax.worlds import personal_histories as histories

Row = dict[str, Any]
Made = Sequence[units.Unit]  # one a seed
HOLDS, REVERSED, OPEN = 'holds', 'reversed', 'open'
# World -> the finding whose sign there was to be shown.
BARS = {'drift': ('recency', 1), 'topics': ('recency', -1)}


def cells(
  made: Made, value: str | Callable[[Mapping[str, np.ndarray]], np.ndarray]
) -> list[measured.Cell]:
  """Returns what every seed measured of its people.

  Args:
    made: of a world.
    value: name of an array, or what is made of arrays.
  """
  found = []
  for unit in made:
    known = unit.arrays
    values = known[value] if isinstance(value, str) else value(known)
    found.append(
      measured.Cell(
        unit.record['seed'], known['person'], np.asarray(values, float)
      )
    )
  return found


def right(made: Made, node: str) -> list[measured.Cell]:
  """Returns how often everybody is predicted right by a node."""
  return cells(made, f'right|{node}')


def counts(made: Made) -> Row:
  """Returns how many people there are in all, and seeds."""
  people = sum(len(unit.arrays['person']) for unit in made)
  return {'people': people, 'seeds': len(made)}


def _mean_of(made: Made, record: str, name: str) -> float:
  return float(np.mean([unit.record[record][name] for unit in made]))


def accuracies(world: str, made: Made) -> list[Row]:
  """Returns how well each node predicts, and what it keeps and costs.

  Args:
    world: of the units.
    made: of every seed.
  """
  rows = []
  for node, parts in nodes.NODES.items():
    trained = 0.0
    if parts.adapter:
      trained = _mean_of(made, 'training_milliseconds', parts.adapter)
    rows.append(
      {
        'world': world,
        'method': node,
        **measured.mean('right', right(made, node)),
        'bytes_a_person': round(_mean_of(made, 'bytes', node)),
        'training_core_milliseconds': trained,
        'query_core_milliseconds': _mean_of(made, 'query_milliseconds', node),
        **counts(made),
      }
    )
  return rows


def ceilings(world: str, setting: histories.Setting, made: Made) -> list[Row]:
  """Returns what can be known in a world, and what the best node reaches.

  The best node is chosen on the people that it is told of: read it with the
  table of all.

  Args:
    world: of the units.
    setting: of the world.
    made: of every seed.
  """
  means = {
    node: np.mean([cell.value.mean() for cell in right(made, node)])
    for node in nodes.NODES
  }
  best = max(means, key=lambda node: means[node])
  return [
    {
      'world': world,
      'who_knows_everybody': histories.best_accuracy(setting),
      **measured.mean('who_read_all', cells(made, 'best|read')),
      'best': best,
      **measured.mean('best_right', right(made, best)),
      **measured.gain(
        'short_of_reading', cells(made, 'best|read'), right(made, best)
      ),
      **counts(made),
    }
  ]


def sign(row: Mapping[str, Any], name: str) -> str:
  """Returns what an interval says of a finding."""
  low, high = row[f'{name}_low'], row[f'{name}_high']
  if low is not None and low > 0:
    return HOLDS
  if high is not None and high < 0:
    return REVERSED
  return OPEN


def signs(world: str, made: Made) -> list[Row]:
  """Returns how far each published finding holds in a world.

  Args:
    world: of the units.
    made: of every seed.
  """
  rows = []
  for finding, (_, mine, other) in words.FINDINGS.items():
    sides = words.NODES[mine], words.NODES[other]
    row = measured.gain('lead', *(right(made, node) for node in sides))
    rows.append(
      {
        'world': world,
        'finding': finding,
        'method': sides[0],
        'over': sides[1],
        **row,
        'sign': sign(row, 'lead'),
        **counts(made),
      }
    )
  return rows


def thinking(world: str, made: Made) -> list[Row]:
  """Returns what each kind of trace adds on top of each memory.

  Args:
    world: of the units.
    made: of every seed.
  """
  rows = []
  for base, parts in nodes.BASES.items():
    known = right(made, nodes.labelled(parts))
    for kind in nodes.THOUGHTS:
      node = nodes.labelled(nodes.thought(base, kind))
      rows.append(
        {
          'world': world,
          'base': base,
          'trace': kind,
          **measured.mean('right', right(made, node)),
          **measured.gain('lead', right(made, node), known),
          **counts(made),
        }
      )
  return rows


def facts(world: str, made: Made) -> list[Row]:
  """Returns how much of what traces state is right."""
  kinds = [
    name.removeprefix('facts|')
    for name in made[0].arrays
    if name.startswith('facts|')
  ]
  return [
    {
      'world': world,
      'trace': kind,
      **measured.mean('facts_right', cells(made, f'facts|{kind}')),
      **counts(made),
    }
    for kind in kinds
  ]


def controls(world: str, made: Made) -> list[Row]:
  """Returns what is predicted from another person's memories.

  Args:
    world: of the units.
    made: of every seed.
  """
  rows = []
  for node, own in words.OWN.items():
    row = measured.mean('right', right(made, node))
    low, high = row['right_low'], row['right_high']
    rows.append(
      {
        'world': world,
        'method': node,
        **row,
        'at_chance': None if low is None else bool(low <= 0.5 <= high),
        **measured.gain('own_less_other', right(made, own), right(made, node)),
        **counts(made),
      }
    )
  return rows


def lengths(world: str, made: Made) -> list[Row]:
  """Returns accuracy against how many events are kept.

  Args:
    world: of the units.
    made: of every seed.
  """
  rows = []
  for name in made[0].arrays:
    if not name.startswith('right|'):
      continue
    _, events, node = name.split('|')
    rows.append(
      {
        'world': world,
        'method': node,
        'events': int(events),
        **measured.mean('right', cells(made, name)),
        **counts(made),
      }
    )
  return rows


def searched(made: Made) -> list[Row]:
  """Returns the numbers that were chosen, of every seed of a world."""
  return [
    {
      'world': unit.record['world'],
      'seed': unit.record['seed'],
      'objective': objective,
      **hyper,
    }
    for unit in made
    for objective, hyper in unit.record['hyper'].items()
  ]


def bars(rows: Sequence[Row]) -> list[Row]:
  """Returns what was to be shown, and whether it is.

  Args:
    rows: of `signs`.
  """
  found = []
  for row in rows:
    finding, wanted = BARS.get(row['world'], ('', 0))
    if row['finding'] != finding:
      continue
    value, low, high = (
      None if row[f'lead{end}'] is None else wanted * row[f'lead{end}']
      for end in (
        ('', '_low', '_high') if wanted > 0 else ('', '_high', '_low')
      )
    )
    sides = (row['method'], row['over'])[::wanted]
    found.append(
      {
        'world': row['world'],
        'claim': f'{sides[0]} above {sides[1]}',
        **columns.interval(
          'lead', [np.nan if x is None else x for x in (value, low, high)]
        ),
        'met': low is not None and low > 0,
        **{name: row[name] for name in ('people', 'seeds')},
      }
    )
  return found
