"""Times of arms that run in turn."""

import itertools

import numpy as np
import pytest

from prm_jax.lab import timing


def test_arms_run_in_turn_and_the_first_round_is_apart(monkeypatch):
  ticks = itertools.count()
  monkeypatch.setattr(timing.time, 'perf_counter', lambda: float(next(ticks)))
  calls = []

  def arm(name, seconds):
    def run():
      calls.append(name)
      for _ in range(seconds[calls.count(name) - 1] - 1):
        next(ticks)
      return len(calls)

    return run

  times = timing.side_by_side(
    {'slow': arm('slow', [90, 8, 4, 6]), 'fast': arm('fast', [50, 2, 1, 3])}, 3
  )
  assert calls == ['slow', 'fast'] * 4
  assert times['slow'] == timing.Timing((8.0, 4.0, 6.0), 90.0, 7)
  assert times['fast'].first == 50.0
  assert times['slow'].times('times_fast', times['fast']) == {
    'times_fast': 3.0,
    'times_fast_of_fastest': 4.0,
  }
  assert times['slow'].per(2).columns('milliseconds', 1e3) == {
    'milliseconds': 3000.0,
    'fastest': 2000.0,
    'slowest': 4000.0,
  }
  assert timing.seconds(times) == {
    'slow_seconds': 6.0,
    'slow_seconds_fastest': 4.0,
    'fast_seconds': 2.0,
    'fast_seconds_fastest': 1.0,
  }


def test_without_a_warm_round_nothing_is_left_out():
  calls = []
  times = timing.side_by_side({1: lambda: calls.append(0)}, 2, warm=0)
  assert len(calls) == len(times[1].seconds) == 2
  assert times[1].first is None


def test_peak_memory_is_of_this_process():
  before = timing.peak_gib()
  if before is None:
    pytest.skip('the system does not tell')
  block = np.ones(int((before + 0.2) * 2**30), np.uint8)
  assert timing.peak_gib() >= before + 0.2
  del block
  assert timing.peak_gib() >= before + 0.2


def test_hardware_is_a_flat_row():
  row = timing.hardware()
  assert row['jax']
  assert row['cores'] >= 1
  assert row['devices'] >= 1
  assert not any(isinstance(value, dict | list) for value in row.values())
