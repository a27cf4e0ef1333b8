"""Heads of K candidates that are compared at once.

The label is `[B, K]`, the rank of each, 0 for the best; candidates whose index
is negative are padding, whatever their rank.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.heads import paired
from prm_jax.ops.heads import lists


def every_pair(said, count):
  """Returns all pairs of a list; a list counts once, equals not at all."""
  candidates = np.array(list(itertools.combinations(range(count), 2)))
  first, second = said[:, candidates[:, 0]], said[:, candidates[:, 1]]
  differ = (first != second).astype(jnp.float32)
  return paired.Pairs(
    candidates,
    (first < second).astype(jnp.float32),
    differ / jnp.maximum(differ.sum(1, keepdims=True), 1.0),
  )


def _best_and_others(said, count):
  """Returns the pairs of the best of a list with each other one."""
  pairs = every_pair(said, count)
  best = said == said.min(1, keepdims=True)
  told = best[:, pairs.candidates].any(-1)
  weight = jnp.where(told & (pairs.weight > 0), 1.0, 0.0)
  weight = weight / jnp.maximum(weight.sum(1, keepdims=True), 1.0)
  return pairs._replace(weight=weight)


def _chances(params, read):
  """Returns the probability `[B, K]` that each candidate is the best."""
  del params
  score = jnp.where(read.mask > 0, read.score, -jnp.inf)
  return jax.nn.softmax(score, -1)


def _head(loss, pairs=every_pair) -> types.Head:
  def nll(params, read, said):
    del params
    return loss(read.score, said, read.mask)

  return types.Head(dict, nll, _chances, paired.unchanged, pairs)


def plackett_luce(*, top: int | None = None, ties: str = 'efron') -> types.Head:
  """Returns the likelihood of an order by Plackett and Luce.

  Args:
    top: only the first so many are told; all if None.
    ties: 'efron' or 'breslow', see `ops.heads.lists`.
  """
  return _head(functools.partial(lists.plackett_luce, top=top, ties=ties))


def best_of_n() -> types.Head:
  """Returns the cross-entropy of the best candidate; others have no order."""

  def loss(score, said, mask):
    known = jnp.where(mask > 0, said, jnp.inf)
    return lists.best_of_n(score, known.argmin(-1), mask)

  return _head(loss, _best_and_others)


def listnet(*, scale: float = 1.0) -> types.Head:
  """Returns ListNet: chances to be the best fall by `scale` logits a rank.

  Args:
    scale: logits a rank.
  """

  def loss(score, said, mask):
    return lists.listnet(score, -scale * said, mask)

  return _head(loss)


def all_pairs() -> types.Head:
  """Returns Bradley-Terry over all pairs of a list, which counts once."""
  return _head(lists.all_pairs)
