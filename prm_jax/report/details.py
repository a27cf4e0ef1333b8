"""What stands behind the three sentences: comparison by comparison."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prm_jax.report import phrases, tables, verdicts

Row = tables.Row
Comparison = verdicts.Comparison

# Exchanging the answers of a pair must change nothing but the rounding.
_EXCHANGE_LIMIT = 1e-3


def details(results: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
  """Returns each data set with its sentences: counts first, then by split.

  Args:
    results: the content of results.json.
  """
  found = verdicts.comparisons(results, verdicts.personal_rows(results))
  said = []
  for name, members in verdicts.by_set(found).items():
    clauses: dict[tuple, list[str]] = {}
    for one in members:
      key = (one.row.get('split'), one.row.get('answers', 'all'))
      clauses.setdefault(key, []).append(_clause(one))
    sentences = [
      phrases.capital(f'{tables.word(split)}, {phrases.known(answers)}: ')
      + f'{"; ".join(words)}.'
      for (split, answers), words in sorted(
        clauses.items(), key=lambda item: verdicts.rank(item[0][0])
      )
    ]
    said.append((name, [_counts(members), *sentences]))
  return said


def _clause(one: Comparison) -> str:
  """Returns what one comparison shows, with every number."""
  row = one.row
  method = tables.word(row.get('method'))
  baseline = tables.word(row.get('baseline', 'aggregate'))
  gain = phrases.interval(row, 'gain')
  shown = ', '.join(
    f'against {tables.word(name)} {phrases.interval(test, "value")}'
    for name, test in one.tests.items()
  )
  habits = ''
  if one.beyond is not None:
    habits = (
      f'; over {tables.word(verdicts.TRAITS)} '
      f'{phrases.interval(one.beyond, "gain")}'
    )
  if one.kind == 'unknown':
    why = 'nothing varies from person to person'
    if tables.number(row, 'people') < 2:
      why = 'there is one person alone'
    clause = f'{method}: {gain} over {baseline}, of which nothing can be said'
    return f'{clause}: {why}'
  if one.kind in verdicts.GAINS:
    words = {
      'personal': f', and the gain is personal ({shown})',
      'no gain beyond traits': ', but no gain beyond habits (side, length, '
      'ties) is shown',
      'not personal': f', but the gain is not personal ({shown})',
      'not shown': f', but it is not shown that it is personal ({shown})',
      'untested': ', but whether the gain is personal was not fully tested',
    }[one.kind]
    return f'{method} gains {gain} over {baseline}{words}{habits}'
  if one.kind == 'loss':
    clause = f'{method} is worse than {baseline}, {gain}'
    if one.personality == 'not personal':
      clause += f', and what it says is not personal ({shown})'
    return clause + habits
  clause = f'{method}: no gain is shown over {baseline}, {gain}'
  detectable = tables.number(row, 'smallest_detectable_gain')
  if math.isfinite(detectable):
    clause += (
      f' (a gain of at least {100 * detectable:.2f} points would have been '
      'seen with 80 % power)'
    )
  if one.personality == 'not personal':
    clause += f', and the gain is not personal ({shown})'
  return clause + habits


def _counts(found: Sequence[Comparison]) -> str:
  """Returns how many comparisons show what."""
  kinds = [one.kind for one in found]
  counts = ', '.join(
    f'{kinds.count(kind)} of {len(kinds)} show {text}'
    for kind, text in verdicts.KINDS.items()
    if kind in kinds
  )
  return f'{counts}.'


# ----------------------------------------------------------------- warnings


def alarms(controls: Sequence[Row]) -> list[str]:
  """Returns warnings about the data and the models themselves.

  Args:
    controls: rows of results.json.
  """
  found = []
  for row in controls:
    where = verdicts.where(row)
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
        f'{tables.word(row.get("method"))} predicts, by up to '
        f'{row["value"]:.2g}.'
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
