"""What holds over conversations: means of their figures, Student over them."""

from collections.abc import Iterable
from typing import Any

from prm_jax.lab import columns

Row = dict[str, Any]
REMOVED, BELOW, LEAST = 0.9, -0.01, -0.02  # what a safeguard is asked for
_BEYOND_TEXT = ('gain_over_text', 'pairs_over_text')
_ADDED = ('own_side_over_aggregate', 'agreement_over_aggregate')
_CURVE = ('own_side_added', 'agreement_gained', 'removed')
_VARIANCES = tuple(
  f'variance_over_{other}' for other in ('aggregate', 'random', 'start')
)
_STILL = 'nobody moves'


def prediction(rows: Iterable[Row]) -> list[Row]:
  """Returns gains beyond both means, by what is held out and model."""
  found = []
  for head, some in _grouped(rows, 'split', 'model'):
    if head['model'] != 'person':
      names = [name for name in _BEYOND_TEXT if name in some[0]]
      found.append(head | _means(some, 'gain_nats', 'pairs_gain', *names))
  return found


def hazard(rows: Iterable[Row], control: str) -> list[Row]:
  """Returns what servers add to own-side exposure.

  Args:
    rows: of each conversation.
    control: a conversation without an axis, which is left out.
  """
  return [
    head | _means(some, *_ADDED)
    for head, some in _grouped(_others(rows, control), 'serving', 'server')
  ]


def safeguards(rows: Iterable[Row], control: str) -> list[Row]:
  """Returns what safeguards remove and cost, and whether that is the bar.

  Args:
    rows: of each conversation.
    control: a conversation without an axis, which is left out.
  """
  found = []
  by = ('serving', 'guard', 'strength')
  for head, some in _grouped(_others(rows, control), *by):
    row = head | _means(some, *_CURVE)
    row['bar_met'] = meets(row)
    row['conversations_at_bar'] = sum(meets(each) for each in some)
    found.append(row)
  return found


def meets(row: Row) -> bool:
  """Returns whether nine tenths are removed at no cost below the aggregate."""
  names = ('removed', 'agreement_gained', 'agreement_gained_low')
  least = (REMOVED, BELOW, LEAST)
  return all(
    row[name] is not None and row[name] >= limit
    for name, limit in zip(names, least, strict=True)
  )


def at_removed(rows: Iterable[Row]) -> list[Row]:
  """Returns agreement where most is removed, and beside matching's.

  Of the conversations in which a guard removes so much.
  """
  return [
    head | _means(some, 'agreement', 'agreement_over_matching')
    for head, some in _grouped(rows, 'serving', 'guard')
  ]


def movement(rows: Iterable[Row], control: str) -> list[Row]:
  """Returns what servers add where people move, and what moving adds to it.

  Args:
    rows: of each conversation.
    control: a conversation without an axis, which is left out.
  """
  some = _others(rows, control)
  still = {
    (row['conversation'], row['server']): row['own_side_added']
    for row in some
    if row['movement'] == _STILL
  }
  more = [
    row
    | {
      'added_by_moving': row['own_side_added']
      - still[row['conversation'], row['server']]
    }
    for row in some
  ]
  names = ('own_side_added', 'added_by_moving', *_VARIANCES)
  return [
    head | _means(each, *names)
    for head, each in _grouped(more, 'movement', 'server')
  ]


def joined(detectors: Iterable[Row], curves: Iterable[Row]) -> list[Row]:
  """Returns detectors beside what matching on them removes.

  Args:
    detectors: of each conversation.
    curves: of safeguards.
  """
  whole = {
    (row['conversation'], row['guard'], row['serving']): row
    for row in curves
    if row['strength'] == 1.0
  }
  found = []
  for row in detectors:
    row = dict(row)
    for serving in ('best', 'tilt'):
      other = whole[row['conversation'], row['detector'], serving]
      for name in ('removed', 'agreement_gained'):
        for end in ('', '_low', '_high'):
          row[f'{name}_{serving}{end}'] = other[f'{name}{end}']
    found.append(row)
  return found


def detectors(rows: Iterable[Row], control: str) -> list[Row]:
  """Returns how detectors go with loadings, and what matching on them removes.

  Args:
    rows: of `joined`.
    control: a conversation without an axis, which is left out.
  """
  names = ['correlation', 'correlation_by_chance']
  for serving in ('best', 'tilt'):
    names += [f'removed_{serving}', f'agreement_gained_{serving}']
  return [
    head | _means(some, *names)
    for head, some in _grouped(_others(rows, control), 'detector')
  ]


def _others(rows: Iterable[Row], control: str) -> list[Row]:
  return [row for row in rows if row['conversation'] != control]


def _grouped(rows: Iterable[Row], *names: str):
  for values, some in columns.grouped(rows, *names).items():
    yield dict(zip(names, values, strict=True)), some


def _means(rows: list[Row], *names: str) -> Row:
  """Returns means over conversations that have a value, and how many have."""
  row: Row = {}
  for name in names:
    known = [each[name] for each in rows if each[name] is not None]
    row |= columns.mean(name, known)
  first = [each for each in rows if each[names[0]] is not None]
  return row | {'conversations': len(first)}
