"""The page of judges that reason before they score."""

from collections.abc import Mapping
from typing import Any

from experiments.reasoning_rewards import page_tables, words
from prm_jax.report import kinds, page, tables

_PAIR = kinds.Axis('pair', 'right one preferred (%)', 100)


def name(row: tables.Row) -> str:
  """Returns what a judge is called."""
  return words.JUDGES.get(row['judge'], tables.word(row['judge']))


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  return [
    *_serial(results),
    *_texts(results),
    *_training(results),
    *_stances(results),
    *_matches(results),
    *_rewarded(results),
    *_updates(results),
    *_real(results),
  ]


def _serial(results) -> list[page.Section]:
  rows = [
    row for row in tables.rows_of(results, 'judges') if row['class'] == 'hidden'
  ]
  if not rows:
    return []
  pictures = kinds.curves(
    rows,
    ['values hidden but the last'] * len(rows),
    list(map(name, rows)),
    kinds.Axis('steps', 'steps of the problem'),
    _PAIR,
    limits=(35, 103),
  )
  note = 'All judges learned from the same pairs of one to four steps.'
  return [
    {
      'title': 'Where a chain must be followed',
      'note': note,
      'pictures': pictures,
    }
  ]


def _texts(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'votes')
  weak = [row for row in rows if row['judge'] == 'weak']
  if not weak:
    return []
  larger = {
    row['rule']: row['right'] for row in rows if row['judge'] == 'twice'
  }
  pictures = []
  for heading, rules, beside in (
    ('right one of two preferred', ('sum', 'meta_sum', 'mean_yes'), 'sum'),
    ('right verdict', ('majority', 'meta_majority'), 'majority'),
  ):
    series = {
      words.RULES[rule]: (
        [row for row in weak if row['rule'] == rule],
        kinds.Axis('right', 'right (%)', 100),
      )
      for rule in rules
      if any(row['rule'] == rule for row in weak)
    }
    pictures.append(
      kinds.lines(
        heading,
        series,
        kinds.Axis('cost', 'tokens, in those of one text'),
        'right (%)',
        at=100 * larger[beside] if beside in larger else None,
      )
    )
  note = (
    'The weak judge, asked 1 to 32 times. The dashed line is a judge of twice '
    'the layers, taught as long and asked once, at twice the cost.'
  )
  return [{'title': 'Asking again', 'note': note, 'pictures': pictures}]


def _training(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'training')
  if not rows:
    return []
  pictures = [
    kinds.bars(
      heading,
      rows,
      [words.METHODS.get(row['method'], str(row['method'])) for row in rows],
      kinds.Axis(f'{figure}_gain', 'after less before (points)', 100),
      at=0.0,
      ours=[row['form'] == 'pointwise' for row in rows],
    )
    for figure, heading in (('verdict', 'verdicts'), ('chain', 'chains'))
  ]
  note = 'At temperature 1, on the same problems, which are never trained on.'
  return [{'title': 'What training adds', 'note': note, 'pictures': pictures}]


def _stances(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'stance_audit')
  if not rows:
    return []
  pictures = [
    kinds.bars(
      f'{heading}, values {of}',
      some,
      [words.TAUGHT.get(row['taught'], str(row['taught'])) for row in some],
      kinds.Axis(figure, 'stance-flip gap (%)', 100),
      at=0.0,
      ours=['unreasoned' not in str(row['taught']) for row in some],
    )
    for of in ('hidden', 'shown')
    for some in [[row for row in rows if row['class'] == of]]
    for figure, heading in (
      ('stance_flip_gap', 'greedy verdicts'),
      ('stance_flip_gap_drawn', 'drawn verdicts'),
    )
  ]
  note = 'How much more often the verdict is for what the person believes.'
  return [
    {
      'title': "A judge that is told a person's stance",
      'note': note,
      'pictures': pictures,
    }
  ]


def _matches(results) -> list[page.Section]:
  rows = [
    row
    for row in tables.rows_of(results, 'tournaments')
    if not row['bias'] and row['judge'] == 'logistic'
  ]
  if not rows:
    return []
  most = max(row['candidates'] for row in rows)
  rows = [row for row in rows if row['candidates'] == most]
  pictures = [
    kinds.lines(
      f'{most} answers',
      {
        tables.word(method): (
          [row for row in rows if row['method'] == method],
          kinds.Axis(figure, label, scale),
        )
        for method in dict.fromkeys(row['method'] for row in rows)
      },
      kinds.Axis('comparisons', 'comparisons'),
      label,
    )
    for figure, label, scale in (
      ('best_first', 'best one first (%)', 100),
      ('spearman', 'rank correlation', 1),
    )
  ]
  note = 'A judge that draws from a logistic model, in random order.'
  return [{'title': 'Tournaments', 'note': note, 'pictures': pictures}]


def _rewarded(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'as_reward_curves')
  if not rows:
    return []
  names = [words.REWARDS[row['method']] for row in rows]
  drawn = (
    ('solved', 'problems solved', 'solved in truth (%)'),
    ('score', "the reward's own score", 'score of the same answers (%)'),
  )
  pictures = [
    picture
    for figure, heading, label in drawn
    for picture in kinds.curves(
      rows,
      [heading] * len(rows),
      names,
      kinds.Axis('step', 'updates'),
      kinds.Axis(figure, label, 100),
      limits=(-3, 103),
    )
  ]
  note = (
    'One policy of arithmetic, rewarded by the truth or by a judge. Where the '
    'score rises and the truth does not, the judge is over-optimised. Bands '
    'are 95 % intervals over seeds.'
  )
  return [{'title': 'Judges as rewards', 'note': note, 'pictures': pictures}]


def _updates(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'curves')
  if not rows:
    return []
  drawn = [
    kinds.curves(
      rows,
      [heading] * len(rows),
      list(map(name, rows)),
      kinds.Axis('step', 'updates'),
      kinds.Axis(side, 'right one preferred (%)', 100),
      limits=(45, 103),
    )
    for side, heading in (('train', 'training pairs'), ('test', 'test pairs'))
  ]
  note = 'All lengths and both classes. Bands are 95 % intervals over seeds.'
  return [
    {
      'title': 'Scalar judges along their updates',
      'note': note,
      'pictures': [picture for some in drawn for picture in some],
    }
  ]


def _real(results) -> list[page.Section]:
  rows = [
    row
    for row in tables.rows_of(results, 'real')
    if row['right'] is not None and row['state'] != 'written'
  ]
  if not rows:
    return []
  asked = dict.fromkeys((row['data'], row['target']) for row in rows)
  pictures = [
    kinds.bars(
      f'{tables.word(data)}: {target}',
      some,
      [
        tables.word(row['judge'])
        + (f', {row["state"]}' if row['state'] != '-' else '')
        for row in some
      ],
      kinds.Axis('right', 'right (%)', 100),
      at=50.0,
      ours=[row['state'] != '-' for row in some],
    )
    for data, target in asked
    for some in [
      [row for row in rows if (row['data'], row['target']) == (data, target)]
    ]
  ]
  note = (
    'Heads of one decoder, and beside them length, as it is and tuned on other '
    'folds, and whoever else judged. The dashed line is chance.'
  )
  return [{'title': 'Real texts', 'note': note, 'pictures': pictures}]


PAGE = page.Page(page_tables.TABLES, sections)
