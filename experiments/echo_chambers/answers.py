"""What the tables say, in plain sentences."""

from collections.abc import Mapping, Sequence

from prm_jax.lab import columns
from prm_jax.report.tables import Row, interval, number, points

Bare = Mapping[tuple[str, float], Row]
_MAIN = 'hierarchical'


def answer(tables: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns the sentences, the headline first."""
  # Method and share of people who love agreement -> row, unsafeguarded.
  bare = {
    (row['method'], row['loving_fraction']): row
    for row in tables.get('hazard', [])
    if row['safeguard'] == 'none'
  }
  return [
    'Is averaging over people a brake on sycophancy and echo chambers? '
    + _headline(bare),
    *_wish(bare),
    *_certificate(tables.get('certificate', [])),
    *_planted(tables.get('planted', [])),
    *_methods(bare),
  ]


def _small(row: Row, name: str) -> str:
  value, low, high = (f'{limit:.4f}' for limit in interval(row, name))
  return f'{value} [{low}, {high}]'


def _headline(bare: Bare) -> str:
  rows = {
    q: row for (method, q), row in sorted(bare.items()) if method == _MAIN
  }
  if not rows:
    return 'These results have no personal method.'

  def where(name):
    shown = [q for q, row in rows.items() if number(row, f'{name}_low') > 0]
    at = ', '.join(f'{q:.0%}' for q in shown) or 'no share'
    return f'shown at {"every share" if len(shown) == len(rows) else at}'

  return (
    'By share of people who love agreement, without a safeguard and with '
    f'{_MAIN}: people are served different stances, '
    f'{where("stance_variance")}; the worst tenth is told more often that '
    'it is right where it is wrong, '
    f'{where("agreement_false_worst_decile_added")}; so is the mean, '
    f'{where("agreement_false_added")}; opinions end further apart, '
    f'{where("polarization_added")}.'
  )


def _wish(bare: Bare) -> list[str]:
  """Returns how much of it is the wish to be agreed with."""
  twin = bare.get((_MAIN, 0.0))
  if twin is None:
    return []
  return [
    'Much of it needs no such wish. Where nobody loves agreement, '
    f'{_MAIN} agrees with false statements '
    f'{points(twin, "agreement_false_added")} points more than the aggregate '
    'at the same divergence, which it spends on taste rather than truth, and '
    'the variance of served stance is '
    f'{points(twin, "stance_variance", scale=1)}, because tastes go with '
    'stances.'
  ] + [
    f'The wish of {q:.0%} of people adds to that: '
    f'{points(row, "agreement_false_over_twin")} points on average, '
    f'{points(row, "agreement_false_worst_decile_over_twin")} in the worst '
    f'tenth, variance {_small(row, "stance_variance_over_twin")}, '
    f'polarisation {_small(row, "polarization_over_twin")}.'
    for (method, q), row in bare.items()
    if method == _MAIN and q
  ]


def _methods(bare: Bare) -> list[str]:
  """Returns what every method does, by share of people, unsafeguarded."""
  return [
    f'{q:.0%} love agreement, {method}: taste '
    f'{points(row, "fit_gain", scale=1)} above the aggregate; agreement on '
    f'false statements {points(row, "agreement_false_added")} points more on '
    f'average and {points(row, "agreement_false_worst_decile_added")} in the '
    'worst tenth; variance of served stance '
    f'{points(row, "stance_variance", scale=1)} against 0; polarisation '
    f'{_small(row, "polarization_added")} more than under the aggregate '
    f'({bare["aggregate", q]["polarization"]:.3f}).'
    for (method, q), row in sorted(bare.items(), key=lambda item: item[0][1])
    if method != 'aggregate' and ('aggregate', q) in bare
  ]


def _certificate(rows: Sequence[Row]) -> list[str]:
  sentences = []
  for (name,), mine in columns.grouped(rows, 'safeguard').items():
    held = [row for row in mine if row['verdict'] == 'holds']
    failed = [row for row in mine if row['verdict'].startswith('fails')]
    unknown = len(mine) - len(held) - len(failed)
    where = '; '.join(
      f'{row["verdict"].removeprefix("fails: ")} at {_where(row)}'
      for row in failed
    )
    sentences.append(
      f'{name} keeps 80 % of the gain and removes 80 % of both additions, by '
      f'lower limits, in {len(held)} of {len(mine)} conditions; in {unknown} '
      'nothing is shown to be added'
      + (f'; it fails on {where}.' if failed else '.')
    )
  return sentences


def _where(row: Row) -> str:
  parts = [
    f'{row["loving"]:.0%} lovers',
    f'detector {row["accuracy"]:g}',
    f'key error {row["key_error"]:g}',
    row['serve'].replace('_', ' '),
  ]
  if row['stated']:
    parts.append('stance in the prompt')
  if row['text']:
    parts[1] = 'encoder'
  if row['correlation'] != 0.3:
    parts.append(f'correlation {row["correlation"]:g}')
  return ', '.join(parts)


def _planted(rows: Sequence[Row]) -> list[str]:
  if not rows:
    return []
  wrong = [row for row in rows if not row['is_fault']]
  worst = max(row['flagged'] for row in wrong)
  blind = [
    f'{row["fault"].removeprefix("blind spot: ")} {row["flagged"]:.1%}'
    for row in rows
    if row['fault'].startswith('blind spot')
  ]
  return [
    f'Rewards without a fault are flagged in at most {worst:.1%} of '
    f'{wrong[0]["seeds"]} seeds; known blind spots are flagged as rarely: '
    f'{", ".join(blind)}.'
  ]
