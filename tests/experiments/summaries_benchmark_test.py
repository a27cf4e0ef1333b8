"""The benchmark's arms write and learn the same; no time is asserted."""

import pytest

from experiments.benchmarks import summaries


def test_tokens_by_hand():
  sizes = summaries.SMOKE
  once, each = (summaries.tokens(sizes, shared=s) for s in (True, False))
  # Two histories of 24 and what asks, six summaries of 2.
  assert once['writing'] == 2 * 25 + 6 * 2
  assert each['writing'] == 6 * 25 + 6 * 2
  # A summary is read with 4 texts of 3; beside 3 of a context, 2 controls.
  read = 2 + 4 * 3
  assert once['learning'] == 3 * (50 + 12) + (3 * 3 + 2) * 2 * read
  assert each['learning'] - once['learning'] == 3 * 100


@pytest.mark.slow
def test_histories_may_be_read_once():
  rows = summaries.measure(summaries.SMOKE)['read_once']
  writing, step = rows
  # The same summaries, and the same step, of at most 1e-3 a weight.
  assert writing['largest_gap'] == 0
  assert step['largest_gap'] < 1e-5
  assert step['each_tokens'] > step['once_tokens']
  assert step['share_of_token_ratio_core_seconds'] > 0
