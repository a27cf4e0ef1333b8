"""Posterior modes of many people: ours, scikit-learn, gradient descent.

Everybody has 20 answers about 8 coefficients under the prior N(0, I).
scikit-learn (lbfgs, no intercept, C = 1, its default tolerance) and 5,000
steps of gradient descent, as PReF's released code refits a person, run on a
sample, one person at a time as they are used; times are per person. Modes are
held against SciPy in float64. Needs the extra `reference`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from experiments.benchmarks import program
from prm_jax.lab import timing
from prm_jax.ops import bayes

ANSWERS, COEFFICIENTS, ITERATIONS = 20, 8, 8


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    people: of ours and of the plain vmapped Newton.
    sample: of scikit-learn, and of whom modes are compared.
    few: of gradient descent.
    scaling: people, for whom time and memory of ours are measured.
    repeats: timed rounds.
  """

  people: int = 100_000
  sample: int = 2_000
  few: int = 200
  scaling: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
  repeats: int = 5


def simulate(people: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns differences `[U, N, J]` and labels `[U, N]`, both labels in each.

  scikit-learn refuses people whose answers are all the same; they are given
  one answer of the other kind, for all methods alike.
  """
  rng = np.random.default_rng(seed)
  shape = (people, ANSWERS, COEFFICIENTS)
  difference = rng.standard_normal(shape, np.float32)
  weights = rng.standard_normal((people, COEFFICIENTS), np.float32)
  margin = np.einsum('unj,uj->un', difference, weights)
  label = (rng.random(margin.shape) < 1 / (1 + np.exp(-margin))).astype('f4')
  same = label.min(1) == label.max(1)
  label[same, 0] = 1 - label[same, 0]
  return difference, label


def _ours(x, y):
  prior = bayes.isotropic_prior(jnp.zeros(COEFFICIENTS), 1.0)
  mask = jnp.ones_like(y)
  return bayes.posterior_mode(prior, x, y, mask, iterations=ITERATIONS)


def _newton(x, y):
  """A plain Newton with library factorisations."""

  def step(_, z):
    p = jax.nn.sigmoid(x @ z)
    precision = jnp.eye(COEFFICIENTS) + (x.T * (p * (1 - p))) @ x
    factor = jnp.linalg.cholesky(precision)
    return z + bayes.solve(factor, x.T @ (y - p) - z)

  return jax.lax.fori_loop(0, ITERATIONS, step, jnp.zeros(COEFFICIENTS))


@jax.jit
def _descent(x, y):
  """Compiled as one loop: the released code runs it step by step in Python."""

  def step(_, z):
    return z - 0.01 * (x.T @ (jax.nn.sigmoid(x @ z) - y) + z)

  return jax.lax.fori_loop(0, 5_000, step, jnp.zeros(COEFFICIENTS))


def _scikit_learn(x, y):
  from sklearn.linear_model import LogisticRegression

  return LogisticRegression(C=1.0, fit_intercept=False).fit(x, y).coef_[0]


def _scipy(x, y):
  x, y = x.astype(float), y.astype(float)

  def value(z):
    margin = x @ z
    loss = (np.logaddexp(0, margin) - y * margin).sum() + z @ z / 2
    return loss, x.T @ (1 / (1 + np.exp(-margin)) - y) + z

  start = np.zeros(COEFFICIENTS)
  return optimize.minimize(value, start, jac=True, options={'gtol': 1e-10}).x


def one_by_one(solve, difference, label) -> np.ndarray:
  """Returns modes `[U, J]` of a solver that is called for every person."""
  return np.stack(list(map(solve, difference, label)))


ours, newton = jax.jit(jax.vmap(_ours)), jax.jit(jax.vmap(_newton))


def speed(sizes: Sizes) -> list[dict[str, Any]]:
  """Returns the time and error of every method."""
  difference, label = simulate(sizes.people, 0)
  everybody = jnp.asarray(difference), jnp.asarray(label)
  some = difference[: sizes.sample], label[: sizes.sample]
  few = difference[: sizes.few], label[: sizes.few]
  truth = one_by_one(_scipy, *some)
  arms: dict[str, Callable[[], Any]] = {
    'ours': lambda: ours(*everybody),
    'vmapped Newton, library Cholesky': lambda: newton(*everybody),
    'scikit-learn': lambda: one_by_one(_scikit_learn, *some),
    'gradient descent, 5,000 steps': lambda: one_by_one(_descent, *few),
  }
  times = timing.side_by_side(arms, sizes.repeats)
  unit = times['ours'].per(sizes.people).median
  rows = []
  for method, time in times.items():
    modes = np.asarray(time.result)
    each, known = time.per(len(modes)), modes[: len(truth)]
    row = {'method': method, 'people': len(modes)}
    row |= each.columns('microseconds_per_person', 1e6)
    error = np.abs(known - truth[: len(known)]).max()
    row |= {'largest_error': float(error), 'times_ours': each.median / unit}
    rows.append(row)
  return rows


def alone(people: int, repeats: int) -> dict[str, Any]:
  """Returns the time of ours, and the process's peak memory so far."""
  difference, label = map(jnp.asarray, simulate(people, 0))
  arms = {'ours': lambda: ours(difference, label)}
  time = timing.side_by_side(arms, repeats)['ours']
  return {
    'people': people,
    'seconds': time.median,
    'microseconds_per_person': 1e6 * time.per(people).median,
    'peak_gib': timing.peak_gib(),
    'data_gib': difference.nbytes / 2**30,
  }


def measure(sizes: Sizes) -> program.Tables:
  """Returns both tables."""
  # Memory first, and the fewest people first: a peak never falls.
  scaling = [alone(people, sizes.repeats) for people in sorted(sizes.scaling)]
  return {'speed': speed(sizes), 'scaling': scaling}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes(200, 20, 5, (100,), 2))
