"""Judgements as tasks of policies: what is asked, what earns a reward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import judging_tasks, types
from prm_jax.policy import padding, tasks
from prm_jax.worlds import judging, judging_rubrics


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def drawn(rng, make, length=(1, 2, 3, 3)):
  problems = judging.draw(
    rng, judging.tables(rng), np.array(length), width=3, unseen=False
  )
  return make(rng, problems, np.arange(len(length)) % 2 == 0)


@pytest.mark.parametrize('make', [judging.pointwise, judging.pairwise])
def test_a_right_verdict_is_rewarded_and_nothing_else(rng, make):
  given = drawn(rng, make)
  task, row = judging_tasks.judgements(given), np.array([3, 0, 2])
  asked = task.prompts(row)
  np.testing.assert_array_equal(asked.ids, judging.prompts(given)[row])
  np.testing.assert_array_equal(asked.mask, asked.ids != judging.PAD)
  assert asked.mask[:, -1].all()
  said = judging.traces(given)[row]
  assert said.shape[1] == task.max_new_tokens
  at = np.arange(3), (said != judging.PAD).sum(1) - 2  # the verdict
  false = said.copy()
  false[at] = 2 * judging.VERDICTS[given.written.shape[1]] + 1 - false[at]
  none = said.copy()
  none[at] = judging.DIGIT
  strict = judging_tasks.judgements(given, wrong=-1.0)
  for ids, plain, signed in ((said, 1, 1), (false, 0, -1), (none, 0, -1)):
    for place in (
      lambda tree: tree,
      lambda tree: jax.tree.map(jnp.asarray, tree),
    ):
      answers = place(padding.full(ids))
      np.testing.assert_array_equal(tasks.verifier(task)(row, answers), plain)
      np.testing.assert_array_equal(task.verify(row, answers), plain)
      np.testing.assert_array_equal(strict.verify(row, answers), signed)


def test_replies_are_judged_by_the_criterion_of_their_row(rng):
  problems = judging.draw(
    rng, judging.tables(rng), np.full(16, 4), width=4, unseen=False
  )
  given = judging_rubrics.draw(rng, problems)
  criterion = np.arange(16) % 4
  task, row = judging_tasks.by_criterion(given, criterion), np.arange(16)[::-1]
  said = judging_rubrics.traces(given, criterion)
  np.testing.assert_array_equal(
    task.prompts(row).ids, judging_rubrics.prompts(given, criterion)[row]
  )
  assert task.verify(row, padding.full(said[row])).all()
  other = judging_rubrics.traces(given, (criterion + 1) % 4)
  agree = judging_rubrics.verdicts(given, criterion) == (
    judging_rubrics.verdicts(given, (criterion + 1) % 4)
  )
  np.testing.assert_array_equal(
    task.verify(row, padding.full(other[row])), agree[row]
  )


def test_traces_are_shown_side_by_side_and_the_verdict_weighs_more(rng):
  given = drawn(rng, judging.pointwise)
  shown = judging_tasks.traces(given, batch=6, side_by_side=2)
  asked, said, weights = shown(jax.random.key(0), None)
  prompts, traces = judging.prompts(given), judging.traces(given)
  for i in range(0, 6, 2):
    (first,) = np.flatnonzero((prompts == asked.ids[i]).all(1))
    assert first % 2 == 0  # the right solution, then the wrong one
    np.testing.assert_array_equal(asked.ids[i + 1], prompts[first + 1])
    np.testing.assert_array_equal(
      said.ids[i : i + 2], traces[first : first + 2]
    )
  np.testing.assert_array_equal(said.mask, said.ids != judging.PAD)
  verdict = np.isin(said.ids, judging.VERDICTS[1] + np.arange(2))
  np.testing.assert_array_equal(weights, said.mask + 3 * verdict)
  again = shown(jax.random.key(0), None)
  np.testing.assert_array_equal(again[0].ids, asked.ids)
  assert isinstance(said, types.Tokens)
  for options in ({'batch': 5}, {'batch': 9, 'side_by_side': 3}):
    with pytest.raises(ValueError, match='no multiple'):
      judging_tasks.traces(given, **{'side_by_side': 2, **options})


def said_of(given, verdict):
  """Traces whose verdicts are as given, none where -1."""
  right = given._replace(right=np.where(verdict < 0, 0, verdict))
  ids = judging.traces(right)
  return padding.full(np.where(verdict[:, None] < 0, judging.PAD, ids))


@pytest.fixture
def paired(rng):
  """Both orders of three pairs, or three problems' right and wrong solution."""
  orders = judging.both_orders(drawn(rng, judging.pairwise, (1, 2, 3)))
  return orders, drawn(rng, judging.pointwise, (1, 2, 3))


