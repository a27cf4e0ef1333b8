"""PRIME's episodic memory on votes: what one said of the nearest statements.

A statement recalls those of a person's answers whose texts are most like it;
how much more often the person agreed with them than expected is added to what
is expected of it, at a weight that votes which were not recalled from choose.

References:
  Zhang et al. 2025 (PRIME), arXiv:2507.04607.
"""

import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax.ops import collaborative

NEAREST = 8  # answers that are recalled
HELD_OUT = 0.12  # of the votes, by which the weight is chosen
_PRECISION = 1.0  # of the weight, in logits
_NEWTON = 20


def parts(
  votes: collaborative.Votes, seed: int
) -> tuple[collaborative.Votes, collaborative.Votes]:
  """Returns votes to recall, and others by which a weight is chosen.

  Args:
    votes: to learn from.
    seed: of which is which.
  """
  weight = np.asarray(votes.weight)
  asked = np.random.default_rng([seed, 43]).random(weight.shape) < HELD_OUT
  return (
    votes._replace(weight=jnp.asarray(weight * ~asked)),
    votes._replace(weight=jnp.asarray(weight * asked)),
  )


def likeness(read: np.ndarray) -> np.ndarray:
  """Returns cosines of texts `[S, D]`, less their mean, `[S, S]`."""
  away = read - read.mean(0)
  size = np.linalg.norm(away, axis=1, keepdims=True)
  away = away / np.where(size > 1e-9, size, 1.0)
  return away @ away.T


def surprise(
  votes: collaborative.Votes, chance: np.ndarray, like: np.ndarray
) -> np.ndarray:
  """Returns how much oftener one agreed with the nearest, `[P, S]`.

  The mean of answer less P(agrees) over the nearest answers of the person, a
  vote on the statement itself left out; 0 where there is none.

  Args:
    votes: that are recalled.
    chance: `[P, S]` P(agrees) that is expected.
    like: `[S, S]` of texts.
  """
  weight = np.asarray(votes.weight) > 0
  more = np.asarray(votes.agrees, np.float64) - chance
  like = like.copy()
  np.fill_diagonal(like, -np.inf)
  found = np.zeros(chance.shape)
  for person in np.flatnonzero(weight.any(1)):
    mine = np.flatnonzero(weight[person])
    near = like[:, mine]
    if len(mine) > NEAREST:
      place = np.argpartition(-near, NEAREST - 1, 1)[:, :NEAREST]
      near, own = np.take_along_axis(near, place, 1), more[person, mine][place]
    else:
      own = np.broadcast_to(more[person, mine], near.shape)
    there = np.isfinite(near)
    count = np.maximum(there.sum(1), 1)
    found[person] = (own * there).sum(1) / count
  return found


def weighed(
  asked: collaborative.Votes, chance: np.ndarray, more: np.ndarray
) -> float:
  """Returns the weight of what is recalled that predicts votes best.

  Args:
    asked: votes that were not recalled from.
    chance: `[P, S]` P(agrees) that is expected.
    more: `[P, S]` of `surprise`.
  """
  where = np.asarray(asked.weight) > 0
  agrees = np.asarray(asked.agrees)[where]
  offset, feature = special.logit(chance[where]), more[where]
  weight = 0.0
  for _ in range(_NEWTON):
    said = special.expit(offset + weight * feature)
    slope = feature @ (agrees - said) - _PRECISION * weight
    curve = (feature**2 * said * (1 - said)).sum() + _PRECISION
    weight += slope / curve
  return float(weight)


def predicted(
  chance: np.ndarray, more: np.ndarray, weight: float
) -> np.ndarray:
  """Returns P(agrees) `[P, S]` with what is recalled.

  Args:
    chance: `[P, S]` that is expected.
    more: `[P, S]` of `surprise`.
    weight: of it, in logits.
  """
  return special.expit(special.logit(chance) + weight * more)
