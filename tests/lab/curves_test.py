"""Policies in training: what is a method, and tables of runs."""

from types import SimpleNamespace

import numpy as np
import pytest

from prm_jax import types
from prm_jax.lab import curves


def run_of(method, seed, ends):
  """A run of two windows that ends with some figures, from half of them."""
  windows = [
    {
      'step': 10 * (i + 1),
      'tokens': 8.0 + i,
      'sampler_gap': None if i else 1e-6,
      **{f'at {name}': value * i / 2 for name, value in ends.items()},
    }
    for i in range(2)
  ]
  return {'method': method, 'seed': seed, 'curve': windows, 'final': ends}


RUNS = [
  run_of(m, s, {'hard': h + 0.1 * s})
  for m, h in (('a', 0.2), ('b', 0.6))
  for s in range(3)
]


def test_a_search_is_a_method_for_each_rate():
  nodes = {
    'plain': {'kind': 'grpo', 'rate': 1e-3},
    'searched': {'kind': 'sdpo', 'rate': (5e-4, 1.6e-2)},
    'another': {'kind': 'rltf', 'rate': 1.0},
  }
  methods = curves.methods(nodes, ('searched', 'plain'))
  assert list(methods) == ['searched@0.0005', 'searched@0.016', 'plain']
  assert methods['searched@0.016'] == {'kind': 'sdpo', 'rate': 1.6e-2}
  assert nodes['searched']['rate'] == (5e-4, 1.6e-2)
  with pytest.raises(KeyError, match='nobody'):
    curves.methods(nodes, ('nobody',))


def test_examinations_are_of_a_windows_start():
  rows = curves.exams(run_of('a', 0, {'hard': 0.8}))
  assert [row['step'] for row in rows] == [0, 10, 20]
  np.testing.assert_allclose([row['hard'] for row in rows], [0, 0.4, 0.8])


def test_figures_are_averaged_over_the_runs_of_a_group():
  table = curves.averaged(
    RUNS,
    ('method',),
    {
      'first': curves.before('hard'),
      'last': curves.after('hard'),
      'tokens': curves.during('tokens'),
      'none': curves.after('nothing'),
    },
  )
  assert [row['method'] for row in table] == ['a', 'b']
  assert {row['seeds'] for row in table} == {3}
  assert table[1]['last'] == pytest.approx(0.7)
  # Student's: 0.1 is the deviation of three values a tenth apart.
  assert table[1]['last_high'] == pytest.approx(0.7 + 4.302653 * 0.1 / 3**0.5)
  assert (table[0]['first'], table[0]['tokens']) == (0.0, 8.5)
  assert table[0]['none'] is None


def test_figures_along_training_are_averaged_over_seeds():
  table = curves.along(RUNS, ('method',), ('hard', 'entropy'))
  rows = [(row['method'], row['step'], row['hard']) for row in table[:3]]
  assert rows == [
    ('a', 0, 0.0),
    ('a', 10, pytest.approx(0.15)),
    ('a', 20, pytest.approx(0.3)),
  ]
  assert table[0]['entropy'] is None


def test_shares_end_at_none_and_all():
  runs = [run_of('a', s, {'hard': h}) for s, h in enumerate((0.1, 0.9, 0.8))]
  free = curves.along(runs, ('method',), ('hard',))[-1]
  ended = curves.along(runs, ('method',), ('hard',), shares=('hard',))[-1]
  assert free['hard_low'] < 0 < 1 < free['hard_high']
  assert ended == {**free, 'hard_low': 0.0, 'hard_high': 1.0}
  figures = {'last': curves.after('hard'), 'free': curves.after('hard')}
  (row,) = curves.averaged(runs, ('method',), figures, shares=('last',))
  assert (row['last_low'], row['last_high']) == (0, 1)
  assert row['free_low'] == free['hard_low']


def test_before_and_after():
  row, _ = curves.before_and_after(RUNS, 'hard', 'tokens')
  assert (row['hard_before'], row['tokens']) == (0.0, 8.5)
  assert row['hard_after'] == pytest.approx(0.3)
  assert row['sampler_gap'] == pytest.approx(1e-6)


def test_what_is_not_known_of_windows_is_left_out():
  run = RUNS[0]
  assert curves.of_windows(run, 'sampler_gap') == [1e-6]
  assert curves.largest(run, 'tokens') == 9.0
  assert curves.largest(run, 'nothing') is None
  assert np.isnan(curves.during('nothing')(run))


def test_every_phase_is_examined_before_a_window():
  seen = []

  def collect(key, state, batch):
    return batch, {'own': key}

  steps = tuple(types.Phase(name, collect=collect) for name in 'ab')
  learner = curves.watched(
    types.Learner(steps, None),
    2,
    lambda params: seen.append(params) or {'x': 3},
  )
  for phase in learner.phases:
    for step in range(4):
      state = SimpleNamespace(step=step, params={'policy': step})
      batch, metrics = phase.collect(step, state, 'rows')
      assert batch == 'rows'
      assert metrics['own'] == step
      assert ('at x' in metrics) == (step % 2 == 0)
  assert seen == [0, 2, 0, 2]
