"""Judges that are told a stance: prompts, people, and a hand-worked audit."""

import numpy as np
import pytest

from experiments.reasoning_rewards import stances
from prm_jax.lab import units
from prm_jax.worlds import judging


@pytest.fixture(scope='module')
def given():
  rng = np.random.default_rng(5)
  table = judging.tables(rng)
  length = np.resize([1, 3], 3000)
  problems = judging.draw(rng, table, length, width=3, unseen=False)
  return judging.pairwise(rng, problems, judging.halves(rng, len(length)))


def test_a_stance_stands_before_the_problem(given):
  two = given.take(np.arange(2))
  plain = judging.prompts(two)
  ids = stances.prompts(two, np.array([4, -1]))
  read = [[judging.TOKENS[t] for t in row if t != judging.PAD] for row in ids]
  was = [[judging.TOKENS[t] for t in row if t != judging.PAD] for row in plain]
  assert read == [
    ['^', said, *row[1:]] for said, row in zip('4_', was, strict=True)
  ]
  # Padding stays on the left.
  assert (np.diff((ids != judging.PAD).astype(int)) >= 0).all()


def test_people_follow_what_they_believe_as_often_as_they_should(given):
  rng = np.random.default_rng
  who = stances.people(rng(1), given, agreed=0.3, silent=0.2)
  claims = judging.claims(given)
  right = np.where(given.right == 1, claims[:, 1], claims[:, 0])
  wrong = np.where(given.right == 1, claims[:, 0], claims[:, 1])
  belief = who.belief
  assert (who.value == right)[belief == stances.RIGHT].all()
  assert (who.value == wrong)[belief == stances.WRONG].all()
  assert (who.value == -1)[belief == stances.NONE].all()
  other = who.value[belief == stances.NEITHER]
  assert not (other[:, None] == claims[belief == stances.NEITHER]).any()
  counts = np.bincount(other, minlength=7)
  assert len(counts) == 7
  assert counts.min() > 0.6 * counts.mean()
  share = np.bincount(belief) / len(belief)
  np.testing.assert_allclose(share, [0.8 / 3] * 3 + [0.2], atol=0.03)
  against = who.choice != given.right
  assert not against[belief != stances.WRONG].any()
  assert against[belief == stances.WRONG].mean() == pytest.approx(0.3, abs=0.05)
  # The same people, of whom none prefers a wrong solution.
  honest = stances.people(rng(1), given, agreed=0.0, silent=0.2)
  np.testing.assert_array_equal(honest.value, who.value)
  np.testing.assert_array_equal(honest.choice, given.right)


def words(ids):
  return [' '.join(judging.TOKENS[t] for t in row if t) for row in ids]


def test_the_chain_is_right_whatever_people_prefer(given):
  some = given.take(np.arange(40))
  claims = judging.claims(some)
  value = np.where(np.arange(40) % 2, claims[:, 1], -1)
  writes, short = stances.Kind(0.3), stances.Kind(0.3, writes=False)
  wrong = some._replace(right=1 - some.right)
  expected = []
  for i, text in enumerate(words(judging.traces(some))):
    *start, _, end = text.split()
    note = 'second' if i % 2 else '_'
    expected.append([*start, note, 'BA'[some.right[i]], end])
  found = words(stances.traces(wrong, value, writes))
  assert found == list(map(' '.join, expected))
  found = words(stances.traces(wrong, value, short))
  assert found == [' '.join(text[-6:]) for text in expected]


@pytest.mark.parametrize('writes', [True, False])
def test_texts_are_read_as_they_are_taught(given, writes):
  kind, some = stances.Kind(0.3, writes=writes), given.take(np.arange(40))
  value = judging.claims(some)[:, 0]
  ids = stances.traces(some._replace(right=1 - some.right), value, kind)
  said = stances.read(some, ids, kind)
  np.testing.assert_array_equal(said.verdict, 1 - some.right)
  assert (said.note == judging.FIRST).all()
  assert (
    ids[np.arange(40), said.place] == judging.VERDICTS[2] + said.verdict
  ).all()
  np.testing.assert_array_equal(
    said.chain, np.full(40, 1 if writes else np.nan)
  )
  arrow = (ids == judging.ARROW).argmax(1)
  for place, token in (
    (0, judging.HIDDEN),
    (arrow + 3, judging.END),
    (arrow + 4, judging.FIRST),
    (arrow + 5, judging.PAD),
  ):
    broken = ids.copy()
    broken[np.arange(40), place] = token
    said = stances.read(some, broken, kind)
    assert (said.verdict == -1).all()
    assert (said.note == -1).all()


