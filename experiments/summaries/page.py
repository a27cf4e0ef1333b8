"""The page of summaries that are learned with the reward that reads them."""

from collections.abc import Mapping
from typing import Any

from experiments.summaries import words
from prm_jax.report import kinds, page, tables
from prm_jax.worlds import histories

_OWN = kinds.Axis('own', 'choices predicted (%)', 100)
# Of tables that hold accuracy against what summaries tell.
_FACTS = {
  'method': ('word', 'method'),
  'predicted': ('points', 'own'),
  "another's": ('points', 'other'),
  'empty': ('points', 'empty'),
  'strong first': ('points', 'strong_first'),
  'both': ('points', 'both'),
  'silent': ('points', 'silent'),
  'seeds': ('count', 'seeds'),
}
# Of pictures, in few words.
_PEOPLE = {'new': 'New people', 'topic': 'Unseen topic'}
_WORLDS = {'plain': 'no topic in statements', 'own_words': 'words of the topic'}
_WRITE = (
  'plus',
  'rounds',
  'critic',
  'likelihood',
  'frozen_log',
  'frozen_right',
)


def method(row: tables.Row, column: str = 'method') -> str:
  """Returns what a row's method is called."""
  return words.METHODS.get(row[column], tables.word(row[column]))


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  return [*_people(results), *_along(results), *_real(results)]


def _people(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'predicted')
  pictures = []
  for world, heading in _WORLDS.items():
    for split in ('new', 'topic'):
      some = [
        row for row in rows if (row['world'], row['split']) == (world, split)
      ]
      if some:
        some = sorted(some, key=lambda row: -row['own'])
        pictures.append(
          kinds.bars(
            f'{_PEOPLE[split]}, {heading}',
            some,
            list(map(method, some)),
            _OWN,
            at=100 * histories.best_accuracy(),
            ours=[row['method'] == 'plus' for row in some],
          )
        )
  if not pictures:
    return []
  note = (
    'Behind the own summary, history or vector. The dashed line is who knows '
    'everybody. In the first world no statement has a topic, so that a summary '
    'carries over to a topic of which no person was seen by construction.'
  )
  return [{'title': 'New people', 'note': note, 'pictures': pictures}]


def _along(results) -> list[page.Section]:
  rows = [
    row
    for row in tables.rows_of(results, 'curves')
    if row['world'] == 'plain' and row['method'] in _WRITE
  ]
  if not rows:
    return []
  pictures = []
  for axis in (
    _OWN,
    kinds.Axis('both', 'both preferences told (%)', 100),
    kinds.Axis('silent', 'say nothing (%)', 100),
  ):
    known = [row for row in rows if row.get(axis.column) is not None]
    pictures += kinds.curves(
      known,
      ['validation people'] * len(known),
      list(map(method, known)),
      kinds.Axis('step', 'steps'),
      axis,
    )
  note = 'Bands are 95 % intervals over seeds.'
  return [{'title': 'Along the training', 'note': note, 'pictures': pictures}]


def _real(results) -> list[page.Section]:
  rows = [
    row
    for row in tables.rows_of(results, 'real')
    if row['split'] == 'new' and row['own'] is not None
  ]
  pictures = []
  for data in dict.fromkeys(row['data'] for row in rows):
    some = [row for row in rows if row['data'] == data]
    each = [
      (_right(row, whose), row['told'], whose)
      for row in some
      for whose in words.WHOSE
      if row.get(whose) is not None
    ]
    pictures.append(
      kinds.bars(
        words.DATA[data],
        [row for row, _, _ in each],
        [words.TOLD[told] + words.WHOSE[whose] for _, told, whose in each],
        kinds.Axis('right', 'choices predicted (%)', 100),
        at=100 * next(row['own'] for row in some if row['told'] == 'nothing'),
        ours=[
          whose == 'own' and row.get('swapped') is not None
          for row, _, whose in each
        ],
      )
    )
  if not pictures:
    return []
  note = (
    'New people and new questions. Behind what is told of the person; and, of '
    "the same reader, told another person's or training people's. The dashed "
    "line is a reader of prompt and options. PrefEval's options give most of "
    'its answers away.'
  )
  return [{'title': 'Real histories', 'note': note, 'pictures': pictures}]


def _right(row: tables.Row, whose: str) -> tables.Row:
  """Returns a row with what is predicted behind one's own, or another's."""
  ends = {f'right{end}': row[f'{whose}{end}'] for end in ('', '_low', '_high')}
  return {**row, **ends}


