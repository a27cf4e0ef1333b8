"""The benchmark's arms are one loss on fewer tokens; no time is asserted."""

import numpy as np
import pytest

from experiments.benchmarks import discriminator as benchmark
from prm_jax.models import packing
from prm_jax.rewards import trajectories


@pytest.fixture(scope='module')
def rows():
  return benchmark.measure(benchmark.SMOKE)['sharing']


@pytest.mark.slow
def test_rows_of_every_arm(rows):
  assert [row['negatives'] for row in rows] == [2]
  for row in rows:
    assert row['shared_tokens'] < row['separate_tokens']
    assert row['padded_tokens'] == row['separate_tokens']
    assert row['shared_row_tokens'] == row['separate_row_tokens']
    assert row['shared_rows'] <= row['separate_rows']
    branches = row['triples'] * (row['negatives'] + 1)
    assert row['padded_rows'] == branches
    assert row['token_ratio'] == pytest.approx(
      row['separate_tokens'] / row['shared_tokens']
    )
    assert 1 < row['token_ratio'] < row['negatives'] + 1
    for arm in ('separate', 'shared', 'padded'):
      places = row[f'{arm}_rows'] * row[f'{arm}_row_tokens']
      assert row[f'{arm}_fill'] * places == pytest.approx(row[f'{arm}_tokens'])
      assert 0 < row[f'{arm}_fill'] <= 1
      assert 0 < row[f'{arm}_seconds_fastest'] <= row[f'{arm}_seconds']


@pytest.mark.slow
def test_arms_have_one_loss(rows):
  for row in rows:
    assert 0 <= row['loss_difference'] < 1e-4


def test_the_ratio_of_tokens_is_the_formula():
  text = trajectories.Trajectory(list(range(9)), [99], list(range(100)))
  # The candidates differ from their first token on.
  others = [text._replace(response=[i] * 100) for i in range(200, 209)]
  for negatives in (1, 8):
    task = [text, *others[: negatives + 1]]
    (one,) = benchmark.shared_sequences([task], negatives)
    found = benchmark.token_ratio([one])
    branches = negatives + 1
    # Prompts of 10 tokens, reference and candidates of 100; two markers.
    expected = branches * (2 * 10 + 100 + 100 + 2)
    expected /= 2 * 10 + 100 + 1 + branches * 101
    assert found == pytest.approx(expected)


def test_rows_are_filled_by_all_arms():
  def arm(lengths):
    return [packing.Sequences([1] * (n - 1), [[-3]]) for n in lengths]

  one, other = arm([30, 30, 30, 30]), arm([20, 20, 20])
  # 64 holds two of the first (94 %) and three of the second (94 %).
  assert benchmark.row_length([one, other]) == 64


def test_cut_keeps_ends_of_prompts_and_starts_of_responses():
  long = trajectories.Trajectory(list(range(50)), [99], list(range(100)))
  short = trajectories.Trajectory([1], [99], [2, 3])
  found = benchmark.cut(long, 16)
  assert found.prompt == list(range(42, 50))
  assert list(found.response) == list(range(7))
  assert len(found.ids(100)) == 16
  assert benchmark.cut(short, 16) == short


def test_drawn_lengths_are_log_normal():
  tasks = benchmark.random_tasks(50, 1)
  found = [len(text.response) for task in tasks for text in task]
  assert len(found) == 3 * benchmark.TASKS
  median, deviation = benchmark.RESPONSE
  assert np.median(found) == pytest.approx(median, rel=0.2)
  assert np.log(found).std() == pytest.approx(deviation, rel=0.15)
