"""Tables of the page: rows of results.json as text.

Shares and their differences are printed in points (percent) with their 95 %
interval; what is missing is printed as n/a.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from prm_jax.report import names

Row = Mapping[str, Any]
Cell = Callable[[Row], str]

MISSING = names.MISSING
PERSONAL_CONTROLS = ('swapped_people', 'population_coefficients')
# Columns whose cells are names of the code.
_CODED = ('data', 'features', 'method', 'split', 'baseline', 'control')
_LONG = 40  # a table with more rows starts closed

word = names.word
place = names.place


class Table(NamedTuple):
  """A table of text.

  Attributes:
    title: heading.
    note: what its numbers are.
    header: `[C]` column names.
    rows: cells, each `[C]`.
    closed: whether it starts folded.
  """

  title: str
  note: str
  header: list[str]
  rows: list[list[str]]
  closed: bool


def rows_of(results: Mapping[str, Any], name: str) -> list[Row]:
  """Returns the rows of a table, none if the table is missing."""
  return list((results.get('tables') or {}).get(name) or [])


def number(row: Row, name: str) -> float:
  """Returns a value of a row, NaN if it is missing or null."""
  value = row.get(name)
  return float('nan') if value is None else float(value)


def interval(row: Row, name: str) -> tuple[float, float, float]:
  """Returns a column's value and the ends of its interval, NaN if missing."""
  value, low, high = (
    number(row, f'{name}{end}') for end in ('', '_low', '_high')
  )
  return value, low, high


def points(
  row: Row, name: str, *, signed: bool = False, scale: float = 100
) -> str:
  """Returns a value and its interval, such as `70.6 [69.9, 71.2]`.

  Args:
    row: holds `name`, and perhaps `name_low` and `name_high`.
    name: of the value.
    signed: whether to print a plus sign, as for a difference.
    scale: 100 for points, 1 for the number as it is (three decimals).
  """
  value = number(row, name)
  if not math.isfinite(value):
    return MISSING
  digits = 3 if scale == 1 else 2 if signed else 1
  form = f'{"+" if signed else ""}.{digits}f'

  def show(x: float) -> str:
    # Adding 0 turns a rounded -0.0 into 0.0.
    return format(round(x * scale, digits) + 0.0, form)

  low, high = number(row, f'{name}_low'), number(row, f'{name}_high')
  if not (math.isfinite(low) and math.isfinite(high)):
    return show(value)
  return f'{show(value)} [{show(low)}, {show(high)}]'


def accuracy_table(results: Mapping[str, Any]) -> Table:
  """Returns every metric of every method."""
  return _table(
    'Accuracy',
    'In points with 95 % intervals over what is resampled, for the worst tenth '
    'over people alone; NLL in nats.',
    rows_of(results, 'accuracy'),
    {
      'data': _place,
      'people asked': _word('split'),
      'answers': _text('answers'),
      'method': _word('method'),
      'accuracy': _points('accuracy'),
      'AUC': _points('auc'),
      'NLL': _points('nll', scale=1),
      'calibration error': _points('ece'),
      'mean over people': _points('macro_accuracy'),
      'worst tenth of people': _points('worst_decile_accuracy'),
      **_counts('people', 'units', 'pairs', 'seeds'),
      **_named('resampled', 'coverage'),
    },
  )


def gain_table(results: Mapping[str, Any]) -> Table:
  """Returns the gain of every method over the aggregate."""
  return _table(
    'Gain over one model for everyone',
    'Accuracy of the method minus accuracy of the baseline on the same rows, '
    'in points.',
    rows_of(results, 'gain'),
    {
      'data': _place,
      'people asked': _word('split'),
      **_named('answers', 'judgements'),
      'method': _word('method'),
      'over': _word('baseline'),
      'gain': _points('gain', signed=True),
      'interval over people alone': _people_alone,
      'mean gain over people': _points('macro_gain', signed=True),
      'smallest detectable gain': _points('smallest_detectable_gain'),
      **_counts('people', 'units', 'pairs', 'seeds'),
      **_named('resampled', 'coverage'),
    },
  )


