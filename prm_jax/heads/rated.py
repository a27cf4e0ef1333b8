"""Heads of ratings of one candidate, and of the steps of one.

The label `[B]` is a rating, in a unit of its own; NaN where nobody gave one.
People may have a level of their own. Steps have labels `[B, K]`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.heads import paired, ranked
from prm_jax.ops.heads import distributions, ratings
from prm_jax.ops.heads import steps as process


def _level(params, score):
  """Returns a score in the unit of ratings, `[B, ...]`."""
  wide = (-1, *[1] * (score.ndim - 1))
  return params['level'].reshape(wide) + score


def _head(
  nll: Callable[..., types.Array],
  predict: Callable[..., types.Array],
  personal: bool,
  spread: float,
  **others: Any,
) -> types.Head:
  """Returns a head of ratings, which start at the level 0."""
  head = types.Head(
    lambda: {'level': jnp.zeros(())},
    nll,
    predict,
    paired.unchanged,
    value=lambda said: said.reshape(len(said), -1)[:, 0],
    personal=('level',) if personal else (),
    spread=spread,
  )
  return head._replace(**others)


def _told(said):
  """Returns ratings, 0 where there are none, and where there are."""
  known = jnp.isfinite(said)
  return jnp.where(known, said, 0.0), known.astype(jnp.float32)


def regression(
  *,
  attributes: int = 1,
  huber: float | None = None,
  personal: bool = False,
  spread: float = 1.0,
) -> types.Head:
  """Returns masked regression of one attribute or several.

  With several, labels are `[B, A]`; the first is what is served, and the
  others are read off the same features beside it.

  Args:
    attributes: A.
    huber: error beyond which the loss is linear; squared errors if None.
    personal: whether people have a level of their own.
    spread: standard deviation of levels over people, beforehand.
  """

  def predict(params, read):
    own = _level(params, read.score[:, :1])
    every = jnp.concatenate([own, read.outputs[:, 0]], 1)
    return every if attributes > 1 else every[:, 0]

  def nll(params, read, said):
    target, known = _told(said.reshape(len(said), attributes))
    mean = predict(params, read).reshape(target.shape)
    if huber is None:
      loss = 0.5 * ratings.squared(mean, target, known)
    else:
      loss = ratings.huber(mean, target, known, delta=huber)
    return loss.sum(1) / jnp.maximum(known.sum(1), 1.0)

  return _head(nll, predict, personal, spread, outputs=attributes - 1)


def bins(
  *,
  centres: Sequence[float] = tuple(range(-5, 6)),
  two_hot: bool = True,
  personal: bool = False,
  spread: float = 1.0,
) -> types.Head:
  """Returns a distribution over bins, of which the mean is served.

  The score tilts the bins: their logits are those of the features plus the
  score times the bin's place, from -1 to 1.

  Args:
    centres: of the bins, in the unit of the ratings, increasing.
    two_hot: whether a rating is shared by the bins around it; else it is in
      the nearest.
    personal: whether people tilt by a level of their own.
    spread: standard deviation of these levels, beforehand.
  """
  places = np.asarray(centres, np.float32)
  tilt = 2 * (places - places[0]) / (places[-1] - places[0]) - 1
  loss = ratings.two_hot if two_hot else ratings.binned

  def logits(params, read):
    return read.outputs + _level(params, read.score)[..., None] * tilt

  def nll(params, read, said):
    target, known = _told(said)
    return loss(logits(params, read)[:, 0], target, known, places)

  def score(params, read):
    return ratings.expected(logits(params, read), places)

  return _head(
    nll,
    lambda params, read: score(params, read)[:, 0],
    personal,
    spread,
    score=score,
    outputs=len(places),
    classes=lambda params, read: jax.nn.softmax(logits(params, read)[:, 0]),
  )


def quantiles(
  *,
  count: int = 9,
  huber: float = 0.0,
  share: float = 1.0,
  personal: bool = False,
  spread: float = 1.0,
) -> types.Head:
  """Returns quantiles that cannot cross.

  Args:
    count: M, at the levels m / (M + 1).
    huber: error below which the loss is smooth, in the unit of ratings.
    share: of the lowest quantiles whose mean is served; 1 is their mean.
    personal: whether people have a level of their own.
    spread: standard deviation of levels over people, beforehand.
  """
  level = distributions.levels(count)

  def every(params, read):
    return distributions.around(_level(params, read.score), read.outputs)

  def nll(params, read, said):
    target, known = _told(said)
    return distributions.pinball(
      every(params, read)[:, 0], target, known, level, huber=huber
    ).mean(-1)

  def score(params, read):
    return distributions.lower_mean(every(params, read), share=share)

  return _head(
    nll,
    lambda params, read: every(params, read)[:, 0].mean(-1),
    personal,
    spread,
    score=score,
    outputs=count - 1,
  )


def mean_variance(
  *, penalty: float = 0.0, personal: bool = False, spread: float = 1.0
) -> types.Head:
  """Returns a normal distribution of the rating, its variance by the text.

  Args:
    penalty: standard deviations that what is served lies below the mean.
    personal: whether people have a level of their own.
    spread: standard deviation of levels over people, beforehand.
  """

  def nll(params, read, said):
    target, known = _told(said)
    mean = _level(params, read.score)[:, 0]
    return distributions.gaussian_nll(
      mean, read.outputs[:, 0, 0], target, known
    )

  def score(params, read):
    del params
    return read.score - penalty * jnp.exp(0.5 * read.outputs[..., 0])

  return _head(
    nll,
    lambda params, read: _level(params, read.score)[:, 0],
    personal,
    spread,
    score=score,
    outputs=1,
  )


def evidential(
  *, regularizer: float = 0.01, personal: bool = False, spread: float = 1.0
) -> types.Head:
  """Returns a normal-inverse-gamma belief about the rating.

  Args:
    regularizer: weight of the penalty of evidence for what was wrong.
    personal: whether people have a level of their own.
    spread: standard deviation of levels over people, beforehand.
  """

  def nll(params, read, said):
    target, known = _told(said)
    mean = _level(params, read.score)[:, :1]
    free = jnp.concatenate([mean, read.outputs[:, 0]], -1)
    belief = distributions.evidence(free)
    wrong = distributions.evidence_penalty(belief, target, known)
    fit = distributions.evidential_nll(belief, target, known)
    return fit + regularizer * wrong

  return _head(
    nll,
    lambda params, read: _level(params, read.score)[:, 0],
    personal,
    spread,
    outputs=3,
  )


def steps() -> types.Head:
  """Returns a process reward: whether each step of an answer is right.

  The K candidates of a row are the steps; labels `[B, K]` are 1 for right, 0
  for wrong, or the share of rollouts that ended right; NaN for no label.
  `ops.heads.steps.aggregated` makes one score of an answer's.
  """

  def nll(params, read, said):
    del params
    target, known = _told(said)
    logits = jnp.stack([jnp.zeros_like(read.score), read.score], -1)
    loss = process.step_nll(logits, target, known * read.mask)
    return loss.sum(1) / jnp.maximum((known * read.mask).sum(1), 1.0)

  def pairs(said, count):
    target, known = _told(said)
    every = ranked.every_pair(-target, count)
    both = known[:, every.candidates].prod(-1)
    return every._replace(weight=every.weight * both)

  return types.Head(
    dict,
    nll,
    lambda params, read: jax.nn.sigmoid(read.score),
    paired.unchanged,
    pairs,
  )
