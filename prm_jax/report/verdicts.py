"""What each comparison of a personal model with another one shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from prm_jax.report import figures, tables

Row = tables.Row
TRAITS = 'traits'  # the baseline that knows each person's habits
# Kind -> what so many comparisons show.
KINDS = {
  'personal': 'a gain that is personal',
  'no gain beyond traits': 'a gain, but no gain beyond habits (side, length, '
  'ties)',
  'not personal': 'a gain that is not personal',
  'not shown': 'a gain that is not shown to be personal',
  'untested': 'a gain that was not fully tested for being personal',
  'none': 'no gain',
  'loss': 'a loss',
  'unknown': 'nothing that could be measured',
}
GAINS = tuple(KINDS)[:5]  # kinds whose gain's interval is above zero
# The first of them that was tested is what a headline is about.
SPLITS = (
  'new_pairs',
  'new_prompts',
  'new_topics',
  'new_lexicon',
  'new_people',
  'new_people_new_prompts',
)
NEW_PEOPLE = 'new_people'
_NEAR = 0.01  # a control's loss of accuracy that is near zero


class Comparison(NamedTuple):
  """One personal method on one split, with all that is known of each person.

  Attributes:
    row: its gain over one model for everyone.
    beyond: its gain over that model with each person's habits, if known.
    tests: control -> the row that tests whether the gain is personal.
    kind: one of `KINDS`.
    personality: 'personal', 'not personal', 'not shown' or 'untested'.
  """

  row: Row
  beyond: Row | None
  tests: Mapping[str, Row]
  kind: str
  personality: str

  @property
  def where(self) -> str:
    """The data set, in words."""
    return where(self.row)


def where(row: Row) -> str:
  """Returns the data set of a row, in words."""
  return tables.place(row.get('data'), row.get('features'))


def personal_rows(results: Mapping[str, Any]) -> list[Row]:
  """Returns gains of personal methods over all judgements, any baseline.

  Results from before methods had roles: a method is personal if it was tested
  with another person's coefficients.
  """
  tested = {
    row.get('method')
    for row in tables.rows_of(results, 'controls')
    if row.get('control') == 'swapped_people'
  }
  return [
    row
    for row in tables.rows_of(results, 'gain')
    if row.get('judgements', 'all') == 'all'
    and (
      row.get('role') == 'personal'
      or ('role' not in row and row.get('method') in tested)
    )
  ]


def headline(rows: Sequence[Row]) -> list[Row]:
  """Returns the rows of chosen methods, where a search chose one a split."""
  searched = {where(row) for row in rows if row.get('chosen')}
  return [
    row for row in rows if row.get('chosen') or where(row) not in searched
  ]


def over_everyone(rows: Sequence[Row]) -> list[Row]:
  """Returns the gains over one model for everyone."""
  return [row for row in rows if row.get('baseline') != TRAITS]


def comparisons(
  results: Mapping[str, Any], rows: Sequence[Row]
) -> list[Comparison]:
  """Returns what rows with the most answers show.

  Args:
    results: the content of results.json.
    rows: of `personal_rows`.
  """
  controls = tables.rows_of(results, 'controls')
  habits = {_key(row): row for row in rows if row.get('baseline') == TRAITS}
  return [
    _compared(row, habits.get(_key(row)), controls)
    for row in figures.most_answers(over_everyone(rows))
  ]


def beyond(row: Row, rows: Sequence[Row]) -> Row | None:
  """Returns the row of the same predictions over habits, if there is one."""
  for other in rows:
    if other.get('baseline') == TRAITS and _key(other) == _key(row):
      return other
  return None


def shown(row: Row | None, name: str = 'gain') -> bool:
  """Returns whether a value's interval is above zero."""
  return row is not None and tables.number(row, f'{name}_low') > 0


def _key(row: Row) -> tuple:
  names = ('data', 'features', 'method', 'split')
  return (*(row.get(name) for name in names), row.get('answers', 'all'))


def _compared(
  row: Row, habits: Row | None, controls: Sequence[Row]
) -> Comparison:
  tests = _tests(row, controls)
  personality = _personality(row, tests)
  low, high = tables.number(row, 'gain_low'), tables.number(row, 'gain_high')
  if not (math.isfinite(low) and math.isfinite(high)):
    kind = 'unknown'
  elif high < 0:
    kind = 'loss'
  elif low <= 0:
    kind = 'none'
  elif personality == 'not personal' or habits is None or shown(habits):
    kind = personality
  else:
    kind = 'no gain beyond traits'
  return Comparison(row, habits, tests, kind, personality)


def _tests(row: Row, controls: Sequence[Row]) -> dict[str, Row]:
  """Returns the controls of a comparison.

  With the same number of answers if there is such a control, else with most.
  """
  same = ('data', 'features', 'method', 'split')
  known = [
    control
    for control in controls
    if control.get('control') in tables.PERSONAL_CONTROLS
    and all(control.get(name) == row.get(name) for name in same)
  ]
  known.sort(
    key=lambda c: (
      c.get('answers') == row.get('answers'),
      figures.answer_rank(c),
    )
  )
  return {str(control['control']): control for control in known}


def _personality(row: Row, tests: Mapping[str, Row]) -> str:
  """Returns whether a gain is the person's own.

  It is only if another person's coefficients and the population's are both
  worse, with intervals above zero. A control that is too unsure to tell, and
  not near zero, leaves open whether it is; where no gain is shown, only beside
  one that is sure.
  """
  unsure = [test for test in tests.values() if not shown(test, 'value')]
  near = tables.number(row, 'gain') / 4
  if not shown(row):
    near = _NEAR if len(unsure) < len(tests) else math.inf
  if unsure and all(tables.number(test, 'value') > near for test in unsure):
    return 'not shown'
  if unsure:
    return 'not personal'
  if len(tests) < len(tables.PERSONAL_CONTROLS):
    return 'untested'
  return 'personal'


def by_set(found: Iterable[Comparison]) -> dict[str, list[Comparison]]:
  """Returns comparisons by data set, in order of appearance."""
  sets: dict[str, list[Comparison]] = {}
  for one in found:
    sets.setdefault(one.where, []).append(one)
  return sets


def primary(found: Sequence[Comparison]) -> list[Comparison]:
  """Returns the comparisons on the first split that was tested."""
  tested = [one.row.get('split') for one in found]
  order = [s for s in SPLITS if s in tested] + tested
  return [one for one in found if one.row.get('split') == order[0]]


def gain(one: Comparison) -> float:
  """Returns a comparison's gain, less than any where it is not known."""
  value = tables.number(one.row, 'gain')
  return value if math.isfinite(value) else -math.inf


# ------------------------------------------------------------- new people


def rank(split: Any) -> int:
  """Returns the place of a split in the order in which they are asked."""
  return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def first_answers(rows: Sequence[Row]) -> int | None:
  """Returns from how many answers on a gain is above zero, None if never.

  Args:
    rows: of one method on one split, by number of answers.
  """
  first = None
  for row in sorted(counted(rows), key=figures.answer_rank, reverse=True):
    if not shown(row):
      break
    first = int(row['answers'])
  return first


def counted(rows: Sequence[Row]) -> list[Row]:
  """Returns the rows whose number of answers is a number."""
  return [row for row in rows if isinstance(row.get('answers'), int)]
