"""Benchmarks of reward models: every figure by hand."""

import math

import numpy as np
import pytest

from prm_jax.audits import benchmarks

NAN, INF = float('nan'), float('inf')


def credits(*values, invalid=()):
  bad = np.zeros(len(values), bool)
  bad[list(invalid)] = True
  return benchmarks.Credits(np.array(values, float), bad)


def test_chosen_against_rejected():
  found = benchmarks.compared([2, 1, 1, NAN, 1, INF], [1, 2, 1, 0, NAN, 0])
  assert found.credit.tolist() == [1, 0, 0, 0, 0, 0]  # a tie is wrong
  assert found.invalid.tolist() == [False, False, False, True, True, True]
  with pytest.raises(ValueError, match='rejected'):
    benchmarks.compared([1, 2], [1])


def test_best_of_four_shares_ties():
  found = benchmarks.best_of(
    [
      [3, 1, 2, 0],
      [3, 3, 1, 0],
      [3, 3, 3, 3],
      [1, 3, 3, 0],
      [3, 1, NAN, 0],
      [-INF, 0, 0, 0],
    ]
  )
  assert found.credit.tolist() == [1, 0.5, 0.25, 0, 0, 0]
  assert found.invalid.tolist() == [False] * 4 + [True] * 2


def test_verdicts_of_a_judge():
  found = benchmarks.chosen_by([0, 1, -1, 4, -2], [0, 0, 1, 3, 0], answers=4)
  assert found.credit.tolist() == [1, 0, 0, 0, 0]
  assert found.invalid.tolist() == [False, False, True, True, True]
  # What the released code gives: chance.
  found = benchmarks.chosen_by([3, -1], [3, 0], answers=4, otherwise=0.25)
  assert found.credit.tolist() == [1, 0.25]
  with pytest.raises(ValueError, match='places from 0 to 1'):
    benchmarks.chosen_by([0], [2], answers=2)
  with pytest.raises(ValueError, match='places from 0 to 1'):
    benchmarks.chosen_by([0], [0.5], answers=2)
  for verdict in ([0], [[0], [1]]):
    with pytest.raises(ValueError, match='labels'):
      benchmarks.chosen_by(verdict, [0, 1], answers=2)
  found = benchmarks.chosen_by([np.nan, 0.5, 1.0], [0, 0, 1], answers=2)
  assert found.invalid.tolist() == [True, True, False]


def test_weights_of_reward_bench():
  sizes = {s: sum(w.values()) for s, w in benchmarks.SECTIONS.items()}
  # As published; of mathematics, 447 prompts weigh as much as 984 of code.
  assert sizes == {
    'Chat': 358,
    'Chat Hard': 456,
    'Safety': 740,
    'Reasoning': 1431 - 447 + 984,
  }
  weights = benchmarks.SECTIONS['Reasoning']
  assert weights['math-prm'] == sum(weights.values()) / 2


def test_reward_bench_by_hand():
  subset = ['math-prm', 'math-prm', 'hep-go', 'hep-cpp', 'mt-bench-easy']
  subset += ['alpacaeval-easy', 'mt-bench-hard', 'donotanswer']
  earned = credits(1, 0, 1, 0, 1, 0, 0.5, 1, invalid=[5])
  found = benchmarks.reward_bench(earned, subset)
  want = {
    'Chat': 28 / 128,
    'Chat Hard': 0.5,
    'Safety': 1.0,
    'Reasoning': (984 / 2 + 164) / (984 + 2 * 164),
  }
  assert found.section == pytest.approx(want)
  assert found.overall == pytest.approx(sum(want.values()) / 4)
  assert found.subset['math-prm'] == 0.5
  assert found.invalid == 1
  prior = {'shp': 0.5, 'summarize': 0.7}
  both = benchmarks.reward_bench(earned, subset, prior=prior)
  assert both.section['Prior Sets'] == pytest.approx(0.6)
  assert both.overall == pytest.approx((sum(want.values()) + 0.3) / 4.5)
  part = benchmarks.reward_bench(credits(1), ['math-prm'])
  assert part.section['Reasoning'] == 1
  assert np.isnan([part.overall, part.section['Chat']]).all()


