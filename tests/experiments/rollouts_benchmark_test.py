import pytest

from experiments.benchmarks import rollouts


@pytest.mark.slow
def test_every_part_is_measured():
  found = rollouts.measure(rollouts.SMOKE)
  (row,) = found['sampling']
  assert (row['batch'], row['group']) == (4, 2)
  assert row['ours_tokens_per_second'] > 0
  assert len(found['phases']) == 2
  for row in found['phases']:
    assert 0 < row['writing_share'] < 1
    assert row['sampler_gap_nats'] < 1e-4
