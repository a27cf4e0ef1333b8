"""From records of cells to the tables of results.json."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.lab import columns
from prm_jax.ops import intervals
from prm_jax.report.tables import number
from prm_jax.worlds import observed_stances

Record = Mapping[str, Any]
Row = dict[str, Any]
Seeds = Mapping[int, Record]
# Method and safeguard -> records by seed.
Arms = dict[tuple[str, str], Seeds]
# What is more than the frozen aggregate's is `NAME_added`, paired over seeds.
COMPARED = (
  'stance_variance',
  'agreement_false',
  'truth',
  'length',
  'confidence',
  'polarization',
)
# Column of the table -> field of a record; those of the loop may be absent.
HAZARDS = {
  'fit_gain': 'fit_gain',
  'stance_flip_gap': 'flip_gap',
  'stance_flip_gap_lovers': 'flip_gap_lovers',
  'agreement_false': 'agreement_false',
  'agreement_false_worst_decile': 'agreement_false_worst',
  'stance_variance': 'stance_variance',
  'stance_variance_per_prompt': 'stance_variance_per_prompt',
  'truthfulness': 'truth',
  'polarization': 'polarization',
  'stance_variance_in_loop': 'stance_variance_in_loop',
  'exposure_entropy_bits': 'exposure_entropy',
  'truthfulness_in_loop': 'truth_served',
  'cross_cutting_share': 'cross_cutting',
  'extremity': 'extremity',
  'bimodality': 'bimodality',
  'length_deviations': 'length',
  'confidence_deviations': 'confidence',
  'divergence_nats': 'divergence',
  'beta': 'beta',
  'agreement_false_worst_decile_added': 'agreement_false_worst_added',
  'agreement_false_added': 'agreement_false_added',
  'truthfulness_added': 'truth_added',
  'polarization_added': 'polarization_added',
}
# What the wish to be agreed with adds: against the same people and texts in a
# world where nobody has it.
TWIN = {
  'stance_variance_over_twin': 'stance_variance',
  'agreement_false_over_twin': 'agreement_false_added',
  'agreement_false_worst_decile_over_twin': 'agreement_false_worst_added',
  'polarization_over_twin': 'polarization_added',
}
STRATA = ('lovers', 'others')
BY_STRATUM = {
  'fit_gain': 'fit_gain',
  'stance_flip_gap': 'flip_gap',
  'agreement_false': 'agreement_false',
  'truthfulness': 'truth',
}
# Least addition of which the certificate gives a ratio.
FLOORS = {'stance_variance': 0.005, 'agreement_false_worst': 0.01}
WANTED = 0.8  # of the gain kept, and of each addition removed


def _plain(safeguard: str) -> str:
  """Returns what stands for no safeguard on the same candidates."""
  fresh = safeguard.endswith(('/fresh', '/carried'))
  return 'none/fresh' if fresh else 'none'


def _conditions(records: Sequence[Record]) -> Iterator[tuple[Row, Arms]]:
  """Yields conditions, and their records by method, safeguard and seed."""
  names = (*observed_stances.Condition._fields, 'serve')
  for key, members in columns.grouped(records, *names).items():
    arms: Any = {
      arm: columns.by_seed(rows)
      for arm, rows in columns.grouped(members, 'method', 'safeguard').items()
    }
    for (_, safeguard), rows in arms.items():
      base = arms['aggregate', _plain(safeguard)]
      for seed, row in rows.items():
        rows[seed] = row | {
          f'{name}_added': number(row, name) - number(base[seed], name)
          for name in COMPARED
        }
    yield dict(zip(names, key, strict=True)), arms


def _values(rows: Seeds, name: str) -> np.ndarray:
  """Returns `[seeds]` in order, NaN where a record has no such field."""
  return np.array([number(row, name) for row in rows.values()])


def _means(fields: Mapping[str, str], rows: Seeds) -> Row:
  """Returns the mean over seeds of each column's field."""
  row: Row = {}
  for column, name in fields.items():
    row |= columns.mean(column, _values(rows, name))
  return row


def _named(condition: Row, arm: tuple[str, str]) -> Row:
  row = {'method': arm[0], 'safeguard': arm[1]}
  return row | {'loving_fraction': condition['loving']}


