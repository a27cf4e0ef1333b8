"""One self-contained HTML page, built from results.json alone."""

import importlib.resources
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from prm_jax.report import discriminators, feedback, figures, hazard, tables

Row = tables.Row

_KNOWN = (
  'accuracy',
  'gain',
  'controls',
  'recovery',
  'person_gain',
  'calibration',
  *hazard.TABLES,
  *discriminators.TABLES,
  *feedback.TABLES,
)
# Exchanging the answers of a pair must change nothing but the rounding.
_EXCHANGE_LIMIT = 1e-3


def plain_answer(results: Mapping[str, Any]) -> list[str]:
  """Returns what the numbers say, in plain sentences.

  First how many comparisons show what, then a sentence for each data set and
  split, with all that is known of each person. A gain is called personal only
  if another person's coefficients and the population's are both worse, with
  intervals above zero.

  Args:
    results: the content of results.json; reads its tables `gain`, whose rows
      have the method's `role`, and `controls`.
  """
  rows = [
    row
    for row in tables.rows_of(results, 'gain')
    if row.get('role') == 'personal' and row.get('judgements', 'all') == 'all'
  ]
  if not rows:
    return [
      'These results compare no personal model with one model for everyone.'
    ]
  controls = tables.rows_of(results, 'controls')
  groups: dict[tuple, list[str]] = {}
  kinds: dict[str, list[str]] = {}
  for row in figures.most_answers(rows):
    kind, clause = _verdict(row, controls)
    kinds.setdefault(_where(row), []).append(kind)
    group = figures.title(next(iter(figures.grouped([row]))))
    groups.setdefault((group, row.get('answers', 'all')), []).append(clause)
  sentences = [
    f'{group}, {_known_of_person(answers)}: {"; ".join(clauses)}.'
    for (group, answers), clauses in groups.items()
  ]
  return [_headline(kinds), *alarms(controls), *sentences]


