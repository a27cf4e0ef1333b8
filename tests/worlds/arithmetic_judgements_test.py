"""Judgements of arithmetic: hand-worked solutions, traces, and any tokens."""

import numpy as np
import pytest

from prm_jax.worlds import arithmetic
from prm_jax.worlds import arithmetic_judgements as judgements


def ids(text):
  return np.array([[arithmetic.TOKENS.index(token) for token in text.split()]])


def text(row):
  return ' '.join(arithmetic.TOKENS[token] for token in row)


@pytest.fixture(scope='module')
def table():
  return arithmetic.tables(np.random.default_rng(0))


@pytest.fixture
def problem(table):
  # 34 + 12 = 46; each digit times 3 and 2: 12 and 12, modulo 10.
  return arithmetic.Problems(
    np.array([[3, 4]]), np.array([[0, 2]]), np.array([[[1, 2], [3, 2]]]), table
  )


def test_a_hand_worked_trace(problem):
  given = judgements.Judgements(problem, ids('4 6 2 3 .'), np.array([0]))
  read = judgements.prompts(problem, given.solution)
  assert text(read[0]) == '4 6 2 3 ? 3 4 + 1 2 * 3 2 ='
  read = judgements.solved(problem, given.solution)
  assert text(read[0]) == '? 3 4 + 1 2 * 3 2 = 4 6 2 3 .'
  written = judgements.traces(given)
  assert text(written[0]) == '4 6 2 2 answer 2 3 wrong .'
  assert written.shape[1] == judgements.tokens(2)
  assert judgements.weights(written).tolist() == [[1.0] * 7 + [4.0, 1.0]]


@pytest.mark.parametrize(
  ('said', 'marks'),
  [
    ('4 6 2 2 answer 2 3 wrong .', (1, 1, 1, 1)),
    ('4 6 2 3 answer 2 3 right .', (0, 0, 1, 1)),
    ('4 6 2 2 answer 2 2 right . _ _', (0, 1, 0, 1)),
    ('4 5 2 9 answer 2 3 wrong .', (1, 0, 1, 1)),
    ('4 6 2 2 answer 2 3 none .', (0, 0, 0, 0)),
    ('4 6 2 2 answer 2 3 wrong', (0, 0, 0, 0)),
    ('4 6 2 2 answer 2 3 wrong . wrong', (0, 0, 0, 0)),
    ('wrong .', (0, 0, 0, 0)),
    ('4 + 2 2 answer 2 3 wrong .', (0, 0, 0, 0)),
  ],
)
def test_grades_of_a_wrong_solution(problem, said, marks):
  given = judgements.Judgements(problem, ids('4 6 2 3 .'), np.array([0]))
  found = judgements.grade(given, ids(said))
  assert tuple(float(mark[0]) for mark in found) == marks


def test_another_verdict():
  said = ids('4 6 2 2 answer 2 3 wrong .')
  other = judgements.with_verdict(said, 2, right=True)
  assert text(other[0]) == '4 6 2 2 answer 2 3 right .'
  np.testing.assert_array_equal(
    judgements.with_verdict(other, 2, right=False), said
  )
  assert text(said[0]).endswith('wrong .')  # as it was


def test_only_whole_traces_say_anything():
  said = np.random.default_rng(0).integers(-5, 40, (200, 9))
  found = judgements.parse(said, 2)
  assert not found.whole.any()
  for leaf in (found.values, found.claim, found.verdict):
    assert (leaf == -1).all()


def test_slips_are_one_wrong_digit_that_is_followed(table):
  rng = np.random.default_rng(1)
  problems = arithmetic.mixed(
    rng, table, {'easy': 200, 'medium_last': 200, 'hard': 200}
  )
  right, wrong = arithmetic.chains(problems), judgements.slips(rng, problems)
  assert (right[:, -1] != wrong[:, -1]).any(1).all()
  np.testing.assert_array_equal(
    problems.table[
      problems.operator[:, 1, None], wrong[:, 0], problems.operand[:, 1]
    ][(first := (wrong[:, 0] != right[:, 0]).any(1))],
    wrong[first, 1],
  )
  assert ((wrong != right).sum(2).max(1) == 1).all()
  assert 0.2 < first.mean() < 0.6


def test_pairs_keep_what_was_written(table):
  rng = np.random.default_rng(2)
  problems = arithmetic.draw(rng, table, arithmetic.CLASSES['easy'], 3)
  chains = arithmetic.responses(arithmetic.chains(problems))
  written = chains.copy()
  written[1, 3] = 2 + (written[1, 3] - 1) % 10  # another digit
  written[2, 3] = arithmetic.END  # cannot be read
  given = judgements.pairs(rng, problems, written)
  np.testing.assert_array_equal(given.solution[[0, 3]], written[[0, 1]])
  np.testing.assert_array_equal(given.solution[[2, 4]], chains[1:])
  true = arithmetic.verify(given.problems, given.solution, final_only=True)
  np.testing.assert_array_equal(true, given.right)
  found = judgements.grade(given, judgements.traces(given))
  assert np.stack(found).all()
