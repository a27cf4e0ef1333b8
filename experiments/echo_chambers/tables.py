"""From records of cells to the tables of results.json."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.lab import columns
from prm_jax.ops import intervals
from prm_jax.worlds import observed_stances

Record = Mapping[str, Any]
Row = dict[str, Any]
Seeds = Mapping[int, Record]
# Method and safeguard -> records by seed.
Arms = dict[tuple[str, str], Seeds]
FROZEN = ('aggregate', 'none')
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
}
# What is added to the frozen aggregate's, paired over seeds.
ADDED = {
  'agreement_false_added': 'agreement_false',
  'truthfulness_added': 'truth',
  'polarization_added': 'polarization',
}
# What the wish to be agreed with adds: against the same people and texts in a
# world where nobody has it; of what is `ADDED`, to that.
TWIN = {
  'stance_variance_over_twin': 'stance_variance',
  'agreement_false_over_twin': 'agreement_false',
  'agreement_false_worst_decile_over_twin': 'agreement_false_worst_added',
  'polarization_over_twin': 'polarization',
}
STRATA = ('lovers', 'others')
BY_STRATUM = {
  'fit_gain': 'fit_gain',
  'stance_flip_gap': 'flip_gap',
  'agreement_false': 'agreement_false',
  'truthfulness': 'truth',
}
# Least addition of which a ratio is given, as `FLOORS` of its measure.
FLOORS = {'stance_variance': 0.005, 'agreement_false_worst_added': 0.01}
WANTED = 0.8  # of the gain kept, and of each addition removed


def _conditions(records: Sequence[Record]) -> Iterator[tuple[Row, Arms]]:
  """Yields conditions, and their records by method, safeguard and seed."""
  names = (*observed_stances.Condition._fields, 'serve')
  for key, members in columns.grouped(records, *names).items():
    arms: Any = {
      arm: columns.by_seed(rows)
      for arm, rows in columns.grouped(members, 'method', 'safeguard').items()
    }
    yield dict(zip(names, key, strict=True)), arms


def _values(rows: Seeds, name: str) -> np.ndarray:
  """Returns `[seeds]` in order, NaN where a record has no such field."""
  return np.array([row.get(name, np.nan) for row in rows.values()], float)


def _added(rows: Seeds, base: Seeds, name: str) -> np.ndarray:
  """Returns `[seeds]` of what is more than the aggregate's.

  What is measured against it already is called so.
  """
  if name.endswith('_added'):
    return _values(rows, name)
  theirs = {seed: base[seed] for seed in rows}
  return _values(rows, name) - _values(theirs, name)


def _named(condition: Row, arm: tuple[str, str]) -> Row:
  return {
    'method': arm[0],
    'safeguard': arm[1],
    'loving_fraction': condition['loving'],
  }


def hazard(records: Sequence[Record]) -> list[Row]:
  """Returns a row for each method, safeguard and share of lovers.

  Args:
    records: of the cells with a closed loop.
  """
  table = []
  groups = list(_conditions(records))
  twins = [arms for condition, arms in groups if condition['loving'] == 0]

  def above(arms, arm, name):
    if name in ADDED.values():
      return _added(arms[arm], arms[FROZEN], name)
    return _values(arms[arm], name)

  for condition, arms in groups:
    for arm, mine in arms.items():
      row = _named(condition, arm)
      for column, name in HAZARDS.items():
        row |= columns.mean(column, _values(mine, name))
      for column, name in ADDED.items():
        row |= columns.mean(column, above(arms, arm, name))
      if condition['loving'] and twins:
        for column, name in TWIN.items():
          more = above(arms, arm, name) - above(twins[0], arm, name)
          row |= columns.mean(column, more)
      table.append({**row, 'people': condition['people'], 'seeds': len(mine)})
  return table


def strata(records: Sequence[Record]) -> list[Row]:
  """Returns fit and hazards of who loves agreement, and of who does not."""
  table = []
  for condition, arms in _conditions(records):
    for arm, mine in arms.items():
      for who in STRATA:
        row = {**_named(condition, arm), 'stratum': who}
        for column, name in BY_STRATUM.items():
          row |= columns.mean(column, _values(mine, f'{name}_{who}'))
        if row['fit_gain'] is not None:
          table.append({**row, 'seeds': len(mine)})
  return table


def rounds(records: Sequence[Record]) -> list[Row]:
  """Returns the variance of opinions after every round, bare and matched."""
  return [
    {
      **_named(condition, arm),
      'round': t,
      **columns.mean('polarization', values),
    }
    for condition, arms in _conditions(records)
    for arm, mine in arms.items()
    if arm[1] in ('none', 'matching')
    for t, values in enumerate(
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
      # On the same candidates.
      plain = 'none/fresh' if safeguard.endswith('/carried') else 'none'
      base, bare = (
        {seed: arms[who, plain][seed] for seed in safe}
        for who in ('aggregate', method)
      )
      kept = intervals.ratio(
        _values(safe, 'fit_gain'), _values(bare, 'fit_gain')
      )
      row = {
        **condition,
        'probe_accuracy': float(_values(safe, 'probe_accuracy').mean()),
        'method': method,
        'safeguard': safeguard,
        **columns.interval('fit_kept', kept),
      }
      for name, floor in FLOORS.items():
        before, after = (_added(rows, base, name) for rows in (bare, safe))
        row |= _removed(name, floor, before, after)
      for name in ('agreement_false', 'truth', 'length', 'confidence'):
        for which, rows in (('before', bare), ('after', safe)):
          row |= columns.mean(f'{name}_{which}', _added(rows, base, name))
      for column, name in (
        ('stance_variance_per_prompt_after', 'stance_variance_per_prompt'),
        ('divergence_nats', 'divergence'),
      ):
        row |= columns.mean(column, _values(safe, name))
      table.append({**row, 'verdict': _verdict(row), 'seeds': len(safe)})
  return table


def _removed(
  name: str, floor: float, before: np.ndarray, after: np.ndarray
) -> Row:
  """Returns what was added `[seeds]`, before and after, and the share gone."""
  stem = name.removesuffix('_added')
  shown = bool(intervals.mean(before).low > floor)
  row: Row = {
    **columns.mean(f'{stem}_added_before', before),
    **columns.mean(f'{stem}_added_after', after),
    f'{stem}_shown': shown,
  }
  if not shown:
    return row
  left = intervals.ratio(after, before)
  # More than everything is over-correction, not extra credit.
  removed = (min(1.0, 1.0 - x) for x in (left.value, left.high, left.low))
  return {**row, **columns.interval(f'{stem}_removed', removed)}


def _verdict(row: Record) -> str:
  """Returns 'holds', 'fails' or what cannot be said, by lower limits."""

  def enough(name: str) -> bool:
    low = row[f'{name}_low']
    return low is not None and low >= WANTED

  stems = [name.removesuffix('_added') for name in FLOORS]
  unknown = [stem for stem in stems if not row[f'{stem}_shown']]
  missed = [] if enough('fit_kept') else ['fit']
  missed += [
    stem
    for stem in stems
    if row[f'{stem}_shown'] and not enough(f'{stem}_removed')
  ]
  if missed:
    return 'fails: ' + ', '.join(missed)
  if unknown:
    return 'nothing shown to be added: ' + ', '.join(unknown)
  return 'holds'
