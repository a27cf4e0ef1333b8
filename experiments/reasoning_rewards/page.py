"""The page of judges that reason before they score."""

from collections.abc import Mapping
from typing import Any

from prm_jax.report import kinds, page, tables

_NAMES = {
  'reasoning': 'writes a chain',
  'scalar': 'scalar',
  'scalar_process': 'scalar, steps labelled',
  'scalar_pauses': 'scalar, pause tokens',
  'scalar_six_layers': 'scalar, six layers',
}
_PAIR = kinds.Axis('pair', 'right one preferred (%)', 100)


def name(row: tables.Row) -> str:
  """Returns what a judge is called."""
  return _NAMES.get(row['judge'], tables.word(row['judge']))


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  return [*_serial(results), *_updates(results)]


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


TABLES: dict[str, tables.Spec | None] = {
  'judges': tables.Spec(
    'Judges, by class and steps',
    'Percent, with 95 % intervals over seeds and problems. Steps beyond four '
    'were never trained.',
    {
      'judge': ('word', 'judge'),
      'class': ('text', 'class'),
      'steps': ('count', 'steps'),
      'pair': ('points', 'pair'),
      'verdict': ('points', 'verdict'),
      'chain': ('points', 'chain'),
      'tokens': ('number', 'tokens_per_judgement'),
      'one after another': ('number', 'sequential_steps'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'lead': tables.Spec(
    'What writing a chain is worth',
    'Pairs that the judge that writes prefers rightly, less those of each '
    'scalar judge, in points. A lead over a judge that still gains, or that '
    'fails its control, is not claimed: fair says whether it is.',
    {
      'over': ('word', 'judge'),
      'class': ('text', 'class'),
      'steps': ('count', 'steps'),
      'lead': ('points', 'lead'),
      'fair': ('text', 'fair'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'plateau': tables.Spec(
    'Are scalar judges at their plateau?',
    'What the last third of the updates adds on training and on test pairs; '
    'under one point on both is a plateau. Control: hidden problems of one '
    'step, of which 85 % have to be right.',
    {
      'judge': ('word', 'judge'),
      'rate': ('number', 'rate'),
      'pairs an update': ('count', 'batch'),
      'updates': ('count', 'steps'),
      'train': ('points', 'train'),
      'last third, train': ('points', 'train_gain_last_third'),
      'test': ('points', 'test'),
      'last third, test': ('points', 'test_gain_last_third'),
      'at plateau': ('text', 'at_plateau'),
      'control': ('points', 'control'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'parts': tables.Spec(
    'Which part of a chain fails',
    'The next token is right, where all before it are given rightly.',
    {
      'steps': ('count', 'steps'),
      'token': ('text', 'role'),
      'of steps': ('text', 'part'),
      'right': ('points', 'right'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'starts': tables.Spec(
    'Weak judges',
    'The updates after which teaching was stopped, chosen by verdicts on '
    'problems that are not tested.',
    {
      'seed': ('count', 'seed'),
      'updates': ('count', 'weak_step'),
      'verdict': ('points', 'verdict_on_validation'),
    },
  ),
  'curves': None,
}
PAGE = page.Page(TABLES, sections)