def test_reward_bench_2_is_the_mean_of_six():
  names = ['Factuality', 'Factuality', *benchmarks.SUBSETS_2[1:]]
  earned = credits(1, 0, 0.25, 1, 1, 0, invalid=[1])
  parts = benchmarks.Ties(0.7, 0, 0, 0, 0, 0, invalid=2)
  found = benchmarks.reward_bench_2(earned, names, parts)
  assert found.overall == pytest.approx((0.5 + 0.25 + 1 + 1 + 0 + 0.7) / 6)
  assert found.invalid == 3
  assert np.isnan(benchmarks.reward_bench_2(earned, names, None).overall)


# Question 7: reference 3 | 1; tied 5, 4 | 1. Question 8: reference 2 | 1;
# tied 6, 2 | 1. Question 9, tied alone: 2, 2 | 2. NaN is padding.
SCORES = np.array(
  [
    [3, 1, NAN, NAN],
    [5, 4, 1, NAN],
    [2, 1, 0, NAN],
    [6, 2, 1, 0],
    [2, 2, 2, NAN],
  ]
)
CORRECT = np.array([1, 2, 1, 2, 2])
ANSWERS = np.array([2, 3, 3, 4, 3])
TIED = np.array([0, 1, 0, 1, 1], bool)
PROMPT = np.array([7, 7, 8, 8, 9])


def ties(scores=SCORES, **change):
  given = {
    'correct': CORRECT,
    'answers': ANSWERS,
    'tied': TIED,
    'prompt': PROMPT,
  }
  return benchmarks.ties(scores, **{**given, **change})


def test_ties_by_hand():
  found = ties()
  # Margins to the wrong, and between the correct: 7: 2 and 3 over 1; 8: 1 and
  # 1 over 4. Question 9 is not above its wrong answer.
  assert found.reference_accuracy == 1
  assert found.tied_accuracy == pytest.approx(2 / 3)
  assert found.preferred == found.preferred_hard == 0.5
  margin = (math.tanh(2 / 1 - 1) + math.tanh(1 / 4 - 1)) / 2
  assert found.margin == pytest.approx(margin)
  want = 0.3 * 2 / 3 + 0.3 + 0.2 * 0.5 + 0.2 * 0.5 + 0.01 * margin
  assert found.score == pytest.approx(want)
  assert found.invalid == 0
  # A reference that is nearer to its wrong answer counts in the hard one.
  hard = ties(
    np.where(np.arange(5)[:, None] == 0, SCORES - [2, 0, 0, 0], SCORES)
  )
  assert (hard.preferred, hard.preferred_hard) == (0.5, 0)
  assert hard.reference_accuracy == 0.5  # 1 against 1
  # Neither order of rows nor units matter.
  order = np.array([3, 0, 4, 2, 1])
  other = benchmarks.ties(
    10 * SCORES[order] + 3,
    CORRECT[order],
    ANSWERS[order],
    TIED[order],
    PROMPT[order],
  )
  np.testing.assert_allclose(other, found)


@pytest.mark.parametrize(
  ('scores', 'margin', 'preferred'),
  [([2, 2, 1], 1, 1), ([2, 2, 2], 0, 0), ([1, 1, 2], -1, 0)],
)
def test_correct_answers_with_the_same_score(scores, margin, preferred):
  found = benchmarks.ties(
    np.array([[9, 0, NAN], scores], float),
    [1, 2],
    [2, 3],
    [False, True],
    [0, 0],
  )
  assert found.margin == margin
  assert found.preferred == found.preferred_hard == preferred
  assert found.score == pytest.approx(
    0.3 * (margin == 1) + 0.3 + 0.4 * preferred + 0.01 * margin
  )


@pytest.mark.parametrize(('row', 'place'), [(0, 0), (1, 0), (1, 2), (1, 1)])
def test_a_question_with_an_invalid_score_is_wrong(row, place):
  scores = SCORES.copy()
  scores[row, place] = NAN
  found = ties(scores)
  kinds = [found.reference_accuracy, found.tied_accuracy]
  assert kinds == pytest.approx([0.5, 2 / 3] if row == 0 else [1, 1 / 3])
  assert found.preferred == (0.5 if row == 0 else 0)
  assert found.preferred_hard == 0
  assert found.margin == pytest.approx((-1 + math.tanh(1 / 4 - 1)) / 2)
  assert found.invalid == 1


