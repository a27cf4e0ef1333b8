"""The benchmark's arms are one loss on fewer tokens; no time is asserted."""

import numpy as np
import pytest

from experiments.benchmarks import discriminator as benchmark
from prm_jax.rewards import trajectories

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def results():
  return benchmark.measure(benchmark.SMOKE, 'sharing', smoke=True)


def test_rows_of_every_arm(results):
  rows = results['sharing']['rows']
  assert [row['negatives'] for row in rows] == [2]
  for row in rows:
    assert row['shared_tokens'] < row['separate_tokens']
    assert row['padded_tokens'] == row['separate_tokens']
    assert row['shared_row_tokens'] == row['separate_row_tokens']
    assert row['shared_rows'] <= row['separate_rows']
    branches = row['triples'] * (row['negatives'] + 1)
    assert row['padded_rows'] == branches
    assert 1 < row['token_ratio'] < row['negatives'] + 1
    for arm in ('separate', 'shared', 'padded'):
      places = row[f'{arm}_rows'] * row[f'{arm}_row_tokens']
      assert row[f'{arm}_fill'] * places == pytest.approx(row[f'{arm}_tokens'])
      assert 0 < row[f'{arm}_fill'] <= 1
      assert 0 < row[f'{arm}_seconds_fastest'] <= row[f'{arm}_seconds']


def test_arms_have_one_loss(results):
  for row in results['sharing']['rows']:
    assert 0 <= row['loss_difference'] < 1e-4


def test_tables_have_every_row(results):
  columns = benchmark.COLUMNS['sharing'].split()
  table = benchmark.table(results['sharing']['rows'], columns)
  assert len(table.splitlines()) == 2 + len(benchmark.SMOKE.negatives)
  assert results['torch'] is None  # not asked for


def test_formula():
  mean = {'prompt': 10.0, 'reference': 100.0, 'candidate': 100.0}
  # Two sequences of 220 against 120 shared and two candidates.
  assert benchmark.formula(mean, 1) == pytest.approx(440 / 320)
  assert benchmark.formula(mean, 8) == pytest.approx(9 * 220 / 1020)


def test_cut_keeps_ends_of_prompts_and_starts_of_responses():
  long = trajectories.Trajectory(list(range(50)), [99], list(range(100)))
  short = trajectories.Trajectory([1], [99], [2, 3])
  found = benchmark.cut(benchmark.Task(long, [short, long]), 16)
  assert found.reference.prompt == list(range(42, 50))
  assert list(found.reference.response) == list(range(7))
  assert found.candidates[0] == short
  assert len(found.candidates[1].ids(100)) == 16


def test_drawn_lengths_are_log_normal():
  tasks = benchmark.random_tasks(50, 400, 1)
  found = [len(task.candidates[0].response) for task in tasks]
  median, deviation = benchmark.RESPONSE
  assert np.median(found) == pytest.approx(median, rel=0.2)
  assert np.log(found).std() == pytest.approx(deviation, rel=0.15)
