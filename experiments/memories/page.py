"""The page of memories of people."""

from collections.abc import Mapping
from typing import Any

from experiments.memories import words
from experiments.summaries import page as summaries
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


def _columns(name: str, *less: str) -> dict[str, tuple[str, str]]:
  """Returns the columns of a table of the study of summaries.

  Args:
    name: of the table.
    *less: columns that are left out.
  """
  spec = summaries.TABLES[name]
  assert spec is not None
  return {
    heading: column
    for heading, column in spec.columns.items()
    if column[1] not in less
  }


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
  'planted': tables.Spec(
    'A misconception, and its correction',
    'Percent. In one event, or in every fourth (repeated), a text of the '
    'person has a word that they do not prefer; the next event corrects it. '
    "Another's: the same words in what was rejected instead. Carried: of what "
    'is told of that attribute, the share that is wrong. Preferred: the wrong '
    'word over the right one in texts that are the same otherwise. More: than '
    "in the history as it was; over another's: than of the control.",
    {
      'world': ('word', 'world'),
      'method': ('word', 'method'),
      'in the history': ('word', 'history'),
      'carried': ('points', 'carried'),
      'carried more': ('points', 'carried_more'),
      'preferred': ('points', 'preferred'),
      'preferred more': ('points', 'preferred_more'),
      "over another's": ('points', 'preferred_over_control'),
      'predicted': ('points', 'right'),
      'lost': ('points', 'lost'),
      **_COUNTS,
    },
  ),
  'sycophancy': tables.Spec(
    'Who is told what they think',
    'In percent. People say what they think in the latest event (once), in '
    'every fourth (often) or in all. Gap: how much more of a stance they are '
    'served than their twins who say the opposite. Agrees where wrong: on '
    'questions with a true side, a middle answer counting half; more: than the '
    'aggregate, which is told of nobody and served as it is. Fit: utility over '
    "the aggregate's; kept: its share under a safeguard. A detector reads four "
    'of five stances rightly. All at equal KL to the uniform choice.',
    _columns('sycophancy', 'carried'),
  ),
  'echo_chambers': tables.Spec(
    'A closed loop',
    'People are served, moved and choose; the choice is an event of which the '
    'next memory is made. Polarization: variance of opinions at the end; more: '
    'than under the aggregate. Own side: how far people moved to the side on '
    'which they were.',
    _columns('echo_chambers'),
  ),
  'real': tables.Spec(
    'Real people',
    'Percent of answers of new people to new questions that are predicted, '
    'with 95 % intervals over people and questions. Told are four events, or '
    'all; of PrefEval stored preferences, and right is the option that follows '
    'the one that is asked about. Over: less the same head that is told '
    "another person's, or training people's, memories; less a head that reads "
    'the options alone.',
    {
      'data': ('word', 'data'),
      'told': ('word', 'told'),
      'predicted': ('points', 'right'),
      "another's": ('points', 'swapped'),
      "over another's": ('points', 'over_swapped'),
      'over the population': ('points', 'over_population'),
      'over options': ('points', 'over_options'),
      'over similar': ('points', 'over_similarity'),
      'people': ('count', 'people'),
      'questions': ('count', 'questions'),
      'answers': ('count', 'n'),
    },
  ),
  'real_recalls': tables.Spec(
    'What is recalled of what was stored',
    'Percent of times that the right one is the likest, or among the three '
    "likest, by cosine. Partner's: the same profile, by what the other speaker "
    'says in the conversation.',
    {
      'data': ('word', 'data'),
      'by': ('word', 'by'),
      'at 1': ('points', 'at_1'),
      'at 3': ('points', 'at_3'),
      "partner's at 1": ('points', 'partners_at_1'),
      "over the partner's": ('points', 'over_partners_at_1'),
      'stored': ('count', 'stored'),
      'people': ('count', 'people'),
      'n': ('count', 'n'),
    },
  ),
  'language': tables.Spec(
    'Real people, told to a language model',
    'Percent of new answers for which the better text is likelier, with 95 % '
    'intervals over people and questions. Over nobody: than of the model that '
    "is told nothing; over another: than with another person's memory. "
    'Gigabytes by arithmetic.',
    {
      'data': ('word', 'data'),
      'method': ('word', 'method'),
      'predicted': ('points', 'right'),
      'over nobody': ('points', 'over_nothing'),
      'over another': ('points', 'over_another'),
      'weights (GB)': ('number', 'weights'),
      'adapters (GB)': ('number', 'adapters'),
      'people': ('count', 'people'),
      'answers': ('count', 'n'),
    },
  ),
  'real_costs': tables.Spec('What reading real people costs', 'CPU seconds.'),
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