def write_page(results: Mapping[str, Any], path: str | os.PathLike) -> None:
  """Writes the page, one file that needs no network.

  Args:
    results: the content of results.json; a missing table is left out.
    path: where the page is written; missing folders are made.
  """
  shown = [
    *hazard.shown_tables(results),
    *discriminators.shown_tables(results),
    *feedback.shown_tables(results),
    tables.controls_table(results),
    tables.gain_table(results),
    tables.accuracy_table(results),
    tables.recovery_table(results),
    *(
      tables.other_table(results, name)
      for name in results.get('tables') or {}
      if name not in _KNOWN
    ),
  ]
  text = _template().render(
    study=str(results.get('study', 'study')).replace('_', ' '),
    seeds=results.get('seeds') or [],
    notes=results.get('notes') or [],
    answer=results.get('answer') or plain_answer(results),
    figures=_figures(results),
    reading=hazard.READING if hazard.is_hazard(results) else (),
    tables=[table for table in shown if table.rows],
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


def _figures(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  found = [
    {
      'title': 'Accuracy against the number of answers',
      'note': 'Bands are 95 % intervals, over what the table says.',
      'pictures': figures.answers_pictures(results),
    },
    {
      'title': 'Gain of each person',
      'note': 'People sorted by their gain over the aggregate: above zero the '
      'personal model is better for them, below zero it is worse.',
      'pictures': figures.gain_pictures(results),
    },
    {
      'title': 'Calibration',
      'note': 'On the dashed line the model is right as often as it says. '
      'Larger marks stand for more pairs.',
      'pictures': figures.calibration_pictures(results),
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
  found += hazard.sections(results)
  found += discriminators.sections(results)
  found += feedback.sections(results)
  return [section for section in found if section['pictures']]


# ------------------------------------------------------------------ sentences


def _verdict(row: Row, controls: Sequence[Row]) -> tuple[str, str]:
  """Returns what one comparison shows, as a kind and in words."""
  method, baseline = row.get('method'), row.get('baseline', 'the aggregate')
  low, high = tables.number(row, 'gain_low'), tables.number(row, 'gain_high')
  gain = _interval(row, 'gain')
  if not (math.isfinite(low) and math.isfinite(high)):
    why = 'nothing varies from person to person'
    if tables.number(row, 'people') < 2:
      why = 'there is one person alone'
    clause = f'{method}: {gain} over {baseline}, of which nothing can be said'
    return 'unknown', f'{clause}: {why}'
  kind, words = _personality(row, controls)
  if high < 0:
    clause = f'{method} is worse than {baseline}, {gain}'
    if kind == 'not personal':
      clause += words.replace('but the gain', 'and what it says', 1)
    return 'loss', clause
  if low > 0:
    return kind, f'{method} gains {gain} over {baseline}{words}'
  clause = f'{method}: no gain is shown over {baseline}, {gain}'
  detectable = tables.number(row, 'smallest_detectable_gain')
  if math.isfinite(detectable):
    clause += (
      f' (a gain of at least {100 * detectable:.2f} points would have been '
      'seen with 80 % power)'
    )
  if kind == 'not personal':
    clause += words.replace('but', 'and', 1)
  return 'none', clause


def _personality(row: Row, controls: Sequence[Row]) -> tuple[str, str]:
  """Returns whether a gain is the person's own, as a kind and in words."""
  same = ('data', 'features', 'method', 'split')
  known = [
    control
    for control in controls
    if control.get('control') in tables.PERSONAL_CONTROLS
    and all(control.get(name) == row.get(name) for name in same)
  ]
  # With the same number of answers if there is such a control, else with most.
  known.sort(
    key=lambda c: (
      c.get('answers') == row.get('answers'),
      figures.answer_rank(c),
    )
  )
  tests = {str(control['control']): control for control in known}
  shown = ', '.join(
    f'against {tables.word(name)} {_interval(test, "value")}'
    for name, test in tests.items()
  )
  unsure = [t for t in tests.values() if not tables.number(t, 'value_low') > 0]
  gain = tables.number(row, 'gain')
  if unsure and tables.number(row, 'gain_low') > 0 and all(
    tables.number(t, 'value') > gain / 4 for t in unsure
  ):  # fmt: skip
    return 'not shown', f', but it is not shown that it is personal ({shown})'
  if unsure:
    return 'not personal', f', but the gain is not personal ({shown})'
  if len(tests) < len(tables.PERSONAL_CONTROLS):
    return 'untested', ', but whether the gain is personal was not fully tested'
  return 'personal', f', and the gain is personal ({shown})'


def _interval(row: Row, name: str) -> str:
  value, _, interval = tables.points(row, name, signed=True).partition(' ')
  return f'{value} points {interval}'.rstrip()


def _known_of_person(answers: Any) -> str:
  if answers == 'all':
    return 'with all their answers'
  return f'with {answers} answer{"" if answers == 1 else "s"} of each'


def _headline(kinds: Mapping[str, Sequence[str]]) -> str:
  """Returns the counts of what was shown, by data set."""
  words = {
    'personal': 'a gain that is personal',
    'not personal': 'a gain that is not personal',
    'not shown': 'a gain that is not shown to be personal',
    'untested': 'a gain that was not fully tested for being personal',
    'none': 'no gain',
    'loss': 'a loss',
    'unknown': 'nothing that could be measured',
  }
  counts = [
    f'{where}: '
    + ', '.join(
      f'{found.count(kind)} of {len(found)} show {text}'
      for kind, text in words.items()
      if kind in found
    )
    + '.'
    for where, found in kinds.items()
  ]
  total = sum(map(len, kinds.values()))
  return ' '.join(
    [
      'Do personal reward models work better than one model for everyone?',
      *counts,
      'A comparison is one personal method on one split, with all that is '
      f'known of each person; if nothing had any effect, {total * 0.025:.1f} '
      f'of {total} would be expected to show a gain by chance.',
    ]
  )


def _where(row: Row) -> str:
  return figures.title((str(row.get('data')), str(row.get('features', '')), ''))


def alarms(controls: Sequence[Row]) -> list[str]:
  """Returns warnings about the data and the models themselves.

  Args:
    controls: rows of results.json.
  """
  found = []
  for row in controls:
    where = _where(row)
    if row.get('leak'):
      found.append(
        f'Warning: a leak in {where}. {_sentence(row)} '
        f'{tables.points(row, "value")}; accuracies on it are not to be '
        'trusted.'
      )
    if (
      row.get('control') == 'exchange'
      and tables.number(row, 'value') > _EXCHANGE_LIMIT
    ):
      found.append(
        f'Warning: on {where}, exchanging the two answers changes what '
        f'{row.get("method")} predicts, by up to {row["value"]:.2g}.'
      )
  return list(dict.fromkeys(found))


def _sentence(row: Row) -> str:
  mark = row.get('mark')
  return {
    'slot_probe': 'Format tells the slots apart, accuracy',
    'preference_probe': 'Format tells the choice, accuracy above that of the '
    'length of the words',
    'mark_probe': f'A mark is on one side ({mark}), share of its texts',
    'repeated_judgements': 'People judged nearly the same two texts again, '
    'share of judgements',
    'copied_people': 'People gave the answers of somebody else, share of '
    'judgements',
    'shared_topics': 'Topics hold the texts of another one, share of topics',
  }.get(str(row.get('control')), str(row.get('control')))
