"""Votes: what k texts of a judge say together.

Scores are `[..., k, n]`, of n answers by each of k texts; verdicts `[..., k]`
become such by `ballots`. A pointwise judge reads one answer at a time: each
answer is a prompt of its own, with n = 1. Answers are in one order in all k
texts: what was shown in another is first put back (`restored`).

A mask `[..., k]` says which texts count; it may hold weights >= 0. Where none
counts, there is no vote: NaN. A text counts whole or not at all, because
leaving one answer out of a sum would be a score of 0 for it: `valid`.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision


def restored(places: types.Array, order: types.Array) -> types.Array:
  """Returns scores by answer `[..., n]`, of scores by the place shown.

  Args:
    places: `[..., n]` of the answer shown at each place.
    order: `[..., n]` int, which answer stood at each place: a permutation.
  """
  chex.assert_equal_shape([places, order])
  chex.assert_type(order, int)
  return jnp.take_along_axis(jnp.asarray(places), jnp.argsort(order, -1), -1)


def restored_verdict(verdict: types.Array, order: types.Array) -> types.Array:
  """Returns the answer `[...]` that a verdict on places prefers, -1 if none.

  Args:
    verdict: `[...]` int, the place that is preferred; -1 is invalid.
    order: `[..., n]` int, which answer stood at each place.
  """
  _verdicts(verdict)
  chex.assert_shape(verdict, order.shape[:-1])
  n = order.shape[-1]
  place = jnp.clip(verdict, 0, n - 1)[..., None]
  answer = jnp.take_along_axis(jnp.asarray(order), place, -1)[..., 0]
  return jnp.where((verdict >= 0) & (verdict < n), answer, -1)


def valid(scores: types.Array) -> types.Array:
  """Returns the mask `[..., k]` of texts that score every answer.

  Args:
    scores: `[..., k, n]`, NaN where invalid.
  """
  return jnp.all(~jnp.isnan(precision.raised(scores)), -1).astype(jnp.float32)


def ballots(verdict: types.Array, *, answers: int) -> types.Array:
  """Returns verdicts as scores `[..., k, n]`: 1 for the one preferred, else 0.

  Args:
    verdict: `[..., k]` int; one that is no answer, as -1, is NaN in all n.
    answers: n.
  """
  _verdicts(verdict)
  each = jax.nn.one_hot(verdict, answers, dtype=jnp.float32)
  there = (verdict >= 0) & (verdict < answers)
  return jnp.where(there[..., None], each, jnp.nan)


def filtered(
  meta: types.Array, mask: types.Array, *, keep: int | None = None
) -> types.Array:
  """Returns the mask `[..., k]` of the texts that a meta model likes best.

  With `keep` = k every text that has a score counts, as without a meta model.

  Args:
    meta: `[..., k]` how likely each text is to be right, in any unit; NaN, as
      a text outside the mask, is never kept. Of equal ones the earlier is.
    mask: `[..., k]`; weights stay as they are.
    keep: how many to keep, from 1 to k; k / 2 if not said, and at least 1.

  References:
    Liu et al. 2025 (DeepSeek-GRM, k_meta = k / 2), arXiv:2504.02495.

  Raises:
    ValueError: `keep` is not from 1 to k.
  """
  chex.assert_equal_shape([meta, mask])
  k = meta.shape[-1]
  keep = max(1, k // 2) if keep is None else keep
  if not 1 <= keep <= k:
    raise ValueError(f'keep {keep}: from 1 to {k} texts')
  meta, mask = precision.raised(meta), precision.raised(mask)
  there = (mask > 0) & ~jnp.isnan(meta)
  earlier = jnp.tril(jnp.ones((k, k), bool), -1)
  own, other = meta[..., :, None], meta[..., None, :]
  before = (other > own) | ((other == own) & earlier)
  place = jnp.sum(before & there[..., None, :], -1)
  return jnp.where(there & (place < keep), mask, 0.0)


def total(scores: types.Array, mask: types.Array) -> types.Array:
  """Returns the sum of scores `[..., n]` over the texts that count.

      S*_i = sum over j of m_j S_ij

  Args:
    scores: `[..., k, n]` S; `ballots` give the number of votes.
    mask: `[..., k]` m; a text with a NaN does not count, whatever it says.

  References:
    Liu et al. 2025 (DeepSeek-GRM), arXiv:2504.02495.
  """
  scores, weight = _weighed(scores, mask)
  some = jnp.any(weight > 0, -1, keepdims=True)
  return jnp.where(some, jnp.sum(weight[..., None] * scores, -2), jnp.nan)


def mean(scores: types.Array, mask: types.Array) -> types.Array:
  """Returns the mean of scores `[..., n]` over the texts that count.

  With `ballots` it is each answer's share of the votes. Means compare answers
  that different numbers of texts judged, as of a pointwise judge; sums do not.

  Args:
    scores: `[..., k, n]`.
    mask: `[..., k]`; a text with a NaN does not count, whatever it says.
  """
  scores, weight = _weighed(scores, mask)
  count = jnp.sum(weight, -1, keepdims=True)
  some = count > 0
  added = jnp.sum(weight[..., None] * scores, -2)
  return jnp.where(some, added / jnp.where(some, count, 1.0), jnp.nan)


def mean_yes(yes: types.Array, mask: types.Array) -> types.Array:
  """Returns the mean over texts of the probability of 'yes', `[...]`.

      1/k sum over j of P(yes | answer, text j)

  Args:
    yes: `[..., k]` probabilities after each text, as the logistic of
      `heads.implicit.yes_logit`; NaN is invalid.
    mask: `[..., k]`.

  References:
    Zhang et al. 2024 (GenRM-CoT), arXiv:2408.15240.
  """
  chex.assert_equal_shape([yes, mask])
  return mean(jnp.asarray(yes)[..., None], mask)[..., 0]


def majority(scores: types.Array, mask: types.Array) -> types.Array:
  """Returns each answer's part `[..., n]` of the win; it sums to 1.

  Every text gives one vote to the answer that it scores best, or equal parts
  of it to several; the answers with most votes win, each 1 / m of m.

  Args:
    scores: `[..., k, n]`, or `ballots`.
    mask: `[..., k]`; a text with a NaN does not count, whatever it says.

  References:
    Wang et al. 2022 (self-consistency), arXiv:2203.11171.
  """
  votes = split(jnp.where(valid(scores)[..., None] > 0, scores, jnp.nan))
  return split(total(votes, mask))


def split(votes: types.Array, *, tolerance: float = 1e-5) -> types.Array:
  """Returns 1 / m `[..., n]` for each of the m best, and 0 for the others.

  Args:
    votes: `[..., n]`; NaN where there is none, in all n.
    tolerance: votes that are so near the best one are equal to it, in any
      order of adding up.
  """
  best = _best(votes, tolerance)
  share = best / jnp.maximum(jnp.sum(best, -1, keepdims=True), 1)
  none = jnp.any(jnp.isnan(votes), -1, keepdims=True)
  return jnp.where(none, jnp.nan, share)


def drawn(
  key: types.Key, votes: types.Array, *, tolerance: float = 1e-5
) -> types.Array:
  """Returns one of the best answers `[...]`, each as likely; -1 where none is.

  Args:
    key: one for all; it decides nothing where one answer is best.
    votes: `[..., n]` of any rule; NaN where there is none, in all n.
    tolerance: see `split`.
  """
  best = _best(votes, tolerance)
  chance = jax.random.uniform(key, best.shape)
  answer = jnp.argmax(jnp.where(best, chance, -1.0), -1)
  return jnp.where(jnp.any(jnp.isnan(votes), -1), -1, answer)


def _best(votes: types.Array, tolerance: float) -> types.Array:
  votes = precision.raised(votes)
  return votes >= jnp.max(votes, -1, keepdims=True) - tolerance


def _weighed(
  scores: types.Array, mask: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns scores and weights, 0 for both where a text does not count."""
  chex.assert_shape(mask, scores.shape[:-1])
  there = (valid(scores) > 0) & (jnp.asarray(mask) > 0)
  weight = jnp.where(there, precision.raised(mask), 0.0)
  return jnp.where(there[..., None], precision.raised(scores), 0.0), weight


def _verdicts(verdict: types.Array) -> None:
  chex.assert_type(verdict, int)
