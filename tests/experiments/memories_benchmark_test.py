"""The benchmark's arms train and recall the same; no time is asserted."""

import pytest

from experiments.benchmarks import memories


def test_what_is_recalled_is_what_sorting_finds():
  row = memories.recalling(memories.SMOKE)
  assert row['same_as_sorted'] == 1.0
  # 20 events: 4 numbers, time, complexity, mask and place; and a count.
  assert row['bytes_a_person'] == 20 * 4 * (4 + 4) + 4
  assert row['similarity_times_product'] > 0


@pytest.mark.slow
def test_people_in_turn_are_people_at_once():
  row = memories.training(memories.SMOKE, 24, 1)
  assert row['largest_gap'] < 1e-5
  # Rank 1: value and output 24 + 24, up and down 24 + 72, float32.
  assert row['bytes_a_person'] == 4 * (48 + 48 + 96 + 96)
  assert row['in_turn_times_mapped'] > 0