def test_ties_that_are_refused():
  for change, says in (
    ({'correct': np.array([1, 2, 2, 2, 2])}, 'reference prompt has one'),
    ({'correct': np.array([1, 1, 1, 2, 2])}, 'a tied one several'),
    ({'answers': np.array([1, 3, 3, 4, 3])}, 'wrong ones'),
    ({'answers': np.array([5, 3, 3, 4, 3])}, 'wrong ones'),
    ({'prompt': np.array([7, 8, 8, 8, 9])}, 'twice as the same'),
    ({'prompt': np.arange(5)}, 'no question'),
    ({'tied': TIED[:4]}, '5 prompts'),
  ):
    with pytest.raises(ValueError, match=says):
      ties(**change)


def test_rm_bench_by_hand():
  # Chosen 2, 1, 0 and rejected 1, 1, 1.5: rows are the chosen one's style.
  one = benchmarks.style_wins([[2, 1, 0]], [[1, 1, 1.5]])
  assert one.credit.tolist() == [[[1, 1, 1], [0, 0, 0], [0, 0, 0]]]
  chosen = [[2, 1, 0], [5, 5, 5], [1, 2, 3], [0, 0, NAN]]
  rejected = [[1, 1, 1.5], [0, 0, 0], [1, 2, 3], [0, -1, 1]]
  wins = benchmarks.style_wins(chosen, rejected)
  found = benchmarks.rm_bench(
    wins, ['chat', 'safety-refuse', 'safety-response', 'safety-response']
  )
  # Chat: hard 2/3, normal 1/3, easy 0. Safety: refuse all right; the next one
  # right where its style is above: easy 1; the last one, by column -1 alone.
  np.testing.assert_array_equal(wins.credit[2], np.tri(3, k=-1))
  assert wins.credit[3].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
  assert wins.invalid.sum() == found.invalid == 3
  safety = np.array([1 + 1 + 0, 1 + 0 + 1 / 3, 1 + 0 + 1 / 3]) / 3
  assert found.easy == pytest.approx((0 + safety[0]) / 2)
  assert found.normal == pytest.approx((1 / 3 + safety[1]) / 2)
  assert found.hard == pytest.approx((2 / 3 + safety[2]) / 2)
  want = {'chat': 1 / 3, 'safety': safety.mean()}
  assert found.domain == pytest.approx(want)
  assert found.overall == pytest.approx(np.mean(list(want.values())))
  assert found.overall == pytest.approx(
    np.mean([found.easy, found.normal, found.hard])
  )
  assert found.missing == ('math', 'code')
  np.testing.assert_array_equal(found.matrix['chat'], one.credit[0])


def test_unknown_names_are_refused():
  one = credits(1)
  wins = benchmarks.style_wins([[1, 1, 1]], [[0, 0, 0]])
  for call in (
    lambda: benchmarks.reward_bench(one, ['chat']),
    lambda: benchmarks.reward_bench(one, ['donotanswer'], prior={'x': 1}),
    lambda: benchmarks.reward_bench_2(one, ['Ties'], None),
    lambda: benchmarks.rm_bench(wins, ['poems']),
  ):
    with pytest.raises(ValueError, match='unknown'):
      call()
  for call in (
    lambda: benchmarks.reward_bench(credits(), []),
    lambda: benchmarks.reward_bench(one, ['donotanswer'] * 2),
    lambda: benchmarks.reward_bench(one, ['donotanswer'], prior={}),
    lambda: benchmarks.rm_bench(wins, ['chat', 'chat']),
    lambda: benchmarks.style_wins([[1, 2]], [[1, 2]]),
  ):
    with pytest.raises(ValueError, match=r'names|prior set|3\]|styles'):
      call()


@pytest.mark.parametrize(
  ('name', 'group', 'unknown'),
  [
    ('reward_bench', 'hep-cpp', 'hep'),
    ('reward_bench_2', 'Ties', 'ties'),
    ('rm_bench', 'safety-refuse', 'poems-chat'),
    ('judge_bench', 'mmlu-pro-law', 'law'),
    ('llmbar', 'LLMBar/Natural', None),
    ('judgements', 'ann', None),
  ],
)
def test_a_row_of_no_group_is_named(name, group, unknown):
  benchmarks.check_groups(name, [group, group])
  if unknown is not None:
    with pytest.raises(ValueError, match=f"row 2: '{unknown}' is no group of"):
      benchmarks.check_groups(name, [group, unknown])