def controls_table(results: Mapping[str, Any]) -> Table:
  """Returns the controls and how each is to be read."""
  return _table(
    'Controls',
    'What a gain must survive. Differences and shares are in points.',
    rows_of(results, 'controls'),
    {
      'data': _place,
      'people asked': _word('split'),
      'answers': _text('answers'),
      'method': _word('method'),
      'control': _word('control'),
      'quantity': _text('quantity'),
      'value': _control_value,
      'reading': reading,
      **_counts('people', 'units', 'pairs', 'n'),
      **_named('resampled', 'coverage'),
    },
  )


def recovery_table(results: Mapping[str, Any]) -> Table:
  """Returns how much of the oracle's advantage each method recovers."""
  return _table(
    'Recovery of simulated people',
    '(accuracy - 50) / (oracle - 50): 1 is all that could be known.',
    rows_of(results, 'recovery'),
    {
      'data': _place,
      **_named('regime', 'answers'),
      'method': _word('method'),
      'recovered': _points('ratio', scale=1),
      'accuracy': _points('accuracy'),
      'oracle': _points('oracle'),
      **_counts('people', 'units'),
      **_named('resampled', 'coverage'),
    },
  )


def habit_tables(results: Mapping[str, Any]) -> list[Table]:
  """Returns what is left out, people's habits, and what a model would serve."""
  return [
    Spec(
      'Methods left out',
      'What these data cannot bear.',
      {'method': ('word', 'method'), 'reason': ('text', 'reason')},
    ).table(rows_of(results, 'left_out')),
    Spec(
      'How people differ in habits',
      'Without any text: which side a person takes, how much length counts, '
      'how often they say that both are alike.',
      {
        'habit': ('word', 'trait'),
        'mean': ('number', 'mean'),
        'spread over people': ('number', 'spread'),
        'unit': ('text', 'unit'),
        'people': ('count', 'people'),
      },
    ).table(rows_of(results, 'traits')),
    Spec(
      'What it would serve',
      'On texts of known stance and truth, with 95 % intervals over what is '
      'counted.',
      {
        'model': ('word', 'method'),
        'quantity': ('text', 'quantity'),
        'value': ('number', 'value'),
        'a fault': ('text', 'flagged'),
        'n': ('count', 'n'),
        'over': ('text', 'unit'),
      },
    ).table([row for row in rows_of(results, 'audit') if 'quantity' in row]),
  ]


def ties_table(results: Mapping[str, Any]) -> Table:
  """Returns the scores of all three answers: one, the other, both alike."""
  return _table(
    'With ties',
    'Scores of the probabilities of all three answers, lower is better: log '
    'loss in nats, and Brier score. Share of ties in points.',
    rows_of(results, 'ties'),
    {
      'data': _place,
      'people asked': _word('split'),
      'answers': _text('answers'),
      'method': _word('method'),
      'log loss': _points('log_loss', scale=1),
      'Brier score': _points('brier', scale=1),
      'ties': _points('tie_share'),
      **_counts('people', 'units', 'judgements', 'seeds'),
      **_named('resampled', 'coverage'),
    },
  )


def controls_summary(results: Mapping[str, Any]) -> Table:
  """Returns how many rows of each control say what."""
  groups: dict[str, list[Row]] = {}
  for row in rows_of(results, 'controls'):
    groups.setdefault(str(row.get('control')), []).append(row)
  lines = []
  for control, members in groups.items():
    said = [reading(row) or 'not known' for row in members]
    if set(said) == {'not known'}:
      said = []
    counts = [f'{said.count(kind)} {kind}' for kind in dict.fromkeys(said)]
    ends = sorted(members, key=lambda row: number(row, 'value'))
    values = list(dict.fromkeys(_control_value(ends[i]) for i in (0, -1)))
    lines.append(
      {
        'control': word(control),
        'rows': len(members),
        'quantity': members[0].get('quantity'),
        'reading': ', '.join(counts) if any(said) else '',
        'value': ' to '.join(value.partition(' [')[0] for value in values),
        'sets': len({_place(row) for row in members}),
      }
    )
  return _table(
    'Controls',
    'What a gain must survive, counted; each with its interval stands with '
    'its data set below. Differences and shares are in points.',
    lines,
    {
      **_named('control', 'quantity'),
      'smallest to largest': _text('value'),
      'reading': _text('reading'),
      'comparisons': _count('rows'),
      'data sets': _count('sets'),
    },
  )


