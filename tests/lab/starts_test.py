"""Policies before training: whole on disk, and good enough."""

import types

import filelock
import numpy as np
import pytest

from prm_jax.lab import starts, units


def make():
  return {'w': np.ones(2)}, {'n': 1}


def test_units_whose_start_another_process_makes_come_later(tmp_path):
  start = tmp_path / 'starts' / '0'
  start.parent.mkdir()
  another_process = filelock.FileLock(tmp_path / 'starts' / '.0.lock')
  another_process.acquire()

  def needs_it():
    return starts.on_disk(start, make)[1]

  def needs_nothing():
    assert not start.exists()
    another_process.release()
    return {}

  folder = units.Folder(tmp_path / 'units')
  work = {'a': units.record(needs_it), 'b': units.record(needs_nothing)}
  folder.make_all(work, 'runs')
  assert [folder.read(name).record for name in work] == [{'n': 1}, {}]


def test_a_start_whose_write_was_cut_off_is_made_again(tmp_path):
  folder = tmp_path / 'starts' / '0'
  folder.mkdir(parents=True)
  (folder / 'half').write_text('')
  for _ in range(2):
    params, card = starts.on_disk(folder, make)
    np.testing.assert_array_equal(params['w'], 1.0)
    assert card == {'n': 1}
  assert not (folder / 'half').exists()


def test_a_start_that_is_not_good_enough_is_drawn_again():
  def examine(seed):
    return {'a': 0.9, 'b': seed / 2000}

  def draw(seed):
    return seed

  node = types.SimpleNamespace(trials=3, least=0.5)
  start, card = starts.good(draw, examine, ('a', 'b'), node, 3)
  assert (start, card['trials'], card['b']) == (1003, 2, 1003 / 2000)
  assert starts.good(draw, examine, ('a',), node, 3)[0] == 3
  node.least = 0.95
  with pytest.raises(RuntimeError, match=r'no start in 3 has a of at .*95%'):
    starts.good(draw, examine, ('a',), node, 3)
