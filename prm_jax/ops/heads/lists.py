"""Likelihoods of a choice among, or an order of, K candidates of a prompt.

Scores, ranks and masks are `[..., K]`, masks 1 for a candidate and 0 for
padding, whose score and rank are not read. One candidate, or none, says
nothing: its loss is 0. The first may have a score of +inf and the last one of
-inf; other infinite scores are not defined.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import choices

TIES = ('efron', 'breslow')


def plackett_luce(
  score: types.Array,
  rank: types.Array,
  mask: types.Array,
  *,
  top: int | None = None,
  ties: str = 'efron',
) -> types.Array:
  """Returns the negative log-likelihood `[...]` of an order of K candidates.

      sum over i of log sum over j not before i of exp(r_j - r_i)

  With two candidates it is Bradley-Terry; also called ListMLE.

  Candidates of equal rank are in an order that nobody told. `breslow` divides
  the choice of each of m tied ones by all m and those after them. `efron`
  lets their part of the sum fall by 1 / m with each that is chosen, which is
  near the mean of the likelihood over their m! orders; all tied scores of m
  candidates that are equal give log m! exactly.

  Args:
    score: `[..., K]` r, logits.
    rank: `[..., K]` 1 for the best; only the order counts.
    mask: `[..., K]`.
    top: only the first so many are told, and the others come after them in
      any order; a tie that the limit would cut counts whole.
    ties: one of `TIES`.

  References:
    Plackett 1975; Luce 1959; Xia et al. 2008 (ListMLE); ties: Breslow 1974,
    Efron 1977.

  Raises:
    ValueError: unknown way of ties, or a limit below 1.
  """
  if ties not in TIES:
    raise ValueError(f'ties {ties!r}: one of {TIES}')
  if top is not None and top < 1:
    raise ValueError(f'top {top}: at least one is told')
  there = _there(score, rank, mask)
  count = score.shape[-1]
  own = jnp.eye(count, dtype=bool)
  other = there[..., None, :] & there[..., :, None]  # [..., i, j]
  after = other & (rank[..., None, :] > rank[..., :, None])
  before = other & (rank[..., None, :] < rank[..., :, None])
  equal = other & (rank[..., None, :] == rank[..., :, None])
  tied = jnp.ones(equal.shape, jnp.float32)
  if ties == 'efron':
    earlier = jnp.tril(jnp.ones((count, count), bool), -1)
    chosen = jnp.sum(equal & earlier, -1, keepdims=True)
    tied -= chosen / jnp.maximum(jnp.sum(equal, -1, keepdims=True), 1)
  weight = jnp.where(after, 1.0, jnp.where(equal, tied, 0.0))
  # Of padding, itself alone: nothing is infinite, and it is left out below.
  weight = jnp.where(there[..., None], weight, own)
  told = there
  if top is not None:
    told &= jnp.sum(before, -1) < top
  choice = _log_ratio(score, there, weight)
  return jnp.sum(jnp.where(told, choice, 0.0), -1)


def best_of_n(
  score: types.Array, winner: types.Array, mask: types.Array
) -> types.Array:
  """Returns the cross-entropy `[...]` of the one candidate that was chosen.

      log sum over j of exp(r_j - r_winner)

  Args:
    score: `[..., K]` r, logits.
    winner: `[...]` int, its place from 0 to K - 1; where there is none, or the
      mask is 0, the loss is 0.
    mask: `[..., K]`.

  References:
    Luce 1959, Individual choice behavior.
  """
  chex.assert_equal_shape([score, mask])
  chex.assert_shape(winner, score.shape[:-1])
  chex.assert_type(winner, int)
  chosen = jnp.arange(score.shape[-1]) == winner[..., None]
  told = jnp.any(chosen & (jnp.asarray(mask) > 0), -1, keepdims=True)
  rank = 1.0 - chosen.astype(jnp.float32)
  there = jnp.where(told, mask, 0)
  return plackett_luce(score, rank, there, top=1, ties='breslow')


def listnet(
  score: types.Array, relevance: types.Array, mask: types.Array
) -> types.Array:
  """Returns ListNet's cross-entropy `[...]` of being the best of K.

      -sum over i of softmax(t)_i log softmax(r)_i

  Args:
    score: `[..., K]` r, logits; finite.
    relevance: `[..., K]` t, how good each is known to be, logits; -inf for
      one that is not to be the best.
    mask: `[..., K]`.

  References:
    Cao et al. 2007, Learning to rank: from pairwise approach to listwise.
  """
  there = _there(score, relevance, mask)
  some = jnp.any(there, -1, keepdims=True)
  there |= ~some  # a softmax of nothing has no gradient
  score = jnp.where(there, precision.raised(score), 0.0)
  relevance = jnp.where(there, precision.raised(relevance), -jnp.inf)
  relevance = jnp.where(some, relevance, 0.0)
  target = jax.nn.softmax(relevance, -1)
  total = jax.nn.logsumexp(score, -1, where=there, keepdims=True)
  each = jnp.where(target > 0, target * (total - score), 0.0)
  return jnp.where(some[..., 0], jnp.sum(each, -1), 0.0)


def all_pairs(
  score: types.Array, rank: types.Array, mask: types.Array
) -> types.Array:
  """Returns the mean Bradley-Terry loss `[...]` over all pairs of K candidates.

  A prompt counts once, however many pairs it makes. A pair of equal ranks is
  a tie, of label 0.5.

  Args:
    score: `[..., K]` logits.
    rank: `[..., K]` 1 for the best; only the order counts.
    mask: `[..., K]`.

  References:
    Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155.
  """
  there = _there(score, rank, mask)
  count = score.shape[-1]
  upper = jnp.triu(jnp.ones((count, count), bool), 1)
  pair = there[..., :, None] & there[..., None, :] & upper
  score = precision.raised(score)
  # Before the difference: padding may be infinite.
  difference = jnp.where(pair, score[..., :, None], 0.0) - jnp.where(
    pair, score[..., None, :], 0.0
  )
  first, second = rank[..., :, None], rank[..., None, :]
  label = jnp.where(first < second, 1.0, jnp.where(first > second, 0.0, 0.5))
  loss = choices.bradley_terry(difference, label)
  total = jnp.sum(jnp.where(pair, loss, 0.0), (-2, -1))
  return total / jnp.maximum(jnp.sum(pair, (-2, -1)), 1)


def _there(score, other, mask):
  chex.assert_equal_shape([score, other, mask])
  return jnp.asarray(mask) > 0


def _log_ratio(score, there, weight):
  """Returns log sum_j w_ij exp(r_j - r_i), `[..., K]`, for w_ii > 0."""
  score = jnp.where(there, precision.raised(score), 0.0)
  own = jnp.eye(score.shape[-1], dtype=bool)
  # Infinity less itself is not 0; where it is not read, it has no gradient.
  apart = jnp.where(own, 0.0, score[..., None, :] - score[..., :, None])
  read = weight > 0
  logit = jnp.where(
    read, apart + jnp.log(jnp.where(read, weight, 1.0)), -jnp.inf
  )
  return jax.nn.logsumexp(logit, -1)
