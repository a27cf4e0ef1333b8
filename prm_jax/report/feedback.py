"""The pages of policies that learn from words: critiques, and replies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.report import figures, tables

TABLES = (
  'solve_rate', 'plateau', 'refiners', 'words', 'first_reply_fit', 'audit',
  'fit_in_words', 'per_seed', 'curves',
)  # fmt: skip
_MOST = 8  # lines of one picture


def sections(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns the page's figures with their headings."""
  curves = tables.rows_of(results, 'curves')
  found = []
  for title, note, value, label in (
    (
      'Problems solved',
      'Held-out problems mixed as in training, one answer each.',
      'solve_rate',
      'solved (%)',
    ),
    (
      'Problems that were never solved',
      'Held-out problems with the operator that the policy misunderstands.',
      'hard',
      'solved (%)',
    ),
    (
      'Valid refinements',
      'Of the answers that were criticised, how many were right when written '
      'again.',
      'valid_refinement',
      'valid (%)',
    ),
    (
      'First replies that fit',
      'Fresh prompts, drawn at temperature 1, without a hint.',
      'fit',
      'fit (%)',
    ),
    (
      'Agreement with false claims',
      'Where the person says what is not so.',
      'agrees_with_false',
      'agrees (%)',
    ),
  ):
    rows = [row for row in curves if row.get(value) is not None]
    if rows:
      found.append(
        {
          'title': title,
          'note': f'{note} Bands are 95 % intervals over seeds.',
          'pictures': _curves(rows, value, label),
        }
      )
  return found


def _group(row: tables.Row) -> str:
  if 'unsolved_share' in row:
    return f'{100 * tables.number(row, "unsolved_share"):.0f} % never solved'
  return str(row['arm']).replace('_', ' ')


def _curves(
  rows: Sequence[tables.Row], value: str, label: str
) -> list[figures.Picture]:
  """Draws a value along training, a few methods a picture."""
  pictures = []
  for group in dict.fromkeys(map(_group, rows)):
    here = [row for row in rows if _group(row) == group]
    methods = list(dict.fromkeys(str(row['method']) for row in here))
    for first in range(0, len(methods), _MOST):
      chosen = methods[first : first + _MOST]
      pictures.append(_lines(here, group, chosen, value, label))
  return pictures


def _lines(rows, group, methods, value, label) -> figures.Picture:
  figure, axes = figures.panel((group, '', ''))
  words = []
  for i, method in enumerate(methods):
    line = [row for row in rows if row['method'] == method]
    step = np.array([row['step'] for row in line])
    y, low, high = (
      np.array([100 * tables.number(row, name) for row in line])
      for name in (value, f'{value}_low', f'{value}_high')
    )
    look, name = figures.style(i), _short(method)
    axes.plot(step, y, color=look.color, marker=look.marker, ms=3, label=name)
    axes.fill_between(step, low, high, color=look.color, alpha=0.12, lw=0)
    words.append(f'{name} {y[0]:.0f} to {y[-1]:.0f}')
  axes.set_xlabel('updates')
  axes.set_ylabel(label)
  axes.set_ylim(-3, 103)
  return figures.draw(figure, f'{label}; {group}. {"; ".join(words)}.')


def _short(method: str) -> str:
  return tables.word(method.replace('critique_grpo_', 'critiques: '))


def shown_tables(results: Mapping[str, Any]) -> list[tables.Table]:
  """Returns the page's tables; `curves` are drawn and not tabled."""

  def made(name: str, title: str, note: str, columns) -> tables.Table:
    # Audits of a trained model have quantities in place of arms.
    rows = [r for r in tables.rows_of(results, name) if 'quantity' not in r]
    return tables.made(title, note, rows, columns)

  return [*_of_critiques(made), *_of_replies(made)]


def _of_critiques(made) -> list[tables.Table]:
  return [
    made(
      'solve_rate',
      'What is solved at the end',
      'Percent, with 95 % intervals over seeds; the gain is over the best '
      'number-only method of the same budget, and over supervised learning of '
      'refinements that the same critic asked for, 64 or 8 a step.',
      {
        'method': ('word', 'method'),
        'never solved': ('text', 'unsolved_share'),
        'solved': ('points', 'solve_rate'),
        'gain': ('points', 'gain'),
        'over tuning': ('points', 'gain_over_tuning'),
        'over tuning, 8': ('points', 'gain_over_few'),
        'hard': ('points', 'hard'),
        'rescued': ('points', 'rescued'),
        'hard last': ('points', 'hard_last'),
        'easy': ('points', 'easy'),
        'medium': ('points', 'medium'),
        'medium last': ('points', 'medium_last'),
        'refines': ('points', 'refines'),
        'tokens a step': ('number', 'tokens_per_step'),
        'critiques a step': ('number', 'critiques_per_step'),
        'seeds': ('count', 'seeds'),
      },
    ),
    made(
      'plateau',
      'What the last third of training adds',
      'On problems never solved at the start, and the share of all groups '
      'that had no gradient.',
      {
        'method': ('word', 'method'),
        'never solved': ('text', 'unsolved_share'),
        'hard, last third': ('points', 'hard_gain_last_third'),
        'no gradient': ('points', 'no_gradient_share'),
        'seeds': ('count', 'seeds'),
      },
    ),
    made(
      'refiners',
      'Who writes refinements',
      'The lowest valid refinements of any window, by the frozen start and '
      'by the policy in training; and what the frozen one adds, seeds paired.',
      {
        'never solved': ('text', 'unsolved_share'),
        'frozen, lowest valid': ('points', 'lowest_frozen'),
        'live, lowest valid': ('points', 'lowest_live'),
        'hard added': ('points', 'hard_added'),
        'rescued added': ('points', 'rescued_added'),
        'seeds': ('count', 'seeds'),
      },
    ),
    made(
      'words',
      'A language model on GSM8K',
      'Percent of held-out problems.',
      {
        'method': ('word', 'method'),
        'before': ('points', 'solved_before'),
        'after': ('points', 'solved_after'),
        'valid refinements': ('points', 'valid_refinement'),
        'seeds': ('count', 'seeds'),
      },
    ),
  ]


def _of_replies(made) -> list[tables.Table]:
  return [
    made(
      'first_reply_fit',
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
    made(
      'audit',
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
    made(
      'fit_in_words',
      'Replies of a language model that fit',
      'Percent of replies to held-out questions.',
      {
        'method': ('word', 'method'),
        'before': ('points', 'fit_before'),
        'after': ('points', 'fit_after'),
        'seeds': ('count', 'seeds'),
      },
    ),
  ]
