"""The page of policies that learn from critiques."""

from collections.abc import Mapping
from typing import Any

from prm_jax.report import kinds, page, tables

_CURVES = (
  (
    'Problems solved',
    'Held-out problems mixed as in training, one answer each.',
    kinds.Axis('solve_rate', 'solved (%)', 100),
  ),
  (
    'Problems that were never solved',
    'Held-out problems with the operator that the policy misunderstands.',
    kinds.Axis('hard', 'solved (%)', 100),
  ),
  (
    'Valid refinements',
    'Of the answers that were criticised, how many were right when written '
    'again.',
    kinds.Axis('valid_refinement', 'valid (%)', 100),
  ),
)
_CRITIC = 'critique_grpo_step_by_step'
_COMPARED = {
  'grpo': 'numbers alone (GRPO)',
  'dr_grpo_16': 'numbers, twice as many',
  'dr_grpo_curriculum': 'numbers, easier first',
  'critique_grpo_indicative': 'critique: right or wrong',
  'critique_grpo_with_answer': 'critique: the answer',
  'critique_grpo_wrong_repair': 'critique: a wrong repair',
  _CRITIC: 'critique: step by step',
  f'{_CRITIC}_live': 'the same, refining itself',
  f'{_CRITIC}_log': 'the same, log pi',
  'rltf_predict': 'RLTF, critiques predicted',
  'refinement_tuning_8': 'imitation, 8 critiques',
  'refinement_tuning': 'imitation, 64 critiques',
}


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  rows = tables.rows_of(results, 'solve_rate')
  share = max((row['unsolved_share'] for row in rows), default=0.0)
  ends = {
    'title': 'What is solved at the end',
    'note': 'The line is GRPO, which learns from numbers alone.',
    'pictures': kinds.compared(
      f'{100 * share:.0f} % never solved at the start',
      [row for row in rows if row['unsolved_share'] == share],
      _COMPARED,
      kinds.Axis('solve_rate', 'solved (%)', 100),
      base='grpo',
    ),
  }
  along = tables.rows_of(results, 'curves')
  return [ends, *kinds.training(along, _CURVES, _group)]


def _group(row: tables.Row) -> str:
  return f'{100 * tables.number(row, "unsolved_share"):.0f} % never solved'


TABLES: dict[str, tables.Spec | None] = {
  'solve_rate': tables.Spec(
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
  'plateau': tables.Spec(
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
  'refiners': tables.Spec(
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
  'words': tables.Spec(
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
  'per_seed': None,
  'curves': None,
}
PAGE = page.Page(TABLES, sections)
