"""Pieces of work: whole, made once, shared by processes."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from prm_jax.lab import units

ROOT = Path(__file__).parents[2]


def unit(value=1):
  return units.Unit({'value': value}, {'x|': np.arange(value)})


def test_a_unit_is_read_as_it_was_written(tmp_path):
  folder = units.Folder(tmp_path / 'units')
  folder.make('one', lambda: unit(3))
  record, arrays = folder.read('one')
  assert record == {'value': 3}
  assert list(arrays) == ['x|']
  np.testing.assert_array_equal(arrays['x|'], [0, 1, 2])


def test_what_is_done_is_not_made_again(tmp_path):
  folder = units.Folder(tmp_path)
  folder.make('one', unit)
  assert folder.make('one', lambda: pytest.fail('made again'))


def test_a_unit_without_its_record_is_not_done(tmp_path):
  folder = units.Folder(tmp_path)
  folder.write('one', unit())
  (tmp_path / 'one.json').unlink()  # killed before the record was there
  assert not folder.done('one')
  folder.make('one', lambda: unit(5))
  assert folder.read('one').record == {'value': 5}


def test_what_fails_leaves_nothing_and_can_be_made_later(tmp_path):
  folder = units.Folder(tmp_path)

  def fail():
    raise OSError(28, 'No space left on device')

  with pytest.raises(OSError, match='No space left'):
    folder.make('one', fail)
  assert not folder.done('one')
  assert folder.make('one', unit)


def test_a_write_that_fails_half_way_leaves_no_part(tmp_path, monkeypatch):
  folder = units.Folder(tmp_path)

  def full(file, **arrays):
    file.write(b'half')
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(units.np, 'savez_compressed', full)
  with pytest.raises(OSError, match='No space'):
    folder.make('one', unit)
  assert [p.name for p in tmp_path.iterdir()] == ['one.lock']


def test_what_another_process_makes_is_left_to_it(tmp_path):
  folder = units.Folder(tmp_path)
  begun, go_on = threading.Event(), threading.Event()

  def slow():
    begun.set()
    go_on.wait(10)
    return unit(7)

  other = threading.Thread(target=folder.make, args=('one', slow))
  other.start()
  begun.wait(10)
  assert not folder.make('one', lambda: pytest.fail('two at once'), wait=False)
  go_on.set()
  other.join()
  assert folder.read('one').record == {'value': 7}


def test_two_processes_make_every_unit_once(tmp_path):
  code = (
    'import sys, time\n'
    'from pathlib import Path\n'
    'from prm_jax.lab import units\n'
    'def make(name):\n'
    '  def work():\n'
    '    time.sleep(0.05)\n'
    '    with open(sys.argv[1] + "/log", "a") as log: log.write(name + "\\n")\n'
    '    return units.Unit({"name": name}, {})\n'
    '  return work\n'
    'names = [f"n{i}" for i in range(12)]\n'
    'folder = units.Folder(Path(sys.argv[1]) / "units")\n'
    'folder.make_all({n: make(n) for n in names}, "work")\n'
    'assert all(folder.done(n) for n in names)\n'
  )
  both = [
    subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT)
    for _ in range(2)
  ]
  assert [process.wait(60) for process in both] == [0, 0]
  made = (tmp_path / 'log').read_text().split()
  assert sorted(made) == sorted(f'n{i}' for i in range(12))


def test_all_are_made_in_order(tmp_path):
  folder, made = units.Folder(tmp_path), []

  def make(name):
    made.append(name)
    time.sleep(0)
    return unit()

  folder.make('b', unit)
  folder.make_all({n: (lambda n=n: make(n)) for n in 'abc'}, 'work')
  assert made == ['a', 'c']


def test_a_unit_of_many_is_whole_when_all_are(tmp_path):
  folder = units.Folder(tmp_path)

  def some(fails):
    yield 'one', unit(1)
    if fails:
      raise OSError(28, 'No space left on device')
    yield 'two', unit(2)

  with pytest.raises(OSError, match='No space'):
    folder.make('all', folder.several(some, True))
  assert folder.done('one')
  assert not folder.done('all')
  folder.make('all', folder.several(some, False))
  assert [one.record['value'] for one in folder.each('all')] == [1, 2]


def test_units_are_grouped_by_their_records():
  made = [
    units.Unit({'data': data, 'seed': seed}, {})
    for seed, data in enumerate('abba')
  ]
  groups = units.grouped(made, 'data')
  assert list(groups) == [('a',), ('b',)]
  assert [one.record['seed'] for one in groups['a',]] == [0, 3]
