"""Choosing the next question among many: each acquisition, side by side.

Choosing one of 1,000,000 candidate pairs for one person with J coefficients,
as multiples of the one matrix product that it needs, timed in the same rounds
as `[N, J] @ [J, J]` and as `[J, J] @ [J, N]`, the faster of which is the unit;
and 10 questions to each of 10,000 people from a pool of 1,000, beliefs updated
after every answer.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import program
from prm_jax.elicitation import loop
from prm_jax.lab import timing
from prm_jax.ops import acquisition, bayes

SCORES: dict[str, Callable] = {
  **loop.SCORES,
  'information_gain, 16-point quadrature': functools.partial(
    acquisition.information_gain_quadrature, nodes=16
  ),
}


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    pairs: N, candidates for one person.
    people: who are asked.
    pool: candidates of each of them.
    questions: to each of them.
    coefficients: J, each timed.
    repeats: timed rounds for one person.
  """

  pairs: int = 1_000_000
  people: int = 10_000
  pool: int = 1_000
  questions: int = 10
  coefficients: tuple[int, ...] = (6, 8, 16)
  repeats: int = 30


@functools.partial(jax.jit, static_argnames='name')
def choose(name: str, difference, mean, factor):
  """Index and score of the best candidate under an acquisition."""
  margin = acquisition.margin_moments(difference, mean, factor)
  return acquisition.best(SCORES[name](*margin))


def one_person(sizes: Sizes, J: int) -> list[dict[str, Any]]:
  """Returns the cost of choosing among N pairs."""
  rng = np.random.default_rng(J)
  difference = jnp.asarray(rng.standard_normal((J, sizes.pairs), np.float32))
  mean = jnp.asarray(rng.standard_normal(J, np.float32))
  orthogonal = np.linalg.qr(rng.standard_normal((J, J)))[0]
  factor = jnp.asarray(orthogonal * 0.7, jnp.float32)
  candidates, covariance = jnp.array(difference.T), factor @ factor.T
  product = jax.jit(jnp.matmul)
  arms: dict[str, Callable] = {
    'product [N, J] @ [J, J]': lambda: product(candidates, covariance),
    'product [J, J] @ [J, N]': lambda: product(covariance, difference),
  }
  for name in SCORES:
    arms[name] = functools.partial(choose, name, difference, mean, factor)
  times = timing.side_by_side(arms, sizes.repeats)
  unit = min(list(times.values())[:2], key=lambda time: time.median)
  return [
    {'coefficients': J, 'pairs': sizes.pairs, 'method': name}
    | time.columns('milliseconds', 1e3)
    | time.times('matrix_products', unit)
    for name, time in times.items()
  ]


def many_people(sizes: Sizes, J: int = 8) -> list[dict[str, Any]]:
  """Returns the cost of asking everybody, compilation apart."""
  rng = np.random.default_rng(0)
  difference = jnp.asarray(rng.standard_normal((J, sizes.pool), np.float32))
  weights = rng.standard_normal((sizes.people, J), np.float32)
  probability = jax.nn.sigmoid(jnp.asarray(weights) @ difference)
  prior = bayes.isotropic_prior(jnp.zeros(J), 1.0)
  ask = functools.partial(
    loop.simulate, jax.random.key(0), prior, difference, probability
  )
  arms = {
    name: functools.partial(ask, acquire=name, questions=sizes.questions)
    for name in ('random', *loop.SCORES)
  }
  shape = {'people': sizes.people, 'questions': sizes.questions}
  shape |= {'candidates': sizes.pool, 'coefficients': J}
  return [
    {'method': name, **shape, 'seconds': time.fastest}
    | {'seconds_with_compilation': time.first}
    for name, time in timing.side_by_side(arms, 2).items()
  ]


def measure(sizes: Sizes) -> program.Tables:
  """Returns both tables."""
  one = [row for J in sizes.coefficients for row in one_person(sizes, J)]
  return {'one_person': one, 'many_people': many_people(sizes)}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes(1000, 100, 50, 2, (6,), 2))
