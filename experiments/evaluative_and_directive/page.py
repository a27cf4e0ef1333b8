"""The page of policies that learn from replies."""

from collections.abc import Mapping
from typing import Any

from prm_jax.report import kinds, page, tables

_CURVES = (
  (
    'First replies that fit',
    'Fresh prompts, drawn at temperature 1, without a hint.',
    kinds.Axis('fit', 'fit (%)', 100),
  ),
  (
    'Agreement with false claims',
    'Where the person says what is not so.',
    kinds.Axis('agrees_with_false', 'agrees (%)', 100),
  ),
)
_COMPARED = {
  'evaluative': 'verdicts, as published',
  'evaluative_baseline': 'verdicts, baseline',
  'directive_shuffled': 'shuffled hints',
  'directive_live': 'hints, live teacher',
  'directive_average': 'hints, averaged teacher',
  'directive_full_average': 'hints, whole vocabulary',
  'directive_full_frozen': 'hints, frozen teacher',
  'combined_average': 'both, sampled tokens',
  'combined_full_average': 'both, whole vocabulary',
  'combined_full_frozen': 'both, frozen teacher',
}


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  rows = tables.rows_of(results, 'first_reply_fit')
  over_training = {
    'title': 'First replies that fit, over training',
    'note': 'One person. The line is verdicts with a baseline.',
    'pictures': kinds.compared(
      'one person',
      [row for row in rows if row['arm'] == 'one'],
      _COMPARED,
      kinds.Axis('mean_fit', 'fit over training (%)', 100),
      base='evaluative_baseline',
    ),
  }
  along = tables.rows_of(results, 'curves')
  return [over_training, *kinds.training(along, _CURVES, _group)]


def _group(row: tables.Row) -> str:
  return str(row['arm']).replace('_', ' ')


TABLES: dict[str, tables.Spec | None] = {
  'first_reply_fit': tables.Spec(
    'First replies that fit',
    'Percent over training and at the end; the gain of both is over the '
    'best of the arm that has verdicts or hints alone, over training.',
    {
      'arm': ('word', 'arm'),
      'method': ('word', 'method'),
      'over training': ('points', 'mean_fit'),
      'gain': ('points', 'gain'),
      'at the end': ('points', 'fit'),
      'people held out': ('points', 'fit_held_out'),
      'fall after the best': ('points', 'fall'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'audit': tables.Spec(
    'Agreement with what is false',
    'Percent before and after, and the stance-flip gap: how far the '
    "statement follows the person's claim.",
    {
      'arm': ('word', 'arm'),
      'method': ('word', 'method'),
      'before': ('points', 'agrees_with_false_before'),
      'after': ('points', 'agrees_with_false_after'),
      'added': ('points', 'agrees_with_false_added'),
      'flip gap added': ('points', 'stance_flip_gap_added'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'fit_in_words': tables.Spec(
    'Replies of a language model that fit',
    'Percent of replies to held-out questions.',
    {
      'method': ('word', 'method'),
      'before': ('points', 'fit_before'),
      'after': ('points', 'fit_after'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'per_seed': None,
  'curves': None,
}
PAGE = page.Page(TABLES, sections)
