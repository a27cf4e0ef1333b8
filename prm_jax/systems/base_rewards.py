"""Base rewards to start from: the aggregate's, and those of PReF's SVD."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import bayes, factorization, pairs


@jax.jit
def aggregate_weight(
  features: types.Array,
  judgements: types.Judgements,
  index: types.ArrayLike,
  ridge: types.Array,
) -> types.Array:
  """Returns the weight `[D]` of the linear Bradley-Terry model of everybody.

      argmin_w  sum_n mask_n NLL(label_n | w . (x_a - x_b)) + ridge |w|^2 / 2

  The objective is convex, so Newton solves it exactly: it is the posterior
  mode of one person who gave every answer.

  Args:
    features: `[M, D]`.
    judgements: of everybody, `[N]`.
    index: `[N, 2]` the two texts of each.
    ridge: prior precision, in answers.
  """
  said = jax.tree.map(jnp.asarray, judgements)
  return bayes.pooled_mode(features, index, said.label, said.mask, ridge=ridge)


def spread_bases(
  key: types.Key, weight: types.Array, dim: int, spread: float
) -> types.Array:
  """Returns base rewards `[D, dim]` at random around the aggregate's.

  Args:
    key: the run's seed.
    weight: `[D]` of the aggregate.
    dim: how many.
    spread: of the noise, relative to the aggregate's norm.
  """
  D = weight.shape[0]
  noise = jax.random.normal(jax.random.fold_in(key, 1), (D, dim))
  size = jnp.linalg.norm(weight) + 1.0
  return weight[:, None] + spread * size * noise / jnp.sqrt(D)


@functools.partial(jax.jit, static_argnames=('people', 'rank'))
def svd_bases(
  key: types.Key,
  features: types.Array,
  judgements: types.Judgements,
  index: types.ArrayLike,
  weight: types.Array,
  ridge: types.Array,
  *,
  people: int,
  rank: int,
) -> tuple[types.Array, types.Array]:
  """Returns personal base rewards `[D, rank]` and coefficients `[U, rank]`.

  The weighted low-rank factorisation of the preference matrix's logits, less
  the aggregate's margins, regressed on the features.

  Args:
    key: of the factorisation's start.
    features: `[M, D]`.
    judgements: of everybody, `[N]`.
    index: `[N, 2]` the two texts of each.
    weight: `[D]` of the aggregate.
    ridge: of the regression, in answers.
    people: U.
    rank: how many.

  References:
    Shenfeld et al. 2025 (PReF), arXiv:2503.06358, algorithm 1.
  """
  if not rank:
    return jnp.zeros((features.shape[1], 0)), jnp.zeros((people, 0))
  matrix = factorization.preference_matrix(judgements, index)
  margin = pairs.margins(features, matrix.items, weight)
  residual = matrix._replace(logit=matrix.logit - margin[matrix.pair])
  personal, pair = factorization.weighted_als(
    key, residual, people=people, rank=rank
  )
  # A person's column has variance 1, as the coefficients' prior says.
  scale = jnp.sqrt(jnp.mean(personal**2, 0)) + 1e-6
  answers = jax.ops.segment_sum(
    matrix.weight, matrix.pair, matrix.items.shape[0]
  )
  bases = factorization.regress_basis(
    features, matrix.items, pair * scale, answers, ridge=ridge
  )
  return bases, personal / scale


def start(
  key: types.Key,
  features: types.Array,
  judgements: types.Judgements,
  index: types.ArrayLike,
  hyper: Mapping[str, types.Array],
  *,
  people: int,
  dim: int,
) -> tuple[types.Array, types.Array, types.Array]:
  """Returns the aggregate's weight, the SVD's bases, and people in them.

  `[D]`, `[D, dim - 1]` and `[U, dim - 1]`; see `aggregate_weight` and
  `svd_bases`.

  Args:
    key: of the factorisation's start.
    features: `[M, D]`.
    judgements: of everybody, `[N]`.
    index: `[N, 2]` the two texts of each.
    hyper: 'ridge' of the aggregate and 'basis_ridge', in answers.
    people: U.
    dim: base rewards, the aggregate's included.
  """
  weight = aggregate_weight(features, judgements, index, hyper['ridge'])
  others, personal = svd_bases(
    key,
    features,
    judgements,
    index,
    weight,
    hyper['basis_ridge'],
    people=people,
    rank=dim - 1,
  )
  return weight, others, personal
