"""Habits of a person that are no taste: side, length, and how often they tie.

What is shown first, what is longer, and how near two answers have to be for a
tie are habits of people (Davidson's model with a personal side, length and
width). They predict choices, and say nothing of what a text says: a personal
reward has to do better than they do.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from prm_jax import types

_STEPS = 12  # Newton's; the loss is convex and its start is near
_LARGEST = 4.0  # a Newton step in logits
_LEAST = 1e-3  # variance between people


class Population(NamedTuple):
  """What is believed of somebody's habits before they answer.

  Attributes:
    mean: `[H]` of habits.
    variance: `[H]` between people.
  """

  mean: types.Array
  variance: types.Array


class Habits(NamedTuple):
  """What is believed of a person's habits.

  Attributes:
    mode: `[..., H]`.
    variance: `[..., H]` of each, given the others' uncertainty.
  """

  mode: types.Array
  variance: types.Array


def log_probability(
  margin: types.ArrayLike, width: types.ArrayLike
) -> types.Array:
  """Returns log-probabilities `[..., 3]` of first, tie and second.

  P(first) : P(tie) : P(second) = exp(m / 2) : exp(w) : exp(-m / 2), so that
  among choices that are no ties P(first) = sigmoid(m), whatever the width.

  Args:
    margin: `[...]` m, in logits.
    width: `[...]` w, the log-odds of a tie between equals against either.

  References:
    Davidson 1970, JASA 65(329), with nu = exp(w).

  Examples:
    >>> first, tie, second = jnp.exp(log_probability(margin=1.0, width=0.0))
    >>> round(float(first), 2), round(float(tie), 2), round(float(second), 2)
    (0.51, 0.31, 0.19)
    >>> bool(jnp.isclose(first / (first + second), jax.nn.sigmoid(1.0)))
    True
  """
  margin, width = jnp.broadcast_arrays(margin, width)
  return jax.nn.log_softmax(jnp.stack([margin / 2, width, -margin / 2], -1))


def nll(
  habits: types.Array,
  design: types.Array,
  offset: types.Array,
  label: types.Array,
) -> types.Array:
  """Returns the negative log-likelihood `[N]` of choices and ties.

  The margin is offset + design . habits[:-1]; the last habit is the width.

  Args:
    habits: `[H]`.
    design: `[N, H - 1]` what the other habits weigh.
    offset: `[N]` margins that do not depend on the person.
    label: `[N]` 1 first, 0 second, 1/2 a tie.
  """
  chex.assert_rank([habits, design, offset, label], [1, 2, 1, 1])
  margin = offset + jnp.sum(design * habits[:-1], -1)
  said = log_probability(margin, habits[-1])
  column = jnp.round(2 * (1 - label)).astype(jnp.int32)
  return -jnp.take_along_axis(said, column[:, None], 1)[:, 0]


def infer(
  population: Population,
  design: types.Array,
  offset: types.Array,
  label: types.Array,
  mask: types.Array,
) -> Habits:
  """Returns the most probable habits of one person, and how sure they are.

  Args:
    population: prior.
    design: `[N, H - 1]`.
    offset: `[N]`.
    label: `[N]` 1, 0 or 1/2.
    mask: `[N]` 1 for an answer.
  """

  def loss(habits):
    said = nll(habits, design, offset, label)
    away = (habits - population.mean) ** 2 / population.variance
    return jnp.sum(mask * said) + jnp.sum(away) / 2

  def step(habits, _):
    move = jnp.linalg.solve(jax.hessian(loss)(habits), jax.grad(loss)(habits))
    move = move * jnp.minimum(1, _LARGEST / (jnp.linalg.norm(move) + 1e-9))
    return habits - move, None

  mode, _ = jax.lax.scan(step, population.mean, None, length=_STEPS)
  curvature = jax.hessian(loss)(mode)
  factor = jnp.linalg.cholesky(curvature)
  inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(mode)))
  return Habits(mode, jnp.diagonal(inverse))


def estimate(
  design: types.Array,
  offset: types.Array,
  label: types.Array,
  mask: types.Array,
  *,
  steps: int = 20,
) -> Population:
  """Returns the population's habits by expectation-maximisation.

  mean = the people's average mode; variance = their average of (mode - mean)^2
  plus each one's own variance. People without answers do not count. Where
  nobody ties the width stays far below zero.

  Args:
    design: `[P, N, H - 1]` of P people, padded.
    offset: `[P, N]`.
    label: `[P, N]`.
    mask: `[P, N]`.
    steps: of expectation-maximisation.
  """
  chex.assert_rank([design, offset, label, mask], [3, 2, 2, 2])
  H = design.shape[-1] + 1
  answers = mask.sum(1)
  there = (answers > 0)[:, None]
  ties = jnp.sum(mask * (label == 0.5))
  strict = jnp.sum(mask) - ties
  # Between equals; what margins take from ties the first step gives back.
  width = jnp.log((ties + 1e-6) / (strict / 2 + 0.5))
  start = Population(
    jnp.zeros(H).at[-1].set(jnp.maximum(width, -12.0)), jnp.full(H, 0.25)
  )
  known = jnp.where(ties > 0, 1.0, 0.0) * (jnp.arange(H) == H - 1)
  known = known + (jnp.arange(H) < H - 1)

  def average(values):
    return jnp.sum(there * values, 0) / jnp.maximum(there.sum(), 1)

  def step(population, _):
    found = jax.vmap(infer, (None, 0, 0, 0, 0))(
      population, design, offset, label, mask
    )
    mean = average(found.mode)
    variance = average((found.mode - mean) ** 2 + found.variance)
    new = Population(mean, jnp.maximum(variance, _LEAST))
    return jax.tree.map(
      lambda a, b: jnp.where(known > 0, a, b), new, population
    ), None

  population, _ = jax.lax.scan(step, start, None, length=steps)
  return population
