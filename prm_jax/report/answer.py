"""The plain-language answer, made from the numbers alone."""

from collections.abc import Mapping, Sequence
from typing import Any

_CONTROLS = {
  'swapped_people': "another person's belief",
  'population_coefficients': "the population's coefficients",
}
_SPLITS = {
  'new_pairs': 'new pairs of people it has seen',
  'new_people': 'new people',
  'new_topics': 'new topics of people it has seen',
  'new_lexicon': 'entirely new wording',
}

Row = Mapping[str, Any]


def plain_answer(results: Mapping[str, Any]) -> list[str]:
  """Returns one sentence for each data set and split, and on its controls.

  A gain is shown if its interval excludes zero, and personal if the controls'
  intervals do too.

  Args:
    results: as in results.json.
  """
  tables = results['tables']
  gains = [
    row
    for row in tables.get('gain', [])
    if row.get('judgements', 'all') == 'all'
    and row['method'] not in ('aggregate_mlp', 'length_only')
    and row['answers'] in ('all', 50)
  ]
  groups: dict[tuple[str, ...], list[Row]] = {}
  for row in gains:
    key = (row['data'], row['features'], row['split'], str(row['answers']))
    groups.setdefault(key, []).append(row)
  if not groups:
    return ['No gain was measured.']
  return [
    _sentence(rows, tables.get('controls', [])) for rows in groups.values()
  ]


def _sentence(rows: Sequence[Row], controls: Sequence[Row]) -> str:
  """Says what the personal methods gain on one data set and split."""
  first = rows[0]
  known = 'all their answers' if first['answers'] == 'all' else '50 answers'
  where = (
    f'{label(first)}, {_SPLITS.get(first["split"], first["split"])}, {known}:'
  )
  shown = [row for row in rows if row['gain_low'] > 0]
  lost = [row for row in rows if row['gain_high'] < 0]
  unknown = [row for row in rows if row not in shown and row not in lost]
  parts = []
  if shown:
    told = '; '.join(f'{_gain(r)}{_personal(r, controls)}' for r in shown)
    parts.append(f'a gain over one model for everyone is shown by {told}.')
  if unknown:
    told = '; '.join(_gain(row) for row in unknown)
    size = max(row['smallest_detectable_gain'] for row in unknown)
    parts.append(
      f'no gain is shown for {told}; a gain of {100 * size:.1f} points would '
      'have been found four times in five.'
    )
  if lost:
    told = '; '.join(_gain(row) for row in lost)
    parts.append(f'personal rewards are worse for {told}.')
  return ' '.join([where, *parts])


def _gain(row: Row) -> str:
  low, high = 100 * row['gain_low'], 100 * row['gain_high']
  return (
    f'{row["method"]} {100 * row["gain"]:+.1f} points [{low:+.1f}, {high:+.1f}]'
  )


def _personal(row: Row, controls: Sequence[Row]) -> str:
  """Says which control the gain does not survive, if there is one."""
  same = ('data', 'features', 'method', 'split', 'answers')
  failed = [
    _CONTROLS[control['control']]
    for control in controls
    if control['control'] in _CONTROLS
    and all(control[name] == row[name] for name in same)
    and control['value_low'] <= 0
  ]
  if not failed:
    return ''
  return f' (but the gain is not personal: {" and ".join(failed)} do as well)'


def label(row: Row) -> str:
  """Returns how a data set is called, with its features where they matter."""
  special = row['features'] in ('levels', 'identity')
  return f'{row["data"]} ({row["features"]})' if special else row['data']
