"""Heads of choices between two candidates, with or without ties and strengths.

The label `[B]` is the probability that the first is preferred: 1, 0, 0.5 for a
tie; C levels of strength are j / (C - 1).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops.heads import choices, ordinal

_LEAST = 1e-4  # variance of a text, so that no choice is certain


class Pairs(NamedTuple):
  """Which two candidates of a row are compared, and what that says.

  Attributes:
    candidates: `[P, 2]` of the K.
    label: `[N, P]` probability that the first is preferred.
    weight: `[N, P]` of the comparison; of a row they sum to one at most.
  """

  candidates: np.ndarray
  label: types.Array
  weight: types.Array


def unchanged(params: Any, read: types.Read) -> types.Array:
  """Returns the scores as the reward has them: `Head.score` of most heads."""
  del params
  return read.score


def first_two(said: types.Array, count: int) -> Pairs:
  """Returns the choice that the label is already: `Head.pairs` of choices."""
  del count
  label = said.reshape(len(said), 1)
  return Pairs(np.array([[0, 1]]), label, jnp.ones_like(label))


def _head(loss: Callable[..., types.Array], **others: Any) -> types.Head:
  """Returns a head whose loss is of the difference and the label."""

  def nll(params, read, said):
    return loss(difference(params, read), said)

  head = types.Head(dict, nll, _logistic, unchanged, first_two)
  return head._replace(**others)


def difference(params: Any, read: types.Read) -> types.Array:
  """Returns score(first) - score(second) `[B]`, in each row's own unit."""
  apart = read.score[:, 0] - read.score[:, 1]
  if 'log_scale' in params:
    apart = apart * jnp.exp(params['log_scale'])
  return apart


def _logistic(params, read):
  return jax.nn.sigmoid(difference(params, read))


def bradley_terry(
  *,
  margin: float = 0.0,
  smoothing: float = 0.0,
  personal: bool = False,
  spread: float = 0.5,
) -> types.Head:
  """Returns Bradley-Terry.

  Args:
    margin: logits by which the preferred candidate has to win.
    smoothing: share of labels taken to be coin flips.
    personal: whether people differ in their noise: a person's scores are
      multiplied by exp(log_scale).
    spread: standard deviation of log_scale over people, beforehand.
  """
  loss = functools.partial(
    choices.bradley_terry, margin=margin, smoothing=smoothing
  )
  if not personal:
    return _head(loss)
  return _head(
    loss,
    init=lambda: {'log_scale': jnp.zeros(())},
    personal=('log_scale',),
    spread=spread,
  )


def strength_margin(*, margin: float = 1.0) -> types.Head:
  """Returns Bradley-Terry where the clearly preferred has to win by more.

  Args:
    margin: logits at full strength, |2 label - 1| = 1.
  """

  def loss(apart, said):
    strength = jnp.abs(2 * said - 1)
    return choices.bradley_terry(apart, _side(said), margin=margin * strength)

  return _head(loss)


def strength_weight() -> types.Head:
  """Returns Bradley-Terry where a choice counts by its strength."""

  def loss(apart, said):
    strength = jnp.abs(2 * said - 1)
    return choices.scaled_bradley_terry(apart, _side(said), strength)

  return _head(loss)


def _side(said):
  """Returns which is preferred, 0.5 for neither."""
  return 0.5 * (jnp.sign(said - 0.5) + 1.0)


def conservative(*, flip: float = 0.1) -> types.Head:
  """Returns Bradley-Terry that trusts no label fully (cDPO).

  Args:
    flip: share of labels that are wrong.
  """
  return _head(functools.partial(choices.conservative, flip=flip))


def robust(*, flip: float = 0.1, limit: float = 10.0) -> types.Head:
  """Returns Bradley-Terry that is right on average if labels are flipped.

  Args:
    flip: share of labels that are wrong.
    limit: logits beyond which winning gains nothing more.
  """
  return _head(functools.partial(choices.robust, flip=flip, limit=limit))