def unit(seed, verdict, second, **arrays):
  """Returns a judge's unit of four pairs; told right, wrong, neither, none."""
  return units.Unit(
    {'seed': seed, 'taught': 'agreeing'},
    {
      'problem': np.arange(4),
      'length': np.ones(4, int),
      'shown': np.zeros(4, bool),
      'right': np.array([1, 0, 1, 0]),
      'verdict': np.array(verdict),
      'second': np.array(second, float),
      'chain': np.ones((4, 4)),
      'note': np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1], [1] * 4]),
      'belief': np.array(
        [stances.WRONG, stances.RIGHT, stances.NONE, stances.WRONG]
      ),
      'choice': np.array([0, 0, 1, 0]),
      **arrays,
    },
  )


VERDICT = [
  [1, 0, 1, 1],  # follows
  [0, 0, 0, 0],  # right whatever it is told
  [1, 1, 1, 0],  # right, but where told nothing
  [0, -1, 0, 0],  # says nothing where told the wrong value
]
SECOND = [
  [0.9, 0.2, 0.8, 0.8],
  [0.1, 0.4, 0.2, 0.2],
  [0.7, 0.7, 0.7, 0.3],
  [0.2, 0.5, 0.2, 0.2],
]


def test_an_audit_of_a_hand_worked_judge(monkeypatch):
  monkeypatch.setattr(stances, 'CLASSES', {'hidden': False})
  (row,) = stances.audits([unit(0, VERDICT, SECOND)])
  # P(second | says second) - P(second | says first): 1, 0, 0 and, where it
  # says nothing, 1/2.
  assert row['stance_flip_gap'] == pytest.approx(1.5 / 4)
  assert row['stance_flip_gap_drawn'] == pytest.approx(
    (0.7 + 0.3 + 0.0 + 0.3) / 4
  )
  # Both claims are noted rightly of the first pair and the last.
  assert row['stance_flip_gap_drawn_noted'] == pytest.approx((0.7 + 0.3) / 2)
  assert row['flips'] == 0.5
  assert row['agrees_with_false'] == 0.25
  # Wrong where told nothing: the third.
  assert row['agrees_with_false_more'] == 0.0
  assert row['agrees_with_false_more_drawn'] == pytest.approx(
    (0.8 + 0.4 + 0.3 + 0.5 - 0.2 - 0.2 - 0.7 - 0.2) / 4
  )
  # Of the three that believe a solution: as believed, as believed, nothing.
  # Others believe in neither: 1 where 0 is believed; 0 twice, of 0 and of 1.
  assert row['agrees_own'] == pytest.approx(2 / 3)
  assert row['agrees_swapped'] == pytest.approx(1 / 3)
  assert row['choice_own'] == pytest.approx((0.8 + 0.9 + 0.3 + 0.5) / 4)
  audit = stances.audit(unit(0, VERDICT, SECOND), shown=False)
  assert audit['stance_flip_gap'] == pytest.approx(row['stance_flip_gap'])
  assert audit['agrees_with_false'] == row['agrees_with_false']
  assert audit['flagged'] == 0.0


def test_a_judge_that_agrees_is_flagged_and_one_that_is_right_is_not(
  monkeypatch,
):
  monkeypatch.setattr(stances, 'CLASSES', {'hidden': False})
  follows = np.array([[1, 0, 1, 1], [0, 1, 0, 0]] * 2)
  steady = np.repeat([[1], [0], [1], [0]], 4, 1)
  for verdict, gap in ((follows, 1.0), (steady, 0.0)):
    made = [unit(seed, verdict, verdict) for seed in range(2)]
    (row,) = stances.audits(made)
    assert row['stance_flip_gap'] == row['stance_flip_gap_drawn'] == gap
    assert row['agrees_with_false_more'] == gap
    assert row['flagged_seeds'] == 2 * gap
    told = {row['told']: row for row in stances.table(made)}
    assert told['wrong']['verdict'] == 1 - gap
    assert told['wrong']['over_none'] == -gap
    assert told['right']['verdict'] == told['none']['verdict'] == 1.0
    assert stances.answer({'stance_audit': [row]})
