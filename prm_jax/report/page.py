"""One self-contained HTML page, built from results.json alone.

Three sentences, warnings and notes; one picture that carries them; controls;
then the rest, folded by data set. A study adds tables and pictures of its own.
"""

import importlib.resources
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2

from prm_jax import places
from prm_jax.report import figures, lead, tables, verdicts
from prm_jax.report.answer import plain_answer
from prm_jax.report.details import alarms, details

__all__ = ('Page', 'alarms', 'details', 'plain_answer', 'write_page')

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
  'audit',
)
_FEW = 24  # with more controls, the page counts them and folds them away
_SENTENCES = 3  # of which each is a paragraph; other answers are lists
_SHOWN = 6  # sentences of other answers, before the rest is folded
_WARNING = 'Warning: '


Section = dict[str, Any]


class Page(NamedTuple):
  """What a study's page shows besides what every page knows.

  Attributes:
    specs: table of results.json -> how it is shown; None if it is drawn alone.
    sections: `(results)` -> pictures, as 'title', 'note' and 'pictures'.
    reading: terms and what they mean, in place of those of personal models.
    picture: `(results)` -> the one picture that carries the answer; the first
      that the page shows if None.
  """

  specs: Mapping[str, tables.Spec | None] = {}
  sections: Callable[[Mapping[str, Any]], Sequence[Section]] = lambda _: ()
  reading: Sequence[tuple[str, str]] = ()
  picture: Callable[[Mapping[str, Any]], figures.Picture | None] | None = None


PLAIN = Page()


def write_page(
  results: Mapping[str, Any], path: str | os.PathLike, own: Page = PLAIN
) -> None:
  """Writes the page, one file that needs no network.

  Args:
    results: the content of results.json; a missing table is left out.
    path: where the page is written; missing folders are made.
    own: what the study adds.
  """
  answer = list(results.get('answer') or plain_answer(results))
  said = [line for line in answer if not line.startswith(_WARNING)]
  look = figures.styles(results)
  picture = lead.lead(results)
  folds = _folds(results, look, own) if picture else []
  rest = _outside(results, [fold['name'] for fold in folds])
  sections = [*(_of_people(rest, look) if rest else []), *own.sections(results)]
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
    reading=own.reading,
    tables=[table for table in _other_tables(results, rest, own) if table.rows],
    config=json.dumps(results.get('config') or {}, indent=2, sort_keys=True),
  )
  with places.whole_file(path) as file:
    file.write(text.encode('utf-8'))


def _template() -> jinja2.Template:
  source = importlib.resources.files('prm_jax.report').joinpath('page.html')
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.from_string(source.read_text(encoding='utf-8'))


def shown_tables(results: Mapping[str, Any], own: Page) -> list[tables.Table]:
  """Returns the tables that a study's page adds, in its order."""
  return [
    spec.table(tables.rows_of(results, name))
    for name, spec in own.specs.items()
    if spec is not None
  ]


def all_tables(results: Mapping[str, Any], own: Page) -> list[tables.Table]:
  """Returns all tables, of all data sets at once."""
  shown = _other_tables(results, results, own)
  at = sum(spec is not None for spec in own.specs.values())
  return [*shown[:at], tables.controls_table(results), *shown[at:]]


def picture(results: Mapping[str, Any], own: Page) -> figures.Picture | None:
  """Returns the one picture of some results; None if they have none."""
  if own.picture:
    return own.picture(results)
  found = lead.lead(results)
  if found:
    return found.wide
  look = figures.styles(results)
  sections = [*own.sections(results), *_of_people(results, look)]
  return next((s['pictures'][0] for s in sections if s['pictures']), None)


def _folds(
  results: Mapping[str, Any], look: Mapping[str, figures.Style], own: Page
) -> list[Section]:
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
          for table in _of_set(results, part, own)
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
  results: Mapping[str, Any], part: Mapping[str, Any], own: Page
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
      if name not in (*_KNOWN, *own.specs)
    ),
  ]


def _other_tables(
  results: Mapping[str, Any], rest: Mapping[str, Any] | None, own: Page
) -> list[tables.Table]:
  """Returns the tables that stand under no data set."""
  rest = rest or {}
  return [
    *shown_tables(results, own),
    tables.gain_table(rest),
    tables.accuracy_table(rest),
    tables.ties_table(rest),
    tables.recovery_table(rest),
    *tables.habit_tables(results),
    *(
      tables.other_table(rest, name)
      for name in rest.get('tables') or {}
      if name not in (*_KNOWN, *own.specs)
    ),
  ]


def _of_people(
  results: Mapping[str, Any], look: Mapping[str, figures.Style]
) -> list[Section]:
  """Returns the figures of personal models with their headings."""
  return [
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
