"""The benchmark's loops do what ours does; no time is asserted."""

import functools

import numpy as np
import pytest

from experiments.benchmarks import echo_chamber as benchmark
from prm_jax.ops import opinions

FIELDS = {
  'method', 'update', 'people', 'rounds', 'seconds', 'fastest', 'slowest',
  'microseconds_per_person_round', 'microseconds_of_fastest',
  'compile_seconds', 'mean_utility', 'times_ours', 'times_ours_of_fastest',
}  # fmt: skip


def test_updates_are_ours():
  # More answers than are kept, so that the oldest give way.
  found = benchmark.differences(people=6, answers=23)
  assert len(found) == 5
  assert max(found.values()) < 1e-4, found


def test_opinions_move_as_ours():
  x, stance, innate = np.random.default_rng(0).uniform(-1, 1, (3, 20))
  ours = opinions.served(
    x, stance, innate, rate=benchmark.RATE, anchor=benchmark.ANCHOR
  )
  np.testing.assert_allclose(
    benchmark.moved(x, stance, innate), ours, atol=1e-6
  )


@pytest.mark.parametrize('update', benchmark.REQUIRED)
def test_rows_of_every_loop(update):
  sizes = benchmark.Sizes(
    people=200, fewer=200, rounds=4, loop_people=40, loop_rounds=4
  )
  world = benchmark.world(200)
  vectorised, single = benchmark.METHODS[update]
  runs = [benchmark.ours(update, 200, sizes)]
  runs += [
    benchmark.Run(
      method.__name__, update, 200, 4,
      functools.partial(benchmark.numpy_loop, method, world, 4),
    )
    for method in vectorised
  ]  # fmt: skip
  loop = functools.partial(
    benchmark.python_loop, single, benchmark.world(40), 4
  )
  runs.append(benchmark.Run('Python loop', update, 40, 4, loop))
  rows = benchmark.rows_of(runs, 2)
  assert len(rows) == len(runs)
  for row in rows:
    assert set(row) == FIELDS
    assert row['fastest'] <= row['seconds'] <= row['slowest']
    assert np.isfinite(row['mean_utility'])
  assert rows[0]['compile_seconds'] > 0
  assert rows[0]['times_ours'] == 1.0
  assert rows[1]['compile_seconds'] is None
  # 800 answers served, of a standard deviation near 3: the same policy.
  assert rows[1]['mean_utility'] == pytest.approx(
    rows[0]['mean_utility'], abs=0.6
  )
