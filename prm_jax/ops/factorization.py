"""Bilinear and simplex scores, and the SVD start of a factorised reward."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import pairs, precision


@precision.highest
def bilinear_score(
  encoded: types.Array, coefficients: types.Array
) -> types.Array:
  """Returns lambda . phi, `[..., K]`.

  Args:
    encoded: `[..., K, J]` phi of K answers.
    coefficients: `[..., J]` lambda of the person.

  References:
    Shenfeld et al. 2025 (PReF), arXiv:2503.06358, eq. 3; Barreto et al. 2025
    (RFM), arXiv:2503.17338.
  """
  chex.assert_equal(encoded.shape[-1], coefficients.shape[-1])
  return jnp.einsum('...kj,...j->...k', encoded, coefficients)


def simplex_score(encoded: types.Array, weights: types.Array) -> types.Array:
  """Returns softmax(weights) . phi, `[..., K]`.

  Args:
    encoded: `[..., K, J]` J base rewards of K answers.
    weights: `[..., J]` unnormalised log-weights of the person.

  References:
    Bose et al. 2025 (LoRe), arXiv:2504.14439.
  """
  return bilinear_score(encoded, jax.nn.softmax(weights, axis=-1))


class PreferenceMatrix(NamedTuple):
  """Observed cells of the people x pairs matrix; E >= cells, padded.

  Attributes:
    user: `[E]` int32.
    pair: `[E]` int32, an arbitrary number for each unordered pair of texts.
    logit: `[E]` logit of the smoothed frequency with which the person
      preferred the pair's lower-numbered text.
    weight: `[E]` number of answers in the cell, 0 for padding.
    items: `[E, 2]` the pair's texts, lower number first, by `pair`.
  """

  user: types.Array
  pair: types.Array
  logit: types.Array
  weight: types.Array
  items: types.Array


def preference_matrix(
  judgements: types.Judgements,
  index: types.ArrayLike,
  *,
  smoothing: float = 0.5,
) -> PreferenceMatrix:
  """Returns the observed cells of the people x pairs preference matrix.

      logit = log (preferred + smoothing) / (rest + smoothing)

  Args:
    judgements: of everybody; masked ones do not count. Several answers of a
      person to one pair, in either order, share a cell.
    index: `[B, 2]` the two texts of each.
    smoothing: pseudo-answers to each side, so that one answer is finite.
  """
  items = jnp.asarray(index)
  size = items.shape[0]
  mask = jnp.asarray(judgements.mask, jnp.float32)
  swapped = items[:, 0] > items[:, 1]
  ordered = jnp.sort(items, axis=1)
  label = jnp.where(swapped, 1.0 - judgements.label, judgements.label)
  pairs, pair = jnp.unique(
    ordered, axis=0, size=size, fill_value=0, return_inverse=True
  )
  pair = pair.reshape(-1)
  cells, cell = jnp.unique(
    jnp.stack([jnp.asarray(judgements.user), pair], 1),
    axis=0,
    size=size,
    fill_value=0,
    return_inverse=True,
  )
  cell = cell.reshape(-1)
  count = jax.ops.segment_sum(mask, cell, size)
  preferred = jax.ops.segment_sum(mask * label, cell, size)
  logit = jnp.log(preferred + smoothing) - jnp.log(
    count - preferred + smoothing
  )
  return PreferenceMatrix(cells[:, 0], cells[:, 1], logit, count, pairs)


@precision.highest
def weighted_als(
  key: types.Key,
  matrix: PreferenceMatrix,
  *,
  people: int,
  rank: int,
  ridge: float = 1.0,
  iterations: int = 20,
) -> tuple[types.Array, types.Array]:
  """Returns factors `[U, rank]` and `[E, rank]` of the observed cells.

      min sum_cells weight (logit - u_person . p_pair)^2
          + ridge (|u|^2 + |p|^2)

  by alternating least squares; only observed cells count, none is filled in.
  The result is rotated to the balanced singular form, U sqrt(S), V sqrt(S),
  columns by decreasing singular value.

  Args:
    key: for the random start.
    matrix: observed cells.
    people: U.
    rank: number of factors.
    ridge: on both factors, in answers.
    iterations: rounds over both factors.

  References:
    Koren, Bell and Volinsky 2009; the start of PReF, arXiv:2503.06358,
    algorithm 1. PReF's released code fills missing cells with 0.5 instead.
  """
  pairs = matrix.items.shape[0]
  user = jax.random.normal(key, (people, rank)) / jnp.sqrt(rank)

  def side(factor, mine, other, size):
    """Exact ridge solution of one side, given the other's factor."""
    chosen = factor[other]
    weighted = matrix.weight[:, None] * chosen
    gram = jax.ops.segment_sum(
      weighted[:, :, None] * chosen[:, None, :], mine, size
    )
    target = jax.ops.segment_sum(weighted * matrix.logit[:, None], mine, size)
    gram = gram + ridge * jnp.eye(rank)
    return jnp.linalg.solve(gram, target[..., None])[..., 0]

  def iteration(_, factors):
    user, _ = factors
    pair = side(user, matrix.pair, matrix.user, pairs)
    return side(pair, matrix.user, matrix.pair, people), pair

  pair = jnp.zeros((pairs, rank))
  user, pair = jax.lax.fori_loop(0, iterations, iteration, (user, pair))
  return balanced_factors(user, pair)


@precision.highest
def balanced_factors(
  left: types.Array, right: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns U sqrt(S) and V sqrt(S) of left right^T = U S V^T.

  Args:
    left: `[U, J]`.
    right: `[P, J]`. Neither product nor full decomposition is formed. Where
      U or P is below J there are fewer singular values: the last columns are
      zero.
  """
  q_left, r_left = jnp.linalg.qr(left)
  q_right, r_right = jnp.linalg.qr(right)
  u, s, vt = jnp.linalg.svd(r_left @ r_right.T, full_matrices=False)
  root = jnp.sqrt(s)
  missing = ((0, 0), (0, left.shape[1] - len(s)))
  first, second = q_left @ (u * root), q_right @ (vt.T * root)
  return jnp.pad(first, missing), jnp.pad(second, missing)


@precision.highest
def regress_basis(
  features: types.Array,
  items: types.Array,
  target: types.Array,
  weight: types.Array,
  *,
  ridge: float | types.Array = 1.0,
) -> types.Array:
  """Returns W `[D, J]` with (x_a - x_b) W close to the pair targets.

      min sum_pairs weight |target - (x_a - x_b) W|^2 + ridge |W|^2

  Args:
    features: `[M, D]`.
    items: `[P, 2]` texts of each pair.
    target: `[P, J]` pair factors.
    weight: `[P]` answers to the pair.
    ridge: in answers.
  """
  gram = pairs.gram(features, items, weight)
  gram = gram + ridge * jnp.eye(features.shape[1])
  moment = pairs.moment(features, items, weight[:, None] * target)
  return jax.scipy.linalg.solve(gram, moment, assume_a='pos')
