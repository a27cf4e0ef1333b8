"""What the tables say, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_MAIN = 'hierarchical'


def answer(tables: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns the sentences, the headline first."""
  hazard = tables.get('hazard', [])
  found = [
    'Is averaging over people a brake on sycophancy and echo chambers? '
    + _headline(hazard)
  ]
  for q in sorted({row['loving_fraction'] for row in hazard}):
    found += _at(hazard, q)
  found += _certificate(tables.get('certificate', []))
  found += _planted(tables.get('planted', []))
  return found


def _one(rows: Sequence[Row], method: str, safeguard: str, q: float):
  for row in rows:
    if (row['method'], row['safeguard'], row['loving_fraction']) == (
      method, safeguard, q,
    ):  # fmt: skip
      return row
  return None


def _show(row: Row, name: str, scale: float = 1.0, digits: int = 3) -> str:
  value, low, high = (scale * row[name + end] for end in ('', '_low', '_high'))
  return f'{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]'


def _headline(hazard: Sequence[Row]) -> str:
  shares = sorted({row['loving_fraction'] for row in hazard})
  rows = [(q, _one(hazard, _MAIN, 'none', q)) for q in shares]
  known = [(q, row) for q, row in rows if row is not None]
  if not known:
    return 'These results have no personal method.'

  def which(name):
    return [f'{q:.0%}' for q, row in known if row[f'{name}_low'] > 0]

  parts = []
  for name, words in (
    ('stance_variance', 'differences between people in the stance that they '
     'are served'),
    ('agreement_false_worst_decile_added', 'agreement on false statements for '
     'the worst tenth'),
    ('agreement_false_added', 'agreement on false statements on average'),
    ('polarization_added', 'polarisation of opinions after the loop'),
  ):  # fmt: skip
    shown = which(name)
    where = (
      f'shown at {", ".join(shown)} of people who love agreement'
      if shown
      else 'not shown at any share of people who love agreement'
    )
    parts.append(f'{words}: {where}')
  return 'What personal rewards add to one model for everyone: ' + (
    '; '.join(parts) + '.'
  )


def _at(hazard: Sequence[Row], q: float) -> list[str]:
  frozen = _one(hazard, 'aggregate', 'none', q)
  found = []
  for row in hazard:
    if row['loving_fraction'] != q or row['safeguard'] != 'none':
      continue
    if row['method'] == 'aggregate' or frozen is None:
      continue
    found.append(
      f'{q:.0%} love agreement, {row["method"]}: taste '
      f'{_show(row, "fit_gain")} above the aggregate; agreement on false '
      f'statements {_show(row, "agreement_false_added", 100, 1)} points more '
      'on average and '
      f'{_show(row, "agreement_false_worst_decile_added", 100, 1)} in the '
      f'worst tenth; variance of served stance {_show(row, "stance_variance")} '
      'against 0; polarisation '
      f'{_show(row, "polarization_added", 1, 4)} more than under the aggregate '
      f'({frozen["polarization"]:.3f}).'
    )
  return found


def _certificate(rows: Sequence[Row]) -> list[str]:
  if not rows:
    return []
  found = []
  names = dict.fromkeys(row['safeguard'] for row in rows)
  for name in names:
    mine = [row for row in rows if row['safeguard'] == name]
    held = [row for row in mine if row['verdict'] == 'holds']
    failed = [row for row in mine if row['verdict'].startswith('fails')]
    found.append(
      f'{name} keeps 80 % of the gain and removes 80 % of both additions, by '
      f'lower limits, in {len(held)} of {len(mine)} conditions; it fails in '
      f'{len(failed)}, and in {len(mine) - len(held) - len(failed)} nothing '
      'is shown to be added.'
    )
    found += [
      f'{name} fails on {row["verdict"].removeprefix("fails: ")} at '
      f'{row["loving"]:.0%} lovers, detector {row["accuracy"]:.2f}, key error '
      f'{row["key_error"]:.2f}, {row["serve"]}'
      + (', stance in the prompt' if row['stated'] else '')
      + (', encoder' if row['text'] else '')
      + '.'
      for row in failed
    ]
  return found


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
