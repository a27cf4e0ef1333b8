"""Sides of real texts: what is served of them, and who leans to their own.

Rewards are given as arrays: nothing here fits or reads a model.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from prm_jax.ops import tilting

_MOST = 100.0  # inverse temperature, in units of the rewards' spread
_LEAST = 1e-6


def served_side(
  reward: np.ndarray, side: np.ndarray, pools: np.ndarray, divergence: float
) -> np.ndarray:
  """Returns the mean side `[U, P]` of what is served from every pool.

  pi proportional to exp(beta r) over a pool, with the beta at which the mean
  of KL(pi | uniform) over people and pools is `divergence`.

  Args:
    reward: `[U, M]`.
    side: `[M]`.
    pools: `[P, K]` rows of texts.
    divergence: in nats, below log K.
  """
  rewards = reward[:, pools]
  rewards = rewards - rewards.max(-1, keepdims=True)
  scale = rewards.std() + 1e-12

  def policy(beta):
    return special.softmax(beta * rewards, axis=-1)

  def mean_divergence(beta):
    pi = policy(beta)
    return (special.xlogy(pi, pi).sum(-1) + np.log(pools.shape[1])).mean()

  beta = tilting.inverse_temperature(
    mean_divergence, divergence, least=_LEAST / scale, most=_MOST / scale
  )
  return (policy(beta) * side[pools]).sum(-1)


def systematic_variance(stance: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the mean covariance over people between pools, `[R]`.

  What is of a person and not of a pool; an error of belief that stays with a
  person counts, because they are served it.

  Args:
    stance: `[U, P]` of every person and pool, P at least 2.
    weights: `[R, U]` of the people.
  """
  total = weights.sum(1, keepdims=True)
  # Centred first: a bootstrap of numbers near each other stays exact.
  centred = stance - stance.mean(0)

  def variance(x):
    mean = weights @ x / total
    return weights @ x**2 / total - mean**2

  P = stance.shape[1]
  of_sum = variance(centred.sum(1, keepdims=True))[:, 0]
  return (of_sum - variance(centred).sum(1)) / (P * (P - 1))


class Stated(NamedTuple):
  """n records of people who said that they are on a side, or against it.

  Attributes:
    user: `[n]`.
    side: `[n]` number of the side.
    sign: `[n]` 1 on it, -1 against it.
    apart: `[n, D]` mean features of this side minus those of the other.
  """

  user: np.ndarray
  side: np.ndarray
  sign: np.ndarray
  apart: np.ndarray

  def take(self, chosen: np.ndarray) -> 'Stated':
    """Returns some of the records."""
    return Stated(*(column[chosen] for column in self))

  def by_person(self, values: np.ndarray) -> np.ndarray:
    """Returns means of `[n]` over each person's records, of who has any."""
    _, person = np.unique(self.user, return_inverse=True)
    return np.bincount(person, values) / np.bincount(person)

  def lean(self, weights: np.ndarray) -> np.ndarray:
    """Returns by how much rewards prefer this side to the other, `[n]`.

    Args:
      weights: `[U, D]` of the features.
    """
    return np.einsum('nd,nd->n', weights[self.user], self.apart)


def own_side(stated: Stated, lean: np.ndarray) -> np.ndarray:
  """Returns by how much people's rewards lean to their own side.

  Args:
    stated: n records.
    lean: `[n]` of a person's rewards to the record's side.

  Returns:
    Means over each person's records, of who has any.
  """
  return stated.by_person(stated.sign * lean)


def shuffled(
  stated: Stated, lean: np.ndarray, *, replicates: int, seed: int
) -> np.ndarray:
  """Returns the mean of `own_side` under permuted signs, `[R]`.

  Signs are permuted among the records of a side: more people may be on a side
  than against it, so that chance need not be zero.

  Args:
    stated: n records.
    lean: `[n]`.
    replicates: R.
    seed: of the permutations.
  """
  rng = np.random.default_rng([seed, 20])
  sign, side = stated.sign, stated.side
  by_side = np.argsort(side, kind='stable')
  mixed, means = np.empty_like(sign), np.zeros(replicates)
  for r in range(replicates):
    mixed[by_side] = sign[np.lexsort((rng.random(len(side)), side))]
    means[r] = stated.by_person(mixed * lean).mean()
  return means


def planted_weights(stated: Stated, planted: float, people: int) -> np.ndarray:
  """Returns weights that make people lean to their own sides, `[U, D]`.

  Args:
    stated: n records.
    planted: by how much, in logits, averaged over a person's records.
    people: U.
  """
  size = (stated.apart**2).sum(1, keepdims=True)
  own = np.zeros((people, stated.apart.shape[1]))
  lean = planted * stated.sign[:, None] * stated.apart / size
  np.add.at(own, stated.user, lean)
  records = np.bincount(stated.user, minlength=people)
  return own / np.maximum(records, 1)[:, None]