def without(table: Table, column: str) -> Table:
  """Returns a table without a column, as it is if it has none of that name."""
  if column not in table.header:
    return table
  at = table.header.index(column)
  return table._replace(
    header=[*table.header[:at], *table.header[at + 1 :]],
    rows=[[*row[:at], *row[at + 1 :]] for row in table.rows],
  )


def other_table(results: Mapping[str, Any], name: str) -> Table:
  """Returns a table that the page knows nothing of, as it stands."""
  rows = rows_of(results, name)
  columns = list(dict.fromkeys(column for row in rows for column in row))
  cells = {
    column.replace('_', ' '): _word(column)
    if column in _CODED
    else _text(column)
    for column in columns
  }
  title = name.replace('_', ' ').capitalize()
  return _table(title, '', rows, cells)._replace(closed=True)


class Spec(NamedTuple):
  """How a table of results.json is shown.

  Attributes:
    title: heading.
    note: what its numbers are.
    columns: heading -> kind and name of the column; kinds are 'text', 'word'
      (the plain name of a code), 'count', 'percent', and with their intervals
      'points' and 'number'. All columns as they stand if there are none.
  """

  title: str
  note: str = ''
  columns: Mapping[str, tuple[str, str]] = {}

  def table(self, rows: Sequence[Row]) -> Table:
    """Returns the rows as text, without columns that hold nothing."""
    if not self.columns:
      shown = other_table({'tables': {'': rows}}, '')
      return shown._replace(title=self.title, note=self.note)
    kinds: dict[str, Callable[[str], Cell]] = {
      'text': _text,
      'word': _word,
      'count': _count,
      'percent': _percent,
      'points': _points,
      'number': lambda name: _points(name, scale=1),
    }
    cells = {
      head: kinds[kind](name) for head, (kind, name) in self.columns.items()
    }
    return _table(self.title, self.note, rows, cells)


def reading(row: Row) -> str:
  """Returns what a control's value says."""
  control, low = row.get('control'), number(row, 'value_low')
  if 'leak' in row:
    return 'leak' if row['leak'] else 'no leak'
  if control in PERSONAL_CONTROLS and math.isfinite(low):
    return 'personal' if low > 0 else 'not personal'
  return ''


def _control_value(row: Row) -> str:
  if row.get('control') == 'exchange':
    return _plain(row.get('value'))
  difference = 'difference' in str(row.get('quantity'))
  return points(row, 'value', signed=difference)


def _table(
  title: str, note: str, rows: Sequence[Row], cells: Mapping[str, Cell]
) -> Table:
  """Returns rows as text, without the columns that hold nothing."""
  text = [[cell(row) for cell in cells.values()] for row in rows]
  filled = [
    any(line[column] not in ('', MISSING) for line in text)
    for column in range(len(cells))
  ]
  return Table(
    title=title,
    note=note,
    header=[name for name, keep in zip(cells, filled, strict=True) if keep],
    rows=[
      [cell for cell, keep in zip(line, filled, strict=True) if keep]
      for line in text
    ],
    closed=len(text) > _LONG,
  )


def _plain(value: Any) -> str:
  """Returns a value as it stands, numbers with four significant digits."""
  if value is None or (isinstance(value, float) and not math.isfinite(value)):
    return MISSING
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _text(name: str) -> Cell:
  return lambda row: _plain(row.get(name))


def _place(row: Row) -> str:
  return place(row.get('data'), row.get('features'))


def _people_alone(row: Row) -> str:
  low, high = number(row, 'gain_people_low'), number(row, 'gain_people_high')
  if not (math.isfinite(low) and math.isfinite(high)):
    return MISSING
  return f'[{100 * low:+.2f}, {100 * high:+.2f}]'


def _word(name: str) -> Cell:
  return lambda row: word(row.get(name))


def _points(name: str, *, signed: bool = False, scale: float = 100) -> Cell:
  return lambda row: points(row, name, signed=signed, scale=scale)


def _count(name: str) -> Cell:
  def show(row: Row) -> str:
    value = number(row, name)
    return f'{value:,.0f}' if math.isfinite(value) else MISSING

  return show


def _percent(name: str) -> Cell:
  def show(row: Row) -> str:
    value = number(row, name)
    return f'{value:.0%}' if math.isfinite(value) else MISSING

  return show


def _named(*names: str) -> dict[str, Cell]:
  return {name: _text(name) for name in names}


def _counts(*names: str) -> dict[str, Cell]:
  return {name: _count(name) for name in names}
