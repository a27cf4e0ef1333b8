import itertools

import numpy as np
import pytest

from prm_jax.worlds import judging, judging_rubrics

C = len(judging_rubrics.CRITERIA)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture
def table(rng):
  return judging.tables(rng)


def words(ids):
  return [' '.join(judging.TOKENS[i] for i in row if i) for row in ids]


def problems_of(rng, table, K, count):
  length = np.full(count, K)
  return judging.draw(rng, table, length, width=K, unseen=False)


def by_hand():
  """3 +1 *2 #5 +3 is 4, 2, 3, 6, of two replies."""
  x, d = np.indices((7, 7))
  problems = judging.Problems(
    np.array([3]),
    np.array([[0, 1, 2, 0]]),
    np.array([[1, 2, 5, 3]]),
    np.array([[0, 1, 2, 3]]),
    np.array([4]),
    np.stack([(x + d) % 7, (x - d) % 7, (d - x) % 7]),
  )
  # Right, with one left out and slips at the first and the last step; wrong
  # by its only slip, the second.
  written = np.array([[[5, -1, 0, 6], [4, 3, 2, 5]]])
  return judging_rubrics.Replies(problems, written, np.array([[2, 6]]))


def test_scores_by_hand():
  given = by_hand()
  found = judging_rubrics.scores(*given)
  # Step 2 is left out and step 3 has nothing to follow from.
  np.testing.assert_array_equal(found, [[[1, 2, 1, 2], [0, 3, 0, 6]]])
  every = np.arange(C)
  better = [judging_rubrics.verdicts(given, every[c : c + 1])[0] for c in every]
  assert better == [0, 1, 0, 1]


def test_prompts_and_traces_by_hand():
  given, care = by_hand(), np.array([judging_rubrics.CARE])
  prompts = judging_rubrics.prompts(given, care)
  assert words(prompts) == [
    '^ by_care 3 a +1 b *2 c #5 d +3 first 5 _ 0 6 2 second 4 3 2 5 6 ='
  ]
  assert prompts.shape == (1, 8 + 4 * 4)
  traces = judging_rubrics.traces(given, care)
  assert words(traces) == ['3 a +1 4 b *2 2 c #5 3 d +3 6 => 2 3 B .']
  assert traces.shape == (1, 6 + 3 * 4)
  brevity = np.array([judging_rubrics.BREVITY])
  assert words(judging_rubrics.traces(given, brevity))[0].endswith('1 0 A .')
  found = judging_rubrics.grade(given, brevity, traces)
  assert [float(mark[0]) for mark in found] == [0, 1, 0, 1]


@pytest.mark.parametrize('K', judging_rubrics.STEPS)
def test_scores_agree_with_a_loop(rng, table, K):
  given = judging_rubrics.draw(rng, problems_of(rng, table, K, 64))
  found = judging_rubrics.scores(*given)
  problems = given.problems
  for b, r in itertools.product(range(64), range(2)):
    before = value = problems.start[b]
    slips = 0
    for k in range(K):
      step = problems.operator[b, k], problems.operand[b, k]
      value = table[step[0], value, step[1]]
      said = given.written[b, r, k]
      if said >= 0 and before >= 0:
        slips += said != table[step[0], before, step[1]]
      before = said
    expected = [
      said == value,
      K - slips,
      list(given.written[b, r]).count(-1),
      given.confidence[b, r],
    ]
    np.testing.assert_array_equal(found[b, r], expected)
  assert found.min() >= 0
  assert found.max() <= 6
  assert (given.written[..., -1] >= 0).all()


@pytest.mark.parametrize('K', judging_rubrics.STEPS)
def test_criteria_disagree_as_often_as_they_agree(rng, table, K):
  given = judging_rubrics.draw(rng, problems_of(rng, table, K, 320))
  better = np.stack(
    [judging_rubrics.verdicts(given, np.full(320, c)) for c in range(C)], 1
  )
  ways, count = np.unique(better, axis=0, return_counts=True)
  assert len(ways) == 2**C
  assert (count == 20).all()
  found = judging_rubrics.scores(*given)
  assert (found[:, 0] != found[:, 1]).all()
  np.testing.assert_array_equal(better.mean(0), 0.5)
  for one, other in itertools.combinations(range(C), 2):
    assert (better[:, one] == better[:, other]).mean() == 0.5


def test_the_criterion_decides_between_the_same_replies(rng, table):
  given = judging_rubrics.draw(rng, problems_of(rng, table, 4, 160))
  prompts = [judging_rubrics.prompts(given, np.full(160, c)) for c in range(C)]
  for c, ids in enumerate(prompts):
    assert (ids[:, 1] == judging.CRITERION + c).all()
    np.testing.assert_array_equal(ids[:, 2:], prompts[0][:, 2:])
  verdicts = np.stack(
    [judging_rubrics.verdicts(given, np.full(160, c)) for c in range(C)]
  )
  both = (verdicts.min(0) == 0) & (verdicts.max(0) == 1)
  assert both.sum() == 140  # all but the two ways of one opinion
  # Who follows any one criterion is right of all others half of the time.
  for c in range(C):
    others = np.delete(verdicts, c, 0)
    np.testing.assert_array_equal((others == verdicts[c]).mean(1), 0.5)


def test_the_other_order_has_the_other_verdict(rng, table):
  given = judging_rubrics.draw(rng, problems_of(rng, table, 5, 100))
  criterion = rng.integers(0, C, 100)
  other = judging_rubrics.swapped(given)
  np.testing.assert_array_equal(
    judging_rubrics.verdicts(other, criterion),
    1 - judging_rubrics.verdicts(given, criterion),
  )
  np.testing.assert_array_equal(
    judging_rubrics.stated(other, criterion),
    judging_rubrics.stated(given, criterion)[:, ::-1],
  )
  ids = judging_rubrics.traces(given, criterion)
  for mark in judging_rubrics.grade(given, criterion, ids):
    np.testing.assert_array_equal(mark, 1)
  found = judging_rubrics.grade(other, criterion, ids)
  np.testing.assert_array_equal(found.verdict, 0)
  np.testing.assert_array_equal(found.chain, 1)


def test_seeds_are_apart(rng, table):
  problems = problems_of(rng, table, 4, 50)
  one, same, other = (
    judging_rubrics.draw(np.random.default_rng(seed), problems).written
    for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, same)
  assert (one != other).any(2).mean() > 0.8


@pytest.mark.parametrize(('K', 'width'), [(3, 3), (7, 7), (4, 5)])
def test_problems_that_do_not_fit(rng, table, K, width):
  problems = judging.draw(rng, table, np.full(4, K), width=width, unseen=False)
  with pytest.raises(ValueError, match='steps'):
    judging_rubrics.draw(rng, problems)
