"""Judges as rewards: scores of hand-worked texts, and tables of runs."""

import jax
import numpy as np
import pytest

from configs import reasoning_rewards
from experiments.reasoning_rewards import answer_scores, as_reward, tables
from prm_jax.lab import units
from prm_jax.worlds import arithmetic
from prm_jax.worlds import arithmetic_judgements as judgements


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
  for name, each in node.problems.items():
    assert len(getattr(drawn, name).start) == 4 * each


def test_nothing_that_is_trained_on_is_tested(monkeypatch):
  """Demonstrations are read from their tokens, where the policy sees them."""
  config = reasoning_rewards.get_config('study')
  node = config.as_reward
  drawn = as_reward.world(node, 0)
  seen = []

  def taught(shown, *_, **__):
    seen.append(shown(jax.random.key(0), None)[0].ids)
    return {node.start.steps: None}, []

  monkeypatch.setattr(as_reward.judges, 'taught', taught)
  as_reward._policy(node, None, drawn.table, 0)
  (ids,) = map(np.asarray, seen)
  assert len(ids) == node.start.batch
  zero, plus = map(arithmetic.TOKENS.index, '0+')
  steps = ids[:, 3:-1].reshape(-1, 2, 3)
  demonstrated = arithmetic.Problems(
    ids[:, 1:3] - zero, steps[..., 0] - plus, steps[..., 1:] - zero, drawn.table
  )
  np.testing.assert_array_equal(arithmetic.prompts(demonstrated), ids)
  sets = {**drawn._asdict(), 'demonstrated': demonstrated}
  folds = {
    name: set(arithmetic.fold(sets[name]))
    for name in (*node.problems, 'demonstrated')
  }
  trained = set()
  for name in ('pool', 'taught', 'demonstrated'):
    trained |= folds.pop(name)
  apart = [trained, *folds.values()]
  assert len(apart) == 5  # meta, chosen, described, tested
  assert len(set.union(*apart)) == sum(map(len, apart)) == 10


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
  monkeypatch.setattr(answer_scores, 'asked', lambda *_, **__: traces)
  monkeypatch.setattr(answer_scores, 'logits', lambda *_: liked.ravel())
  options = {'texts': 4, 'seed': 0}
  plain = answer_scores.generative(None, None, None, **options)
  assert plain(problems, answers).tolist() == [0.5, 0.25, 0.0]
  filtered = answer_scores.generative(None, None, {}, **options)
  assert filtered(problems, answers).tolist() == [0.0, 0.5, 0.0]
  scored = answer_scores.scalar(None, None)
  monkeypatch.setattr(
    answer_scores, 'logits', lambda *_: np.log([3.0, 1.0, 9.0])
  )
  assert scored(problems, answers) == pytest.approx([0.75, 0.5, 0.0])


def test_a_meta_model_alone_does_not_see_verdicts(monkeypatch):
  problems = arithmetic.Problems(
    np.zeros((2, 2), int),
    np.zeros((2, 2), int),
    np.zeros((2, 2, 2), int),
    arithmetic.tables(np.random.default_rng(0)),
  )
  yes, no = '0 0 0 0 answer 0 0 right .', '0 0 0 0 answer 0 0 wrong .'
  none = '0 0 0 0 answer 0 0 none .'
  right, wrong = map(arithmetic.TOKENS.index, ('right', 'wrong'))
  answers = ids('0 0 0 0 .', '0 0 0 1 .')
  read = judgements.prompts(problems, answers)

  def logits(config, params, some):
    # It holds the first solution right with .8, the second with .4.
    np.testing.assert_array_equal(
      some.ids[:, : read.shape[1]], read[[0, 0, 1, 1]]
    )
    verdict = some.ids[:, -2]
    assert set(verdict) in ({right}, {wrong})
    held = np.array([0.8, 0.8, 0.4, 0.4])
    held = np.where(verdict == right, held, 1 - held)
    return np.log(held / (1 - held)) if params else np.ones(4)

  monkeypatch.setattr(answer_scores, 'logits', logits)

  def score(knows, *traces):
    said = np.stack([ids(*some) for some in traces])
    monkeypatch.setattr(answer_scores, 'asked', lambda *_, **__: said)
    made = answer_scores.meta_alone(None, None, knows, texts=2, seed=0)
    return made(problems, answers).tolist()

  for first in (yes, no):
    assert score(True, (first, no), (yes, yes)) == pytest.approx([0.8, 0.4])
  # Texts that cannot be read add nothing.
  assert score(True, (none, no), (none, none)) == pytest.approx([0.4, 0.0])
  # One that holds every verdict as likely to be right knows nothing.
  assert score(False, (yes, no), (yes, yes)) == pytest.approx([0.5, 0.5])


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
  runs += [
    run('meta_alone', 0, [0.4, 0.6, 0.5], [0.5, 0.7, 0.7]),
    run('meta_alone', 1, [0.4, 0.7, 0.7], [0.5, 0.8, 0.8]),
  ]
  row, alone = as_reward.against(runs)
  assert (alone['method'], alone['over']) == ('judge_filtered', 'meta_alone')
  assert alone['solved_end'] == pytest.approx(0.1)
  assert (row['method'], row['over']) == ('judge_filtered', 'judge')
  assert row['solved_end'] == pytest.approx(0.3)
  assert row['gap_end'] == pytest.approx(-0.35)
  curve = as_reward.along(runs)
  assert [(r['step'], r['method']) for r in curve[:3]] == [
    (step, 'judge') for step in (0, 10, 20)
  ]
  said = tables.answer(
    {'as_reward': [judge], 'as_reward_against': [row, alone]}
  )
  assert 'over what the meta model says itself: +10.0 points' in said[2]
  assert 'its score moves by +30.0 points' in said[0]
  assert '+30.0 points [+30.0, +30.0] solved, -2.5 points' in said[1]


def test_judges_before_they_reward():
  judges = [
    {'method': 'judge_filtered', 'pair': 0.9},
    {
      'method': 'scalar_judge',
      'pair': 0.7,
      'pair_gain_last_third': 0.02,
      'train_gain_last_third': 0.03,
    },
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
  assert filtered['pair_gain_last_third'] is None
  assert scalar['pair_gain_last_third'] == pytest.approx(0.02)
  assert scalar['train_gain_last_third'] == pytest.approx(0.03)
  assert scalar['pair'] == pytest.approx(0.7)