def hinge(*, margin: float = 1.0) -> types.Head:
  """Returns the hinge loss of SLiC.

  Args:
    margin: logits by which the preferred candidate has to win.
  """
  return _head(functools.partial(choices.hinge, margin=margin))


def squared(*, beta: float = 0.5) -> types.Head:
  """Returns IPO's squared loss.

  Args:
    beta: preferred candidates are to win by 1 / (2 beta).
  """
  return _head(functools.partial(choices.squared, beta=beta))


def classifier() -> types.Head:
  """Returns the order-consistent classifier of each candidate by itself."""

  def nll(params, read, said):
    del params
    return choices.classifier(read.score[:, :2], said)

  return _head(choices.bradley_terry, nll=nll)


def thurstone(*, predicted: bool = True) -> types.Head:
  """Returns Thurstone's choices: scores are heard with normal noise.

  Args:
    predicted: whether a text's features say how unclear it is; else every
      text is heard with variance 1.
  """

  def scale(read):
    if not predicted:
      return jnp.full(len(read.score), 2.0)
    variance = jnp.exp(jnp.clip(read.outputs[:, :2, 0], -20, 20)) + _LEAST
    return variance.sum(1)

  def nll(params, read, said):
    return choices.thurstone(difference(params, read), said, scale(read))

  def predict(params, read):
    apart = difference(params, read) / jnp.sqrt(scale(read))
    return jax.scipy.special.ndtr(apart)

  return _head(
    choices.bradley_terry, nll=nll, predict=predict, outputs=int(predicted)
  )


def rao_kupper(*, personal: bool = False, spread: float = 0.5) -> types.Head:
  """Returns choices with ties, by Rao and Kupper.

  Args:
    personal: whether people differ in how close two have to be.
    spread: standard deviation of the parameter over people, beforehand; the
      threshold is its softplus.
  """

  def threshold(params):
    return jax.nn.softplus(params['width'])

  def both(params, read, said):
    return ordinal.rao_kupper(difference(params, read), said, threshold(params))

  return _levelled(both, {'width': jnp.zeros(())}, personal, spread)


def davidson(*, personal: bool = False, spread: float = 0.5) -> types.Head:
  """Returns choices with ties, by Davidson.

  Args:
    personal: whether people differ in how readily they call a tie.
    spread: standard deviation of log nu over people, beforehand.
  """

  def both(params, read, said):
    return ordinal.davidson(difference(params, read), said, params['log_nu'])

  return _levelled(both, {'log_nu': jnp.zeros(())}, personal, spread)


def cumulative(
  *,
  levels: int = 7,
  symmetric: bool = True,
  link: str = 'logistic',
  personal: bool = False,
  spread: float = 0.5,
) -> types.Head:
  """Returns the cumulative link of ordered levels of strength.

  Args:
    levels: C.
    symmetric: whether exchanging the candidates reverses the levels.
    link: 'logistic' or 'probit'.
    personal: whether people have cut points of their own.
    spread: standard deviation of the parameters over people, beforehand.
  """
  count = (levels - 1) // 2 if symmetric else levels - 1

  def both(params, read, said):
    cuts = ordinal.cut_points(
      params['cuts'], levels=levels, symmetric=symmetric
    )
    return ordinal.cumulative(difference(params, read), said, cuts, link=link)

  start = jnp.zeros(count)
  if not symmetric:  # from below, so that they lie about 0
    start = start.at[0].set(-0.35 * (levels - 2))
  return _levelled(both, {'cuts': start}, personal, spread)


def _levelled(both, start, personal, spread) -> types.Head:
  """Returns a head of which `both` gives the loss and probabilities."""

  def nll(params, read, said):
    return both(params, read, said)[0]

  def classes(params, read):
    return both(params, read, jnp.zeros(len(read.score)))[1]

  def predict(params, read):
    return ordinal.expected_label(classes(params, read))

  return _head(
    choices.bradley_terry,
    init=lambda: dict(start),
    nll=nll,
    predict=predict,
    classes=classes,
    personal=tuple(start) if personal else (),
    spread=spread,
  )
