"""Posterior modes of many people: ours, scikit-learn, gradient descent.

  python -m experiments.benchmarks.coefficients --output=FILE.json

Everybody has 20 answers about 8 coefficients under the prior N(0, I).
scikit-learn (lbfgs, no intercept, C = 1, its default tolerance) and 5,000
steps of gradient descent, as PReF's released code refits a person, run on a
sample, one person at a time as they are used; times are per person. Modes are
held against SciPy in float64. Needs the extra `reference`.
"""

import functools
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from scipy import optimize
from sklearn.linear_model import LogisticRegression

from prm_jax.ops import bayes
from prm_jax.runtime import writers

_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.')
_ONLY = flags.DEFINE_integer('only', 0, 'Time this many people and print it.')

ANSWERS, COEFFICIENTS, ITERATIONS = 20, 8, 8
PEOPLE, SAMPLE, DESCENT_SAMPLE = 100_000, 2_000, 200
SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = 5


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


@jax.jit
def ours(difference, label):
  """Modes `[U, J]` by the vmapped update."""
  prior = bayes.isotropic_prior(jnp.zeros(COEFFICIENTS), 1.0)

  def one(x, y):
    return bayes.posterior_mode(
      prior, x, y, jnp.ones_like(y), iterations=ITERATIONS
    )

  return jax.vmap(one)(difference, label)


@jax.jit
def library(difference, label):
  """Modes `[U, J]` by a plain vmapped Newton with library factorisations."""

  def one(x, y):
    def step(_, z):
      p = jax.nn.sigmoid(x @ z)
      precision = jnp.eye(COEFFICIENTS) + (x.T * (p * (1 - p))) @ x
      factor = jnp.linalg.cholesky(precision)
      return z + bayes.solve(factor, x.T @ (y - p) - z)

    return jax.lax.fori_loop(0, ITERATIONS, step, jnp.zeros(COEFFICIENTS))

  return jax.vmap(one)(difference, label)


def scikit_learn(difference, label):
  """Modes by LogisticRegression, one person at a time."""
  return np.stack(
    [
      LogisticRegression(C=1.0, fit_intercept=False).fit(x, y).coef_[0]
      for x, y in zip(difference, label, strict=True)
    ]
  )


@jax.jit
def _descend(x, y):
  def step(_, z):
    gradient = x.T @ (jax.nn.sigmoid(x @ z) - y) + z
    return z - 0.01 * gradient

  return jax.lax.fori_loop(0, 5_000, step, jnp.zeros(COEFFICIENTS))


def gradient_descent(difference, label):
  """Modes by 5,000 steps of gradient descent, one person at a time.

  Compiled as one loop: the released code runs it step by step in Python.
  """
  return np.stack(
    [_descend(x, y) for x, y in zip(difference, label, strict=True)]
  )


def reference(difference, label):
  """Modes by SciPy in float64."""

  def solve(x, y):
    x, y = x.astype(float), y.astype(float)

    def value(z):
      margin = x @ z
      loss = (np.logaddexp(0, margin) - y * margin).sum() + z @ z / 2
      return loss, x.T @ (1 / (1 + np.exp(-margin)) - y) + z

    options = {'gtol': 1e-10}
    start = np.zeros(COEFFICIENTS)
    return optimize.minimize(value, start, jac=True, options=options).x

  return np.stack([solve(x, y) for x, y in zip(difference, label, strict=True)])


def seconds(run: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
  """Returns the wall time of every round, after one that is not counted."""
  jax.block_until_ready(run())
  times = []
  for _ in range(rounds):
    start = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - start)
  return times


def scaling() -> list[dict[str, float]]:
  """Returns time and peak memory by people, each in a process of its own."""
  rows = []
  for people in SIZES:
    module = 'experiments.benchmarks.coefficients'
    command = [sys.executable, '-m', module, f'--only={people}']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows.append(json.loads(done.stdout.splitlines()[-1]))
  return rows


def time_only(people: int) -> dict[str, float]:
  """Returns the median time and the process's peak memory."""
  difference, label = map(jnp.asarray, simulate(people, 0))
  times = seconds(lambda: ours(difference, label))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  data = difference.nbytes / 2**30
  return {
    'people': people,
    'seconds': statistics.median(times),
    'microseconds_per_person': statistics.median(times) / people * 1e6,
    'peak_gib': peak,
    'data_gib': data,
  }


def main(argv) -> None:
  del argv
  if _ONLY.value:
    print(json.dumps(time_only(_ONLY.value)))
    return
  difference, label = simulate(PEOPLE, 0)
  some = difference[:SAMPLE], label[:SAMPLE]
  few = difference[:DESCENT_SAMPLE], label[:DESCENT_SAMPLE]
  everybody = jnp.asarray(difference), jnp.asarray(label)
  truth = reference(*some)
  rows: list[dict[str, Any]] = []
  for name, run, data, rounds in (
    ('ours', ours, everybody, ROUNDS),
    ('vmapped Newton, library Cholesky', library, everybody, ROUNDS),
    ('scikit-learn', scikit_learn, some, 3),
    ('gradient descent, 5,000 steps', gradient_descent, few, 3),
  ):
    people = len(data[0])
    times = seconds(functools.partial(run, *data), rounds)
    modes = np.asarray(run(*data))[: min(people, SAMPLE)]
    rows.append(
      {
        'method': name,
        'people': people,
        'microseconds_per_person': statistics.median(times) / people * 1e6,
        'fastest': min(times) / people * 1e6,
        'slowest': max(times) / people * 1e6,
        'largest_error': float(np.abs(modes - truth[: len(modes)]).max()),
      }
    )
    gc.collect()
  base = rows[0]['microseconds_per_person']
  for row in rows:
    row['times_ours'] = row['microseconds_per_person'] / base
    print(row)
  results: dict[str, Any] = {
    'machine': f'{os.cpu_count()} x {platform.processor() or "cpu"}',
    'devices': [str(device) for device in jax.devices()],
    'speed': rows,
    'scaling': scaling(),
  }
  print(*results['scaling'], sep='\n')
  if _OUTPUT.value:
    writers.write_json_atomic(Path(_OUTPUT.value), results)


if __name__ == '__main__':
  app.run(main)