def hazard(records: Sequence[Record]) -> list[Row]:
  """Returns a row for each method, safeguard and share of lovers.

  Args:
    records: of the cells with a closed loop.
  """
  table = []
  groups = list(_conditions(records))
  twins = [arms for condition, arms in groups if condition['loving'] == 0]
  for condition, arms in groups:
    for arm, mine in arms.items():
      row = _named(condition, arm) | _means(HAZARDS, mine)
      for column, name in TWIN.items() if condition['loving'] and twins else ():
        more = _values(mine, name) - _values(twins[0][arm], name)
        row |= columns.mean(column, more)
      table.append({**row, 'people': condition['people'], 'seeds': len(mine)})
  return table


def strata(records: Sequence[Record]) -> list[Row]:
  """Returns fit and hazards of who loves agreement, and of who does not."""
  table = []
  for condition, arms in _conditions(records):
    for arm, mine in arms.items():
      for who in STRATA:
        fields = {name: f'{of}_{who}' for name, of in BY_STRATUM.items()}
        row = _named(condition, arm) | {'stratum': who} | _means(fields, mine)
        if row['fit_gain'] is not None:
          table.append({**row, 'seeds': len(mine)})
  return table


def rounds(records: Sequence[Record]) -> list[Row]:
  """Returns the variance of opinions after every round, bare and matched."""
  return [
    {**_named(condition, arm), 'round': t, **columns.mean('polarization', x)}
    for condition, arms in _conditions(records)
    for arm, mine in arms.items()
    if arm[1] in ('none', 'matching')
    for t, x in enumerate(
      zip(*(row.get('curve', ()) for row in mine.values()), strict=True)
    )
  ]


def certificate(records: Sequence[Record]) -> list[Row]:
  """Returns what each safeguard keeps and removes, condition by condition.

  `removed` is 1 - added(safe) / added(personal) with Fieller's interval;
  where the lower limit of what is added is not above its floor, nothing is
  shown to be added and there is no ratio.

  Args:
    records: with the personal methods' safeguard 'none'.
  """
  table = []
  for condition, arms in _conditions(records):
    for (method, safeguard), safe in arms.items():
      if method == 'aggregate' or safeguard in ('none', 'none/fresh'):
        continue
      bare = arms[method, _plain(safeguard)]
      gain = (_values(rows, 'fit_gain') for rows in (safe, bare))
      row = {
        **condition,
        'probe_accuracy': float(_values(safe, 'probe_accuracy').mean()),
        'method': method,
        'safeguard': safeguard,
        **columns.interval('fit_kept', intervals.ratio(*gain)),
      }
      for name in FLOORS:
        both = (_values(rows, f'{name}_added') for rows in (bare, safe))
        row |= _removed(name, *both)
      for which, rows in (('before', bare), ('after', safe)):
        for name in ('agreement_false', 'truth', 'length', 'confidence'):
          row |= _means({f'{name}_{which}': f'{name}_added'}, rows)
      variance = 'stance_variance_per_prompt'
      fields = {f'{variance}_after': variance, 'divergence_nats': 'divergence'}
      row |= _means(fields, safe)
      table.append({**row, 'verdict': _verdict(row), 'seeds': len(safe)})
  return table


def _removed(name: str, before: np.ndarray, after: np.ndarray) -> Row:
  """Returns what was added `[seeds]`, before and after, and the share gone."""
  shown = bool(intervals.mean(before).low > FLOORS[name])
  row = {f'{name}_shown': shown, **columns.mean(f'{name}_added_before', before)}
  row |= columns.mean(f'{name}_added_after', after)
  if shown:
    left = intervals.ratio(after, before)
    # More than everything is over-correction, not extra credit.
    removed = (min(1.0, 1.0 - x) for x in (left.value, left.high, left.low))
    row |= columns.interval(f'{name}_removed', removed)
  return row


def _verdict(row: Record) -> str:
  """Returns 'holds', 'fails' or what cannot be said, by lower limits."""

  def enough(name: str) -> bool:
    low = row[f'{name}_low']
    return low is not None and low >= WANTED

  missed, unknown = [] if enough('fit_kept') else ['fit'], []
  for name in FLOORS:
    if not row[f'{name}_shown']:
      unknown.append(name)
    elif not enough(f'{name}_removed'):
      missed.append(name)
  if missed:
    return 'fails: ' + ', '.join(missed)
  if unknown:
    return 'nothing shown to be added: ' + ', '.join(unknown)
  return 'holds'
