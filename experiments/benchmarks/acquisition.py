"""Choosing the next question among many: each acquisition, side by side.

  python -m experiments.benchmarks.acquisition --output=FILE.json

Choosing one of 1,000,000 candidate pairs for one person with J coefficients,
as multiples of the one matrix product that it needs, timed in the same rounds
as `[N, J] @ [J, J]` and as `[J, J] @ [J, N]`, the faster of which is the unit;
and 10 questions to each of 10,000 people from a pool of
1,000, beliefs updated after every answer.
"""

import functools
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from prm_jax.elicitation import loop
from prm_jax.ops import acquisition, bayes
from prm_jax.runtime import writers

_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.')

PAIRS, PEOPLE, POOL, QUESTIONS = 1_000_000, 10_000, 1_000, 10
COEFFICIENTS = (6, 8, 16)
ROUNDS = 30


def belief(J: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns candidates `[J, N]`, a mean `[J]` and a factor `[J, J]`."""
  rng = np.random.default_rng(J)
  difference = rng.standard_normal((J, PAIRS), np.float32)
  mean = rng.standard_normal(J, np.float32)
  factor = np.linalg.qr(rng.standard_normal((J, J)))[0] * 0.7
  return (
    jnp.asarray(difference),
    jnp.asarray(mean),
    jnp.asarray(factor, jnp.float32),
  )


@functools.partial(jax.jit, static_argnames='name')
def choose(name: str, difference, mean, factor):
  """Index and score of the best candidate under an acquisition."""
  scores: dict[str, Any] = {
    **loop.SCORES,
    'information_gain, 16-point quadrature': functools.partial(
      acquisition.information_gain_quadrature, nodes=16
    ),
  }
  margin = acquisition.margin_moments(difference, mean, factor)
  return acquisition.best(scores[name](*margin))


@jax.jit
def product(left, right):
  """The matrix product alone."""
  return left @ right


def times_of(runs: dict[str, Any]) -> dict[str, list[float]]:
  """Returns wall times of every round; rounds go through all runs in turn."""
  for run in runs.values():
    jax.block_until_ready(run())
  found: dict[str, list[float]] = {name: [] for name in runs}
  for _ in range(ROUNDS):
    for name, run in runs.items():
      start = time.perf_counter()
      jax.block_until_ready(run())
      found[name].append(time.perf_counter() - start)
  return found


def one_person(J: int) -> list[dict[str, Any]]:
  """Returns the cost of choosing among a million pairs."""
  difference, mean, factor = belief(J)
  candidates, covariance = jnp.array(difference.T), factor @ factor.T
  names = [*loop.SCORES, 'information_gain, 16-point quadrature']
  products = {
    'product [N, J] @ [J, J]': lambda: product(candidates, covariance),
    'product [J, J] @ [J, N]': lambda: product(covariance, difference),
  }
  runs: dict[str, Any] = dict(products)
  runs |= {
    name: functools.partial(choose, name, difference, mean, factor)
    for name in names
  }
  times = times_of(runs)
  base = min((times[name] for name in products), key=statistics.median)
  return [
    {
      'coefficients': J,
      'pairs': PAIRS,
      'method': name,
      'milliseconds': 1e3 * statistics.median(found),
      'fastest': 1e3 * min(found),
      'slowest': 1e3 * max(found),
      'matrix_products': statistics.median(found) / statistics.median(base),
      'matrix_products_of_fastest': min(found) / min(base),
    }
    for name, found in times.items()
  ]


def many_people() -> list[dict[str, Any]]:
  """Returns the cost of asking everybody, compilation apart."""
  rng = np.random.default_rng(0)
  J = 8
  difference = jnp.asarray(rng.standard_normal((J, POOL), np.float32))
  weights = rng.standard_normal((PEOPLE, J), np.float32)
  probability = jax.nn.sigmoid(jnp.asarray(weights) @ difference)
  prior = bayes.isotropic_prior(jnp.zeros(J), 1.0)
  rows = []
  for acquire in loop.ACQUISITIONS:
    times = []
    for _ in range(3):  # the first compiles
      start = time.perf_counter()
      trace = loop.simulate(
        jax.random.key(0), prior, difference, probability,
        acquire=acquire, questions=QUESTIONS,
      )  # fmt: skip
      jax.block_until_ready(trace)
      times.append(time.perf_counter() - start)
    rows.append(
      {
        'method': acquire,
        'people': PEOPLE,
        'questions': QUESTIONS,
        'candidates': POOL,
        'coefficients': J,
        'seconds': min(times[1:]),
        'seconds_with_compilation': times[0],
      }
    )
  return rows


def error() -> float:
  """Returns the interpolated information gain's largest error, in nats."""
  mean = np.linspace(-12, 12, 481)[:, None]
  deviation = np.geomspace(1e-3, 6, 120)[None]
  mean, variance = np.broadcast_arrays(mean, deviation**2)
  ours = acquisition.information_gain(jnp.asarray(mean), jnp.asarray(variance))
  return float(np.abs(ours - exact(mean, variance)).max())


def exact(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
  """Returns the information gain by a fine sum, in float64."""
  z = np.linspace(-9, 9, 2001)
  weight = np.exp(-z * z / 2)
  weight /= weight.sum()
  total = np.zeros((2, *mean.shape))
  for point, share in zip(z, weight, strict=True):
    d = mean + np.sqrt(variance) * point
    p = 1 / (1 + np.exp(-d))
    total += share * np.stack([p, np.logaddexp(0, d) - p * d])
  p = np.clip(total[0], 1e-300, 1)
  q = np.clip(1 - total[0], 1e-300, 1)
  return -p * np.log(p) - q * np.log(q) - total[1]


def main(argv) -> None:
  del argv
  rows = [row for J in COEFFICIENTS for row in one_person(J)]
  people = many_people()
  largest = error()
  print(*rows, *people, sep='\n')
  print(f'information gain: largest error {largest:.2g} nats')
  if _OUTPUT.value:
    results: dict[str, Any] = {
      'machine': f'{os.cpu_count()} x {platform.processor() or "cpu"}',
      'devices': [str(device) for device in jax.devices()],
      'one_person': rows,
      'many_people': people,
      'information_gain_largest_error': largest,
    }
    writers.write_json_atomic(Path(_OUTPUT.value), results)


if __name__ == '__main__':
  app.run(main)
