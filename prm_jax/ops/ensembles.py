"""Scores of an ensemble's members in one, and what the members disagree on.

The member axis E comes first in every argument: scores are `[E, ...]`. An
ensemble of one is defined: its members do not disagree.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision


class Decomposition(NamedTuple):
  """A predictive variance, by what it is of; leaves `[...]`.

  Attributes:
    mean: over members.
    aleatoric: mean of what members say that the answer scatters.
    epistemic: population variance of members' means.
  """

  mean: types.Array
  aleatoric: types.Array
  epistemic: types.Array

  @property
  def total(self) -> types.Array:
    """Returns the variance of the mixture of members, `[...]`."""
    return self.aleatoric + self.epistemic


def mean(scores: types.Array) -> types.Array:
  """Returns the mean over members, `[...]`.

  Args:
    scores: `[E, ...]`.
  """
  return jnp.mean(_members(scores), axis=0)


def variance(scores: types.Array) -> types.Array:
  """Returns the population variance over members, `[...]`.

      sum_e (s_e - mean)^2 / E

  Args:
    scores: `[E, ...]`.
  """
  return jnp.var(_members(scores), axis=0)


def worst(scores: types.Array) -> types.Array:
  """Returns the least of the members' scores, `[...]`: WCO.

  Args:
    scores: `[E, ...]`.

  References:
    Coste et al. 2023, arXiv:2310.02743.
  """
  return jnp.min(_members(scores), axis=0)


def penalized(
  scores: types.Array, *, strength: float | types.Array
) -> types.Array:
  """Returns mean - strength * variance, `[...]`: UWO.

  Args:
    scores: `[E, ...]`.
    strength: lambda >= 0, per unit of score; 0.1 to 0.5 are published.

  References:
    Coste et al. 2023, arXiv:2310.02743.

  Notes:
    The variance is the population's, over E and not E - 1, as in the released
    code.
  """
  return mean(scores) - strength * variance(scores)


def lower_bound(
  scores: types.Array, *, width: float | types.Array
) -> types.Array:
  """Returns mean - width * standard deviation, `[...]`.

  Where members agree, the gradient of the deviation is taken as 0.

  Args:
    scores: `[E, ...]`.
    width: standard deviations below the mean; -width gives an upper bound.
      Two are RewardUQ's.

  References:
    Yang et al. 2026 (RewardUQ), arXiv:2602.24040.
  """
  spread = variance(scores)
  # Both branches are differentiated: sqrt must not see the zeros.
  apart = spread > 0
  deviation = jnp.sqrt(jnp.where(apart, spread, 1.0))
  return mean(scores) - width * jnp.where(apart, deviation, 0.0)


def quantile(scores: types.Array, *, level: float | types.Array) -> types.Array:
  """Returns a quantile of the members' scores, `[...]`, interpolated.

  Args:
    scores: `[E, ...]`.
    level: in [0, 1]; 0 is `worst`.
  """
  return jnp.quantile(_members(scores), level, axis=0)


@precision.highest
def covariance(scores: types.Array) -> types.Array:
  """Returns the population covariance over members, `[..., K, K]`.

  Args:
    scores: `[E, ..., K]` of K candidates.
  """
  apart = _members(scores) - jnp.mean(scores, axis=0)
  return jnp.einsum('e...k,e...l->...kl', apart, apart) / scores.shape[0]


def decompose(mean: types.Array, variance: types.Array) -> Decomposition:
  """Returns what members predict to scatter, and what they disagree on.

      total = mean_e(variance_e) + var_e(mean_e)

  Args:
    mean: `[E, ...]` predicted by each member.
    variance: `[E, ...]` predicted by each member, not below 0.

  References:
    Lakshminarayanan et al. 2017, arXiv:1612.01474.
  """
  chex.assert_equal_shape([mean, variance])
  return Decomposition(
    jnp.mean(_members(mean), axis=0),
    jnp.mean(variance, axis=0),
    jnp.var(mean, axis=0),
  )


def _members(scores):
  """Returns the scores, of which there are some."""
  if jnp.ndim(scores) < 1 or not jnp.shape(scores)[0]:
    raise ValueError(
      f'scores {jnp.shape(scores)}: the first axis is of members, one at least'
    )
  return scores
