import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.ops.heads import choices, lists


def ones(*shape):
  return jnp.ones(shape)


def nll_of_order(score, order):
  """Of candidates drawn one by one without replacement."""
  left, total = list(range(len(score))), 0.0
  for chosen in order:
    total -= score[chosen] - special.logsumexp(score[left])
    left.remove(chosen)
  return total


@pytest.fixture
def score():
  return np.random.default_rng(0).normal(0, 2, size=4)


def ranked(score, order, **options):
  rank = np.empty(len(order))
  rank[list(order)] = np.arange(len(order))
  mask = ones(1, len(score))
  return float(
    lists.plackett_luce(
      jnp.asarray(score)[None], jnp.asarray(rank)[None], mask, **options
    )[0]
  )


def test_all_orders_have_a_probability_and_it_is_theirs(score):
  found = {
    order: ranked(score, order) for order in itertools.permutations(range(4))
  }
  for order, nll in found.items():
    assert nll == pytest.approx(nll_of_order(score, order), rel=1e-4)
  assert sum(np.exp(-nll) for nll in found.values()) == pytest.approx(1.0, 1e-5)


def test_top_sums_over_the_orders_of_the_rest(score):
  for first in itertools.permutations(range(4), 2):
    rest = [i for i in range(4) if i not in first]
    want = special.logsumexp(
      [-nll_of_order(score, (*first, *p)) for p in itertools.permutations(rest)]
    )
    found = ranked(score, (*first, *rest), top=2)
    assert found == pytest.approx(-want, rel=1e-4)
    assert ranked(score, (*first, *rest[::-1]), top=2) == pytest.approx(
      found, rel=1e-5
    )


def test_two_candidates_are_bradley_terry(score):
  pair = jnp.asarray(score.reshape(2, 2))
  found = lists.plackett_luce(pair, jnp.array([[1, 2], [2, 1]]), ones(2, 2))
  want = choices.bradley_terry(pair[:, 0] - pair[:, 1], jnp.array([1.0, 0.0]))
  np.testing.assert_allclose(found, want, rtol=1e-5)
  tied = lists.plackett_luce(pair, ones(2, 2), ones(2, 2))
  half = choices.bradley_terry(pair[:, 0] - pair[:, 1], jnp.full(2, 0.5))
  np.testing.assert_allclose(tied, 2 * half - np.log(2), rtol=1e-5)


def test_ties(score):
  rank, mask = jnp.array([[2, 1, 2, 2]]), ones(1, 4)
  e = np.exp(score)
  tied = e[[0, 2, 3]]
  breslow = np.log(e.sum()) - score[1]
  breslow += sum(np.log(tied.sum()) - np.log(t) for t in tied)
  efron = np.log(e.sum()) - score[1] - np.log(tied).sum()
  efron += sum(np.log(tied.sum() * (1 - i / 3)) for i in range(3))
  for ties, want in (('breslow', breslow), ('efron', efron)):
    found = lists.plackett_luce(jnp.asarray(score)[None], rank, mask, ties=ties)
    np.testing.assert_allclose(found, want, rtol=1e-4)
  # Near the mean of the likelihood over the orders of those that are tied.
  near = np.asarray(score) * 0.1
  orders = [
    nll_of_order(near, (1, *p)) for p in itertools.permutations([0, 2, 3])
  ]
  mean = -special.logsumexp(-np.array(orders)) + np.log(6)
  found = lists.plackett_luce(jnp.asarray(near)[None], rank, mask)
  np.testing.assert_allclose(found, mean, atol=0.02)
  with pytest.raises(ValueError, match='one of'):
    lists.plackett_luce(jnp.asarray(score)[None], rank, mask, ties='first')


@pytest.mark.parametrize('k', [2, 3, 6])
def test_ties_only_of_equal_scores(k):
  found = lists.plackett_luce(jnp.zeros((1, k)), ones(1, k), ones(1, k))
  np.testing.assert_allclose(found, math.log(math.factorial(k)), rtol=1e-5)


def test_a_tie_that_the_limit_cuts_counts_whole(score):
  rank, mask = jnp.array([[1, 2, 2, 3]]), ones(1, 4)
  two = lists.plackett_luce(jnp.asarray(score)[None], rank, mask, top=2)
  three = lists.plackett_luce(jnp.asarray(score)[None], rank, mask, top=3)
  np.testing.assert_allclose(two, three, rtol=1e-6)
  with pytest.raises(ValueError, match='at least one'):
    lists.plackett_luce(jnp.asarray(score)[None], rank, mask, top=0)


def test_padding_is_as_if_it_were_not_there(score):
  short = jnp.asarray(score[:3])[None]
  rank = jnp.array([[2, 1, 3]])
  padded = jnp.concatenate([short, jnp.full((1, 2), jnp.nan)], 1)
  more = jnp.concatenate([rank, jnp.array([[0, 1]])], 1)
  mask = jnp.array([[1, 1, 1, 0, 0]])
  for function in (lists.plackett_luce, lists.all_pairs):
    np.testing.assert_allclose(
      function(padded, more, mask), function(short, rank, ones(1, 3)), rtol=1e-6
    )
  np.testing.assert_allclose(
    lists.best_of_n(padded, jnp.array([1]), mask),
    lists.best_of_n(short, jnp.array([1]), ones(1, 3)),
    rtol=1e-6,
  )


def test_one_candidate_says_nothing():
  one, mask = jnp.full((1, 1), 3.0), ones(1, 1)
  for found in (
    lists.plackett_luce(one, mask, mask),
    lists.best_of_n(one, jnp.array([0]), mask),
    lists.listnet(one, one, mask),
    lists.all_pairs(one, mask, mask),
  ):
    np.testing.assert_array_equal(found, 0.0)


def test_best_of_n_is_a_softmax(score):
  many = jnp.asarray(np.tile(score, (4, 1)))
  found = lists.best_of_n(many, jnp.arange(4), ones(4, 4))
  np.testing.assert_allclose(found, -special.log_softmax(score), rtol=1e-5)
  # A winner that is padding is none.
  gone = lists.best_of_n(many, jnp.arange(4), ones(4, 4).at[2, 2].set(0))
  assert gone[2] == 0
  nobody = lists.best_of_n(many, jnp.array([-1, 4, 9, -4]), ones(4, 4))
  np.testing.assert_array_equal(nobody, 0.0)


def test_listnet(score):
  relevance = np.array([0.0, 1.0, -1.0, 2.0])
  found = lists.listnet(
    jnp.asarray(score)[None], jnp.asarray(relevance)[None], ones(1, 4)
  )
  want = -special.softmax(relevance) @ special.log_softmax(score)
  np.testing.assert_allclose(found, want, rtol=1e-5)
  sure = jnp.array([[-jnp.inf, 0.0, -jnp.inf, -jnp.inf]])
  np.testing.assert_allclose(
    lists.listnet(jnp.asarray(score)[None], sure, ones(1, 4)),
    -special.log_softmax(score)[1],
    rtol=1e-5,
  )


def test_all_pairs_is_the_mean_over_pairs(score):
  rank = np.array([2, 1, 2, 3])
  total = []
  for i, j in itertools.combinations(range(4), 2):
    label = (1 + np.sign(rank[j] - rank[i])) / 2
    d = score[i] - score[j]
    total.append(label * np.logaddexp(0, -d) + (1 - label) * np.logaddexp(0, d))
  found = lists.all_pairs(
    jnp.asarray(score)[None], jnp.asarray(rank)[None], ones(1, 4)
  )
  np.testing.assert_allclose(found, np.mean(total), rtol=1e-5)
