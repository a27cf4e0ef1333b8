"""The page of memories of people."""

from collections.abc import Mapping
from typing import Any

from experiments.memories import words
from prm_jax.report import figures, kinds, page, tables

_LEAD = kinds.Axis('lead', 'points of choices predicted', 100)
_RIGHT = kinds.Axis('right', 'choices predicted (%)', 100)


def _world(row: tables.Row) -> str:
  return words.WORLDS.get(row['world'], str(row['world']))


def picture(results: Mapping[str, Any]) -> figures.Picture | None:
  """Returns which published finding holds in which world."""
  rows = [
    row
    for row in tables.rows_of(results, 'signs')
    if row['finding'] in words.TOLD
  ]
  if not rows:
    return None
  return kinds.grouped(
    'Published findings, by world; right of the line they hold',
    rows,
    [words.FINDINGS[row['finding']][0] for row in rows],
    [_world(row) for row in rows],
    _LEAD,
  )


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  found: list[page.Section] = []
  drawn = picture(results)
  if drawn:
    note = 'Bars are 95 % intervals over seeds and people.'
    found.append(
      {'title': 'Which holds where', 'note': note, 'pictures': [drawn]}
    )
  rows = tables.rows_of(results, 'lengths')
  if rows:
    pictures = kinds.curves(
      rows,
      list(map(_world, rows)),
      [tables.word(row['method']) for row in rows],
      kinds.Axis('events', 'events of a person'),
      _RIGHT,
    )
    note = (
      'The same people and queries, of whom the latest events are kept. Best: '
      'who has read them and knows the world.'
    )
    found.append(
      {'title': 'Length of history', 'note': note, 'pictures': pictures}
    )
  return found


_COUNTS = {'people': ('count', 'people'), 'seeds': ('count', 'seeds')}
TABLES: dict[str, tables.Spec | None] = {
  'bars': tables.Spec('What was to be shown', 'Set before the study.'),
  'signs': tables.Spec(
    'Which published finding holds where',
    'Points between what is published to be better and what it is held '
    'against, on the same queries.',
    {
      'world': ('word', 'world'),
      'finding': ('word', 'finding'),
      'method': ('word', 'method'),
      'over': ('word', 'over'),
      'lead': ('points', 'lead'),
      'sign': ('text', 'sign'),
      **_COUNTS,
    },
  ),
  'accuracies': tables.Spec(
    'All that may be told, with what it keeps and costs',
    'Percent of queries predicted. Training is of the adapter; core '
    'milliseconds of a person, and of a query.',
    {
      'world': ('word', 'world'),
      'method': ('word', 'method'),
      'predicted': ('points', 'right'),
      'bytes a person': ('count', 'bytes_a_person'),
      'training (ms)': ('number', 'training_core_milliseconds'),
      'query (ms)': ('number', 'query_core_milliseconds'),
      **_COUNTS,
    },
  ),
  'ceilings': tables.Spec(
    'What can be known',
    'Of who knows everybody, exactly; of who has read every history and knows '
    'the world, on the same queries. The best method is chosen on them too.',
    {
      'world': ('word', 'world'),
      'knows everybody': ('percent', 'who_knows_everybody'),
      'has read all': ('points', 'who_read_all'),
      'best method': ('word', 'best'),
      'predicted': ('points', 'best_right'),
      'short of reading': ('points', 'short_of_reading'),
      **_COUNTS,
    },
  ),
  'thinking': tables.Spec(
    'Each kind of thinking on top of each memory',
    'Lead: over the same memory without a trace.',
    {
      'world': ('word', 'world'),
      'memory': ('word', 'base'),
      'trace': ('word', 'trace'),
      'predicted': ('points', 'right'),
      'lead': ('points', 'lead'),
      **_COUNTS,
    },
  ),
  'facts': tables.Spec('How much of what traces state is right'),
  'controls': tables.Spec(
    "Another person's memories", 'Chance is 50; own: with the own instead.'
  ),
  'searched': tables.Spec('Rates and betas', 'Chosen on validation people.'),
  'lengths': None,
}
_READING = (
  (
    'Adapter, events, text, trace',
    'What is known of a person: weights, recalled events, the most frequent '
    'values in words, and what a model inferred of them.',
  ),
  (
    'Points and intervals',
    'Shares are in percent, and differences in points. Brackets hold 95 % '
    'intervals over seeds and people at once.',
  ),
)

PAGE = page.Page(TABLES, sections, _READING, picture)