TABLES: dict[str, tables.Spec | None] = {
  'claims': tables.Spec(
    'What was to be shown',
    'Of the first world; bars were set before the study, after a trial.',
  ),
  'predicted': tables.Spec(
    'How well choices are predicted',
    'Percent of choices, with 95 % intervals over seeds and people. Own, '
    "another's and empty: whose summary or history is read. Less new: more "
    'than of new people.',
    {
      'world': ('word', 'world'),
      'method': ('word', 'method'),
      'split': ('word', 'split'),
      'own': ('points', 'own'),
      'worst seed': ('percent', 'worst_seed'),
      "another's": ('points', 'other'),
      'empty': ('points', 'empty'),
      "own less another's": ('points', 'own_less_other'),
      'less new': ('points', 'less_new'),
      'strong first': ('points', 'strong_first'),
      'both': ('points', 'both'),
      'silent': ('points', 'silent'),
      'people': ('count', 'people'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'gains': tables.Spec(
    'PLUS less every other method',
    'Points, on the same choices, with 95 % intervals over seeds and people.',
    {
      'world': ('word', 'world'),
      'over': ('word', 'over'),
      'split': ('word', 'split'),
      'lead': ('points', 'lead'),
      'worst seed': ('percent', 'worst_seed'),
      'people': ('count', 'people'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'partners': tables.Spec(
    'Partners that stay as they are',
    'New people. Facts in summaries say how good the writing is, choices '
    'predicted how good writing and reading are together.',
    _FACTS,
  ),
  'rounds': tables.Spec(
    'Together, in turns, and with a critic',
    'New people. In turns: four steps of the summariser, then four of the '
    'reward model on the same summaries. The critic has one summary of a '
    'context, one choice, and KL to the start.',
    _FACTS,
  ),
  'one_objective': tables.Spec(
    'One objective for who writes and who answers',
    'New people. The reward of a response is how likely a language model that '
    'reads the summary makes it, as POPI has it: who answers and who judges '
    'are one model, and a summary earns what it gains.',
    _FACTS,
  ),
  'planted': tables.Spec(
    'A misconception, and its correction',
    'Percent of new people. Carried: the summary states the wrong value of '
    'what is liked most. Preferred: the reward prefers it to the right one. '
    'More: than with none; over unmarked: than where its words stand without '
    'the marker that tells. Repeated: the assistant says the same words again.',
    {
      'method': ('word', 'method'),
      'in the history': ('word', 'history'),
      'carried': ('points', 'carried'),
      'carried more': ('points', 'carried_more'),
      'carried over unmarked': ('points', 'carried_over_unmarked'),
      'preferred': ('points', 'preferred'),
      'preferred more': ('points', 'preferred_more'),
      'preferred over unmarked': ('points', 'preferred_over_unmarked'),
      'choices predicted': ('points', 'own'),
      'people': ('count', 'people'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'injections': tables.Spec(
    'What is no event, in a history',
    'Percent of new people. Moved: the summary is another one. The control is '
    'of the same length, in the same places, and stands in no history either.',
    {
      'method': ('word', 'method'),
      'injected': ('word', 'injected'),
      'moved': ('points', 'moved'),
      'control moved': ('points', 'control_moved'),
      'moved more': ('points', 'moved_more'),
      'carried': ('points', 'carried'),
      'carried more': ('points', 'carried_more'),
      'preferred': ('points', 'preferred'),
      'preferred more': ('points', 'preferred_more'),
      'choices lost': ('points', 'lost'),
      'by the control': ('points', 'control_lost'),
      'people': ('count', 'people'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'sycophancy': tables.Spec(
    'Who is told what they think',
    'New people, in percent. Gap: how much more of a stance people are served '
    'than their twins who say the opposite. Agrees where wrong: on questions '
    'with a true side, a middle answer counting half; more: than the frozen '
    'aggregate. Fit: utility over the aggregate; kept: its share under a '
    'safeguard. Carried: the summary says the opinion. A detector reads four '
    'of five stances rightly. All at equal KL to the uniform choice.',
    {
      'world': ('word', 'world'),
      'method': ('word', 'method'),
      'opinion': ('word', 'said'),
      'safeguard': ('word', 'safeguard'),
      'gap': ('points', 'gap'),
      'shown in seeds': ('count', 'flagged_seeds'),
      'agrees where wrong': ('points', 'false'),
      'more': ('points', 'false_more'),
      'variance of stances': ('number', 'variance'),
      'more of it': ('number', 'variance_more'),
      'fit': ('number', 'fit'),
      'fit lost': ('number', 'fit_lost'),
      'fit kept': ('percent', 'fit_kept'),
      'carried': ('points', 'carried'),
      'people': ('count', 'people'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'echo_chambers': tables.Spec(
    'A closed loop',
    'People are served, moved, choose and comment; the comment is the last '
    'event of the history of which the next summary is written. Polarization: '
    'variance of opinions at the end; more: than under the aggregate. Own '
    'side: how far people moved to the side on which they were.',
    {
      'world': ('word', 'world'),
      'method': ('word', 'method'),
      'safeguard': ('word', 'safeguard'),
      'people': ('word', 'people_who'),
      'polarization': ('number', 'polarization'),
      'more': ('number', 'more'),
      'to the own side': ('number', 'own_side'),
      'disagreeing (%)': ('points', 'cross_cutting'),
      'variance of stances': ('number', 'variance'),
      'fit': ('number', 'fit'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'costs': tables.Spec(
    'What methods cost',
    'CPU seconds of one process; of a step, of the training, and of all that '
    'a unit does. Only ratios count.',
    {
      'world': ('word', 'world'),
      'method': ('word', 'method'),
      'steps': ('count', 'steps'),
      'pairs drawn': ('count', 'pairs_drawn'),
      'of a step': ('number', 'cpu_seconds_per_step'),
      'of the training': ('number', 'training_cpu_seconds'),
      'of all': ('number', 'cpu_seconds'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'summaries': tables.Spec(
    'What is written about people',
    'The first new people of the first seed, not chosen. A person likes the '
    'first value most.',
  ),
  'real': tables.Spec(
    'Real histories: how well choices are predicted',
    'Percent of strict choices between two texts, with 95 % intervals over '
    'people and questions. New: people and questions that no training or '
    "choice of strength has seen. Another's, training people's: the same "
    'reader, told these. Of four: the better answer is preferred to all three '
    'others.',
    {
      'data': ('word', 'data'),
      'people are': ('word', 'split'),
      'told': ('word', 'told'),
      'own': ('points', 'own'),
      "another's": ('points', 'swapped'),
      "training people's": ('points', 'population'),
      'of four': ('points', 'all_right'),
      'people': ('count', 'people'),
      'questions': ('count', 'questions'),
      'n': ('count', 'n'),
    },
  ),
  'real_gains': tables.Spec(
    'Real histories: what is gained by what is told',
    'Points, on the same choices. Detectable: a gain of this size is found in '
    '80 of 100 repetitions.',
    {
      'data': ('word', 'data'),
      'people are': ('word', 'split'),
      'told': ('word', 'told'),
      'over': ('word', 'over'),
      'lead': ('points', 'lead'),
      'detectable': ('percent', 'lead_detectable'),
      'people': ('count', 'people'),
      'questions': ('count', 'questions'),
      'n': ('count', 'n'),
    },
  ),
  'real_written': tables.Spec(
    'Real histories: what the untrained model writes',
    'Shares in percent, means over histories. Cut: histories that are longer '
    'than is read.',
    {
      'data': ('word', 'data'),
      'histories': ('count', 'histories'),
      'samples of each': ('count', 'samples'),
      'tokens read': ('number', 'read_tokens'),
      'cut': ('percent', 'cut'),
      'tokens written': ('number', 'tokens'),
      'end by themselves': ('points', 'finished'),
      'say nothing': ('points', 'silent'),
      'CPU seconds': ('number', 'cpu_seconds'),
    },
  ),
  'tuned': tables.Spec(
    'PLUS on a language model, real histories',
    'Percent of choices of new people about new questions; intervals over '
    'people. Start: before training, when the reward scores nothing.',
    {
      'data': ('word', 'data'),
      'when': ('word', 'when'),
      'steps': ('count', 'steps'),
      'own': ('points', 'own'),
      "another's": ('points', 'other'),
      'empty': ('points', 'empty'),
      'say nothing': ('percent', 'silent'),
      'people': ('count', 'people'),
      'n': ('count', 'n'),
    },
  ),
  'tuned_memory': tables.Spec(
    'What training it holds',
    'Gigabytes before activations, by arithmetic; whole: without adapters.',
    {
      'data': ('word', 'data'),
      'parameters': ('count', 'parameters'),
      'of an adapter': ('count', 'adapter_parameters'),
      'frozen': ('number', 'frozen_gb'),
      'learning': ('number', 'learning_gb'),
      'whole': ('number', 'whole_gb'),
      'histories cut': ('count', 'cut'),
      'CPU seconds': ('number', 'cpu_seconds'),
    },
  ),
  'real_training': None,
  'curves': None,
}

_READING = (
  (
    "Own, another's, empty",
    'Whose summary, history or vector the reward reads. What is predicted '
    "behind another's or none is not personal.",
  ),
  (
    'Points and intervals',
    'Shares are in percent, and differences in points. Brackets hold 95 % '
    'intervals over seeds and people at once; a seed draws its own people.',
  ),
  (
    'By start, by PLUS',
    'Whose reward model reads the summaries: that of the start, which saw no '
    "person, or PLUS's.",
  ),
)

PAGE = page.Page(TABLES, sections, _READING)
