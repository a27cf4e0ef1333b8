"""One self-contained HTML page, built from results.json alone.

Three sentences, warnings and notes; one picture that carries them; controls;
then the rest, folded by data set.
"""

import importlib.resources
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from prm_jax.report import (
  discriminators,
  feedback,
  figures,
  hazard,
  lead,
  tables,
  verdicts,
)
from prm_jax.report.answer import plain_answer
from prm_jax.report.details import alarms, details

__all__ = ('alarms', 'details', 'plain_answer', 'write_page')

_KNOWN = (
  'accuracy',
  'gain',
  'controls',
  'recovery',
  'ties',
  'left_out',
  'traits',
  'person_gain',
  'calibration',
  *hazard.TABLES,
  *discriminators.TABLES,
  *feedback.TABLES,
)
_FEW = 24  # with more controls, the page counts them and folds them away
_SENTENCES = 3  # of which each is a paragraph; other answers are lists
_SHOWN = 6  # sentences of other answers, before the rest is folded
_WARNING = 'Warning: '


def write_page(results: Mapping[str, Any], path: str | os.PathLike) -> None:
  """Writes the page, one file that needs no network.

  Args:
    results: the content of results.json; a missing table is left out.
    path: where the page is written; missing folders are made.
  """
  answer = list(results.get('answer') or plain_answer(results))
  said = [line for line in answer if not line.startswith(_WARNING)]
  look = figures.styles(results)
  picture = lead.lead(results)
  folds = _folds(results, look) if picture else []
  rest = _outside(results, [fold['name'] for fold in folds])
  sections = [
    *(_of_people(rest, look) if rest else []),
    *hazard.sections(results),
    *discriminators.sections(results),
    *feedback.sections(results),
  ]
  text = _template().render(
    study=str(results.get('study', 'study')).replace('_', ' '),
    seeds=results.get('seeds') or [],
    notes=results.get('notes') or [],
    answer=said,
    three=picture is not None and len(said) <= _SENTENCES,
    shown=_SHOWN,
    warnings=[line for line in answer if line.startswith(_WARNING)],
    lead=picture,
    controls=_controls(results),
    folds=folds,
    figures=[section for section in sections if section['pictures']],
    reading=hazard.READING if hazard.is_hazard(results) else (),
    tables=[table for table in _other_tables(results, rest) if table.rows],
    config=json.dumps(results.get('config') or {}, indent=2, sort_keys=True),
  )
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text, encoding='utf-8')


def _template() -> jinja2.Template:
  source = importlib.resources.files('prm_jax.report').joinpath('page.html')
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.from_string(source.read_text(encoding='utf-8'))


def _folds(
  results: Mapping[str, Any], look: Mapping[str, figures.Style]
) -> list[dict[str, Any]]:
  """Returns what stands folded under each data set."""
  folds = []
  for name, (counts, *sentences) in details(results):
    part = _part(results, lambda row, name=name: verdicts.where(row) == name)
    folds.append(
      {
        'name': name,
        'counts': counts,
        'sentences': sentences,
        'figures': [s for s in _of_people(part, look) if s['pictures']],
        'tables': [
          tables.without(table, 'data')
          for table in _of_set(results, part)
          if table.rows
        ],
      }
    )
  return folds


def _part(results: Mapping[str, Any], kept) -> dict[str, Any]:
  """Returns results with the rows that are kept, of tables that say whose.

  Rows are in the order in which splits are asked, then by number of answers.
  """

  def place(row):
    return verdicts.rank(row.get('split')), figures.answer_rank(row)

  return {
    'tables': {
      name: sorted((row for row in rows if kept(row)), key=place)
      for name, rows in (results.get('tables') or {}).items()
      if rows and all('data' in row for row in rows)
    }
  }


def _outside(
  results: Mapping[str, Any], folded: list[str]
) -> Mapping[str, Any] | None:
  """Returns results without the rows that stand under a data set."""
  if not folded:
    return results
  part = _part(results, lambda row: verdicts.where(row) not in folded)
  return {'tables': {**(results.get('tables') or {}), **part['tables']}}


def _controls(results: Mapping[str, Any]) -> tables.Table | None:
  """Returns the controls, counted if there are many; None if there are none."""
  rows = tables.rows_of(results, 'controls')
  if not rows:
    return None
  if len(rows) > _FEW:
    return tables.controls_summary(results)
  shown = tables.controls_table(results)
  alone = len({verdicts.where(row) for row in rows}) == 1
  return tables.without(shown, 'data') if alone else shown


def _of_set(
  results: Mapping[str, Any], part: Mapping[str, Any]
) -> list[tables.Table]:
  """Returns the tables of one data set."""
  shown = [
    tables.gain_table(part),
    tables.accuracy_table(part),
    tables.ties_table(part),
    tables.recovery_table(part),
  ]
  if len(tables.rows_of(results, 'controls')) > _FEW:
    shown.append(tables.controls_table(part)._replace(title='All controls'))
  return [
    *shown,
    *(
      tables.other_table(part, name)
      for name in part['tables']
      if name not in _KNOWN
    ),
  ]


def _other_tables(
  results: Mapping[str, Any], rest: Mapping[str, Any] | None
) -> list[tables.Table]:
  """Returns the tables that stand under no data set."""
  rest = rest or {}
  return [
    *hazard.shown_tables(results),
    *discriminators.shown_tables(results),
    *feedback.shown_tables(results),
    tables.gain_table(rest),
    tables.accuracy_table(rest),
    tables.ties_table(rest),
    tables.recovery_table(rest),
    *tables.habit_tables(results),
    *(
      tables.other_table(rest, name)
      for name in rest.get('tables') or {}
      if name not in _KNOWN
    ),
  ]


def _of_people(
  results: Mapping[str, Any], look: Mapping[str, figures.Style]
) -> list[dict[str, Any]]:
  """Returns the figures of personal models with their headings."""
  found = [
    {
      'title': 'Accuracy against the number of answers',
      'note': 'Bands are 95 % intervals, over what the table says.',
      'pictures': figures.answers_pictures(results, look),
    },
    {
      'title': 'Gain of each person',
      'note': 'People sorted by their gain over one model for everyone: above '
      'zero the personal model is better for them, below zero it is worse.',
      'pictures': figures.gain_pictures(results, look),
    },
    {
      'title': 'Calibration',
      'note': 'On the dashed line the model is right as often as it says. '
      'Larger marks stand for more pairs.',
      'pictures': figures.calibration_pictures(results, look),
    },
  ]
  curve = tables.rows_of(results, 'curve')
  utility = tables.rows_of(results, 'utility')
  for heading, rows, value, label, scale in (
    ('Accuracy, question by question', curve, 'accuracy', 'accuracy (%)', 100),
    ('What choosing loses', curve, 'regret', 'regret (share of the gap)', 1),
    ('What choosing gains', utility, 'recovered', 'share of the gap', 1),
  ):
    found.append(
      {
        'title': heading,
        'note': 'Bands are 95 % intervals over people.',
        'pictures': figures.curve_pictures(rows, value, label, scale=scale),
      }
    )
  return found
