"""Votes over texts: by hand, by brute force, and what leaves them alone."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import voting

NAN = float('nan')
# Four texts on three answers; the third says nothing of one.
SCORES = jnp.array([[7.0, 5, 1], [6, 8, 2], [9, NAN, 9], [4, 4, 3]])
ONE = jnp.ones(4)


def same(found, want):
  np.testing.assert_allclose(found, np.array(want, float), rtol=1e-6)


def fuzz(seed):
  """Scores with ties and invalid texts, of some shape, and a mask."""
  rng = np.random.default_rng(seed)
  lead = tuple(rng.integers(1, 4, rng.integers(0, 3)))
  k, n = rng.integers(1, 7, 2)
  scores = rng.integers(0, 4, (*lead, k, n)).astype(np.float32)
  scores[rng.random(scores.shape) < 0.05] = NAN
  return rng, scores, (rng.random((*lead, k)) < 0.8).astype(np.float32)


def test_sums_and_means_by_hand():
  same(voting.valid(SCORES), [1, 1, 0, 1])
  same(voting.total(SCORES, ONE), [17, 17, 6])
  same(voting.mean(SCORES, ONE), [17 / 3, 17 / 3, 2])
  some = jnp.array([1.0, 0, 1, 0])
  same(voting.total(SCORES, some), SCORES[0])
  same(voting.mean(SCORES, some), SCORES[0])
  weights = jnp.array([2.0, 1, 5, 0])
  same(voting.total(SCORES, weights), [20, 18, 4])
  same(voting.mean(SCORES, weights), [20 / 3, 6, 4 / 3])


def test_a_sum_is_deepseeks():
  # Principles of different texts, one answer scored as in the paper's form.
  scores = jnp.array([[2.0, 8], [6, 5], [3, 9]])
  same(voting.total(scores, jnp.ones(3)), [11, 22])


def test_majority_by_hand():
  same(voting.majority(SCORES, ONE), [0.5, 0.5, 0])  # 1.5 votes each
  same(voting.majority(SCORES, jnp.array([1.0, 0, 1, 1])), [1, 0, 0])
  verdict = jnp.array([0, 2, 2, -1, 1, 7])
  votes = voting.ballots(verdict, answers=3)
  same(voting.valid(votes), [1, 1, 1, 0, 1, 0])
  same(voting.total(votes, jnp.ones(6)), [1, 1, 2])
  same(voting.mean(votes, jnp.ones(6)), [0.25, 0.25, 0.5])
  same(voting.majority(votes, jnp.ones(6)), [0, 0, 1])


def brute_majority(scores, mask):
  count = collections.Counter()
  for text, there in zip(scores, mask, strict=True):
    if there and not np.isnan(text).any():
      best = np.flatnonzero(text == text.max())
      count.update(dict.fromkeys(best.tolist(), 60 // len(best)))
  if not count:
    return np.full(scores.shape[-1], NAN)
  most = max(count.values())
  won = np.array([count[i] == most for i in range(scores.shape[-1])])
  return won / won.sum()


@pytest.mark.parametrize('seed', range(5))
def test_fuzzed_votes(seed):
  rng, scores, mask = fuzz(seed)
  k, n = scores.shape[-2:]
  flat, rows = scores.reshape(-1, k, n), mask.reshape(-1, k)
  found = np.reshape(voting.majority(scores, mask), (-1, n))
  same(found, [brute_majority(*one) for one in zip(flat, rows, strict=True)])
  there = ~np.isnan(scores).any(-1) & (mask > 0)
  added = np.where(there[..., None], scores, 0).sum(-2)
  none = ~there.any(-1)
  added[none] = NAN
  same(voting.total(scores, mask), added)
  count = there.sum(-1, keepdims=True)
  same(voting.mean(scores, mask), added / np.maximum(count, 1))
  # Neither the order of texts nor that of answers matters.
  texts, answers = rng.permutation(k), rng.permutation(n)
  for rule in (voting.total, voting.mean, voting.majority):
    moved = rule(scores[..., texts, :][..., answers], mask[..., texts])
    np.testing.assert_allclose(
      moved, np.asarray(rule(scores, mask))[..., answers], rtol=1e-5
    )
    meta = rng.normal(size=mask.shape).astype(np.float32)
    every = voting.filtered(meta, mask, keep=int(k))
    same(rule(scores, every), rule(scores, mask))


def test_votes_are_the_same_compiled():
  for rule in (voting.total, voting.mean, voting.majority):
    same(jax.jit(rule)(SCORES, ONE), rule(SCORES, ONE))


@pytest.mark.parametrize(
  'rule', [voting.total, voting.mean, voting.majority, voting.mean_yes]
)
def test_nothing_that_counts_is_no_vote(rule):
  last = () if rule is voting.mean_yes else (2,)
  for scores, mask in (
    (jnp.full((3, 4, *last), NAN), jnp.ones((3, 4))),
    (jnp.ones((3, 4, *last)), jnp.zeros((3, 4))),
    (jnp.ones((3, 0, *last)), jnp.ones((3, 0))),
  ):
    found = rule(scores, mask)
    assert found.shape == (3, *last)
    assert np.isnan(found).all()


def test_one_answer_has_every_vote():
  scores = jnp.array([[3.0], [NAN], [5.0]])
  same(voting.majority(scores, jnp.ones(3)), [1])
  same(voting.total(scores, jnp.ones(3)), [8])


def test_filtered_by_hand():
  meta = jnp.array([0.2, 0.9, 0.9, NAN, 0.5, 0.1])
  same(voting.filtered(meta, jnp.ones(6)), [0, 1, 1, 0, 1, 0])
  same(voting.filtered(meta, jnp.ones(6), keep=1), [0, 1, 0, 0, 0, 0])
  some = jnp.array([1.0, 0, 2, 1, 1, 1])
  same(voting.filtered(meta, some, keep=2), [0, 0, 2, 0, 1, 0])
  same(voting.filtered(meta, jnp.zeros(6)), np.zeros(6))
  same(voting.filtered(jnp.zeros(1), jnp.ones(1)), [1])  # at least one
  for keep in (0, 7):
    with pytest.raises(ValueError, match='from 1 to 6'):
      voting.filtered(meta, jnp.ones(6), keep=keep)


def test_a_meta_model_that_knows_saves_the_vote():
  # DeepSeek's rule: the k / 2 best, then the sum.
  scores = jnp.array([[9.0, 1], [9, 2], [4, 6], [3, 6]])
  meta = jnp.array([-1.0, -2, 3, 2])
  assert int(jnp.argmax(voting.total(scores, ONE))) == 0
  kept = voting.filtered(meta, voting.valid(scores))
  same(voting.total(scores, kept), [7, 12])
  same(voting.majority(scores, kept), [0, 1])


def test_an_invalid_text_takes_no_place_among_the_kept():
  meta = jnp.array([5.0, 4, 3, 2])
  kept = voting.filtered(meta, voting.valid(SCORES), keep=3)
  same(kept, [1, 1, 0, 1])


def test_mean_yes():
  yes = jnp.array([[0.9, 0.7, NAN], [0.2, 0.4, 0.3]])
  same(voting.mean_yes(yes, jnp.ones((2, 3))), [0.8, 0.3])
  same(voting.mean_yes(yes, jnp.array([[0, 1, 1], [1, 1, 0]])), [0.7, 0.3])


def test_what_was_shown_in_another_order_is_put_back():
  rng = np.random.default_rng(0)
  answers = rng.normal(size=(5, 4)).astype(np.float32)
  order = np.stack([rng.permutation(4) for _ in range(5)])
  shown = np.take_along_axis(answers, order, -1)
  same(voting.restored(shown, order), answers)
  place = shown.argmax(-1)
  same(voting.restored_verdict(place, order), answers.argmax(-1))
  invalid = np.array([-1, 4, 0, 3, -1])
  found = voting.restored_verdict(invalid, order)
  same(found, [-1, -1, order[2, 0], order[3, 3], -1])


def test_a_judge_of_places_is_no_judge_of_answers():
  """Over both orders its votes are a tie, by scores and by verdicts."""
  order = jnp.array([[0, 1], [1, 0]])
  scores = voting.restored(jnp.array([[8.0, 3], [8, 3]]), order)
  same(voting.total(scores, jnp.ones(2)), [11, 11])
  verdict = voting.restored_verdict(jnp.zeros(2, int), order)
  votes = voting.ballots(verdict, answers=2)
  same(voting.majority(votes, jnp.ones(2)), [0.5, 0.5])


def test_split_and_drawn_agree_about_ties():
  votes = jnp.array([[2.0, 2 + 1e-6, 1, 2], [0, 0, 0, 1], [NAN] * 4])
  same(voting.split(votes), [[1 / 3, 1 / 3, 0, 1 / 3], [0, 0, 0, 1], [NAN] * 4])
  draw = functools.partial(voting.drawn, votes=votes)
  found = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 900)))
  assert set(found[:, 1]) == {3}
  assert set(found[:, 2]) == {-1}
  counts = np.bincount(found[:, 0], minlength=4)
  assert counts[2] == 0
  assert (np.abs(counts[[0, 1, 3]] - 300) < 5 * np.sqrt(200)).all()
