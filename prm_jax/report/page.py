"""The report: one HTML file that works offline."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from prm_jax.report import answer, figures

plain_answer = answer.plain_answer

_NAMES = ('data', 'features', 'method', 'split', 'answers')
# Table -> title, what it says, columns (those in points are multiplied).
_TABLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
  'gain': (
    'Gain over the aggregate',
    'Accuracy minus that of one model for everyone on the same rows, in '
    'points, paired over people. The smallest detectable gain would be found '
    'four times in five.',
    (*_NAMES, 'judgements', 'gain', 'macro_gain', 'smallest_detectable_gain',
     'people', 'pairs'),
  ),
  'accuracy': (
    'Accuracy',
    'Per cent, pooled over judgements; macro weighs people alike; the worst '
    'decile of people is chosen on half of their pairs and measured on the '
    'other.',
    (*_NAMES, 'accuracy', 'macro_accuracy', 'worst_decile_accuracy', 'auc',
     'nll', 'ece', 'people', 'pairs', 'seeds'),
  ),
  'controls': (
    'Controls',
    "Swapped people: accuracy lost when each is scored with another's belief. "
    "Population coefficients: lost with the population's, on the same "
    'features. Label flip: share of predictions that reversed answers turn '
    'round. Probes: what format alone can tell.',
    (*_NAMES, 'control', 'quantity', 'value', 'people', 'pairs'),
  ),
  'recovery': (
    'Recovery of simulated people',
    '(accuracy - 0.5) / (oracle - 0.5), where the oracle knows the truth.',
    (*_NAMES, 'regime', 'ratio', 'accuracy', 'oracle', 'people'),
  ),
  'ceilings': (
    'Ceiling of the aggregate',
    'The best that rules which ignore the person could do, from the truth.',
    ('data', 'features', 'seed', 'split', 'linear_ceiling',
     'pairwise_ceiling'),
  ),
  'decodability': (
    'What the features carry',
    'Correlation of each attribute with its reading by a ridge regression.',
    ('data', 'seed', 'attribute', 'correlation_new_prompts',
     'correlation_new_lexicon'),
  ),
  'choices': (
    'What the searches chose',
    'Inside the training rows; every method tried as many configurations.',
    ('data', 'features', 'seed', 'method', 'configurations', 'choice',
     'search_seconds', 'fit_seconds'),
  ),
}  # fmt: skip
_PERCENT = (
  'accuracy', 'macro_accuracy', 'worst_decile_accuracy', 'gain', 'macro_gain',
  'smallest_detectable_gain', 'oracle', 'linear_ceiling', 'pairwise_ceiling',
  'ece',
)  # fmt: skip


def write_page(results: Mapping[str, Any], path: Path) -> None:
  """Writes the page of a study.

  Args:
    results: as in results.json; tables may be missing.
    path: of the HTML file; its folder is made.
  """
  tables = results['tables']
  drawn = {
    'Accuracy against number of answers': figures.learning_curves(
      tables.get('accuracy', [])
    ),
    'Gain of each person, sorted': figures.person_gains(
      tables.get('person_gain', [])
    ),
    'Calibration': figures.calibration(tables.get('calibration', [])),
  }
  pictures = [
    {'title': title, 'data': base64.b64encode(png).decode()}
    for title, png in drawn.items()
    if png is not None
  ]
  shown = [
    {'title': title, 'text': text, **_table(tables[name], columns)}
    for name, (title, text, columns) in _TABLES.items()
    if tables.get(name)
  ]
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('prm_jax.report', '.'),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  text = environment.get_template('page.html').render(
    study=results['study'].replace('_', ' '),
    seeds=len(results['seeds']),
    answer=plain_answer(results),
    pictures=pictures,
    tables=shown,
  )
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text, encoding='utf-8')


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]):
  """Returns headings and cells; a column nobody fills is left out."""
  columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
  return {
    'columns': [column.replace('_', ' ') for column in columns],
    'rows': [[cell(row, column) for column in columns] for row in rows],
  }


def cell(row: Mapping[str, Any], column: str) -> str:
  """Returns a value as it is shown, with its interval where it has one."""
  value = row.get(column)
  if value is None or value != value:
    return '-'
  if not isinstance(value, float):
    return str(value)
  share = row.get('quantity', '').startswith(('accuracy', 'share'))
  percent = column in _PERCENT or (column == 'value' and share)
  scale, digits = (100, 1) if percent else (1, 3)
  if column.endswith('_seconds'):
    digits = 1
  elif column.endswith('gain') or row.get('quantity') == 'accuracy difference':
    digits = 2
  elif column in ('people', 'pairs'):
    digits = 0
  shown = f'{scale * value:.{digits}f}'
  low, high = row.get(f'{column}_low'), row.get(f'{column}_high')
  if low is None or high is None:
    return shown
  return f'{shown} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]'