def test_both_orders_are_side_by_side(paired):
  orders, _ = paired
  one, other = (orders.take(np.arange(first, 6, 2)) for first in (0, 1))
  np.testing.assert_array_equal(judging.swapped(one).written, other.written)
  np.testing.assert_array_equal(one.right, 1 - other.right)
  with pytest.raises(ValueError, match='both orders'):
    judging_tasks.consistent(one.take(np.arange(2)), samples=2)
  with pytest.raises(ValueError, match='one right, one wrong'):
    judging_tasks.ordered(orders, samples=2)


@pytest.mark.parametrize('kind', ['consistent', 'ordered'])
def test_texts_of_two_rows_are_rewarded_together(paired, kind):
  given = paired[kind == 'ordered']
  task = getattr(judging_tasks, kind)(given, samples=2, wrong=-1.0)
  row = np.array([[4, 5], [0, 1]]).ravel().repeat(2)
  # Samples of a row side by side: the i-th of one goes with that of the other.
  right = np.array([[1, 0], [1, 1], [1, 1], [-1, 1]]).ravel()
  label = given.right[row]
  verdict = np.where(right < 0, -1, np.where(right, label, 1 - label))
  answers = said_of(given.take(row), verdict)
  expected = np.array([1, -1, 1, -1, -1, 1, -1, 1])
  for place in (np.asarray, jnp.asarray):
    found = tasks.verifier(task)(row, jax.tree.map(place, answers))
    np.testing.assert_array_equal(found, expected)
  # Rows that are not beside their other one have no reward.
  alone = task.verify(
    np.roll(row, 2), padding.take(answers, np.roll(range(8), 2))
  )
  assert np.isnan(alone).all()
  with pytest.raises(ValueError, match='in twos'):
    task.verify(row[:6], padding.take(answers, slice(6)))


def test_a_judge_that_always_says_one_side_is_never_consistent(paired):
  orders, _ = paired
  task = judging_tasks.consistent(orders, samples=1)
  for verdict in (np.zeros(6, int), np.ones(6, int)):
    assert not task.verify(np.arange(6), said_of(orders, verdict)).any()
    plain = judging_tasks.judgements(orders)
    assert plain.verify(np.arange(6), said_of(orders, verdict)).sum() == 3


def test_hints_give_the_verdict_away_and_nothing_else(rng):
  given = drawn(rng, judging.pointwise)
  row = np.arange(8)
  hinted = judging_tasks.hints(given)(row).ids
  plain = judging.prompts(given)
  np.testing.assert_array_equal(
    hinted[:, -2], judging.VERDICTS[1] + given.right
  )
  np.testing.assert_array_equal(np.delete(hinted, -2, 1), plain)
  half = judging_tasks.traces(given, batch=64, hinted=0.5)
  asked, said, _ = half(jax.random.key(0), None)
  has = np.isin(asked.ids, judging.VERDICTS[1] + np.arange(2)).any(1)
  assert 0 < has.sum() < 64
  traces = {tuple(text) for text in judging.traces(given)}
  assert {tuple(text) for text in said.ids} <= traces
