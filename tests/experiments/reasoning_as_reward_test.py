"""Judges as rewards: scores of hand-worked texts, and tables of runs."""

import numpy as np
import pytest

from configs import reasoning_rewards
from experiments.reasoning_rewards import as_reward, tables
from prm_jax.lab import units
from prm_jax.worlds import arithmetic


def ids(*texts):
  return np.array(
    [
      [arithmetic.TOKENS.index(token) for token in text.split()]
      for text in texts
    ]
  )


def test_problems_of_a_seed():
  node = reasoning_rewards.get_config('study').as_reward
  drawn = as_reward.world(node, 0)
  hidden = arithmetic.OPERATORS.index('#')
  is_hidden = (drawn.tested.operator == hidden).any(1)
  np.testing.assert_array_equal(drawn.hard, is_hidden)
  assert drawn.hard.mean() == 0.25
  assert len(drawn.pool.start) == 4 * node.problems.pool
  assert not np.array_equal(drawn.chosen.start, drawn.pool.start[:256])


def test_scores_are_shares_of_the_better_half(monkeypatch):
  problems = arithmetic.Problems(
    np.zeros((3, 2), int),
    np.zeros((3, 2), int),
    np.zeros((3, 2, 2), int),
    arithmetic.tables(np.random.default_rng(0)),
  )
  yes, no = '0 0 0 0 answer 0 0 right .', '0 0 0 0 answer 0 0 wrong .'
  none = '0 0 0 0 answer 0 0 none .'
  traces = np.stack(
    [ids(yes, yes, no, none), ids(no, no, no, yes), ids(*[yes] * 4)]
  )
  liked = np.array([[1, 2, 3, 4], [1, 2, 4, 3], [1, 2, 3, 4]], float)
  # The last answer has no end: it is not looked at.
  answers = ids('0 0 0 0 .', '0 0 0 1 .', '0 0 0 0 0')
  monkeypatch.setattr(as_reward, 'asked', lambda *_, **__: traces)
  monkeypatch.setattr(as_reward, 'logits', lambda *_: liked.ravel())
  options = {'texts': 4, 'seed': 0}
  plain = as_reward.generative(None, None, None, **options)
  assert plain(problems, answers).tolist() == [0.5, 0.25, 0.0]
  filtered = as_reward.generative(None, None, {}, **options)
  assert filtered(problems, answers).tolist() == [0.0, 0.5, 0.0]
  scored = as_reward.scalar(None, None)
  monkeypatch.setattr(as_reward, 'logits', lambda *_: np.log([3.0, 1.0, 9.0]))
  assert scored(problems, answers) == pytest.approx([0.75, 0.5, 0.0])


def run(method, seed, solved, score):
  exams = [
    {'solved': a, 'score': b, 'accepted': b / 2, 'hard': 0.0}
    for a, b in zip(solved, score, strict=True)
  ]
  curve = [
    {'step': 10 * (i + 1), **{f'at {k}': v for k, v in exam.items()}}
    for i, exam in enumerate(exams[:-1])
  ]
  return {'method': method, 'seed': seed, 'curve': curve, 'final': exams[-1]}


def test_a_score_that_rises_while_the_truth_falls():
  runs = [
    run('judge', 0, [0.4, 0.6, 0.3], [0.5, 0.7, 0.8]),
    run('judge', 1, [0.4, 0.7, 0.5], [0.5, 0.8, 0.8]),
    run('judge_filtered', 0, [0.4, 0.6, 0.6], [0.5, 0.7, 0.7]),
    run('judge_filtered', 1, [0.4, 0.7, 0.8], [0.5, 0.8, 0.8]),
  ]
  judge, filtered = as_reward.table(runs)
  assert judge['solved_peak'] == pytest.approx(0.65)
  assert judge['solved_gain'] == pytest.approx(0.0)
  assert judge['gap_growth'] == pytest.approx((0.4 + 0.2) / 2)
  assert filtered['gap_growth'] == pytest.approx((0.0 - 0.1) / 2)
  (row,) = as_reward.against(runs)
  assert (row['method'], row['over']) == ('judge_filtered', 'judge')
  assert row['solved_end'] == pytest.approx(0.3)
  assert row['gap_end'] == pytest.approx(-0.35)
  curve = as_reward.along(runs)
  assert [(r['step'], r['method']) for r in curve[:3]] == [
    (step, 'judge') for step in (0, 10, 20)
  ]
  said = tables.answer({'as_reward': [judge], 'as_reward_against': [row]})
  assert 'its score moves by +30.0 points' in said[0]
  assert '+30.0 points [+30.0, +30.0] solved, -2.5 points' in said[1]


def test_judges_before_they_reward():
  judges = [
    {'method': 'judge_filtered', 'pair': 0.9},
    {'method': 'scalar_judge', 'pair': 0.7, 'gain_last_third': 0.02},
  ]
  scored = {'score_of_right': 0.6, 'score_of_wrong': 0.4}
  made = [
    units.Unit(
      {
        'seed': seed,
        'filter_auc': 0.8 + 0.1 * seed,
        'judges': [{**row, **scored} for row in judges],
      },
      {},
    )
    for seed in range(2)
  ]
  filtered, scalar = as_reward.described(made)
  assert filtered['filter_auc'] == pytest.approx(0.85)
  assert filtered['gain_last_third'] is None
  assert scalar['gain_last_third'] == pytest.approx(0.02)
  assert scalar['pair'] == pytest.approx(0.7)
