"""The benchmark's arms judge the same; no time is asserted."""

import pytest

from experiments.benchmarks import judging


@pytest.mark.slow
def test_a_knockout_compiles_once_and_prompts_are_shared():
  found = judging.measure(judging.SMOKE)
  (row,) = found['both_orders']
  assert (row['twice_tokens'], row['once_tokens']) == (36, 26)
  assert row['logprob_gap_nats'] < 1e-4
  assert row['share_of_token_ratio_core_seconds'] > 0
  (row,) = found['votes']
  assert (row['texts'], row['whole_share']) == (8, 1.0)
  assert row['judgements_per_second'] > 0
  first, again = found['knockout']
  assert (first['compilations'], again['compilations']) == (1, 0)
  for row in (first, again):
    assert (row['rounds'], row['matches'], row['winners_wins']) == (3, 7, 3)
