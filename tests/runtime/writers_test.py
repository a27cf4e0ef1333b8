import json
import math
import os
import struct

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from prm_jax.runtime import writers


def _lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_jsonl_appends_and_truncates(tmp_path):
  path = tmp_path / 'a' / 'metrics.jsonl'
  writer = writers.JsonlWriter(path)
  for step in (10, 20, 30):
    writer.write(step, 'joint', {'loss': np.float32(0.5), 'bad': math.nan})
  writers.JsonlWriter(path).truncate(20)
  writer.write(30, 'joint', {'loss': 0.25})
  assert [row['step'] for row in _lines(path)] == [10, 20, 30]
  assert _lines(path)[0] == {
    'step': 10,
    'phase': 'joint',
    'loss': 0.5,
    'bad': None,
  }
  assert _lines(path)[2]['loss'] == 0.25


def test_jsonl_drops_a_last_line_cut_short(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1, "phase": "a"}\n{"step": 2, "pha')
  writers.JsonlWriter(path).truncate(5)
  assert _lines(path) == [{'step': 1, 'phase': 'a'}]


def test_jsonl_names_a_broken_line(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
  with pytest.raises(ValueError, match=r'metrics\.jsonl, line 2: not JSON'):
    writers.JsonlWriter(path).truncate(5)


def test_tee_and_stdout(tmp_path, capsys):
  path = tmp_path / 'm.jsonl'
  tee = writers.Tee(writers.JsonlWriter(path), writers.StdoutWriter())
  tee.write(3, 'joint', {'loss': 0.6931})
  tee.truncate(2)
  assert _lines(path) == []
  out = capsys.readouterr().out
  assert out == 'step 3 joint  loss 0.6931\nresumed from step 2\n'


def test_write_json_atomic_converts_and_keeps_order(tmp_path):
  path = tmp_path / 'b' / 'results.json'
  writers.write_json_atomic(path, {'old': 1})
  writers.write_json_atomic(
    path,
    {
      'z': np.float32(0.5),
      'a': [np.int64(3), math.inf, np.bool_(True)],
      'table': np.array([[1.0, np.nan]]),
      'path': tmp_path,
      'none': None,
    },
  )
  loaded = json.loads(path.read_text())
  assert list(loaded) == ['z', 'a', 'table', 'path', 'none']
  assert loaded['a'] == [3, None, True]
  assert loaded['table'] == [[1.0, None]]
  assert os.listdir(path.parent) == ['results.json']


def test_failed_write_leaves_the_old_file(tmp_path):
  path = tmp_path / 'results.json'
  writers.write_json_atomic(path, {'old': 1})
  with pytest.raises(TypeError, match='not plain data'):
    writers.write_json_atomic(path, {'new': object()})
  assert json.loads(path.read_text()) == {'old': 1}


def test_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(PermissionError, match=r'cannot make the folder .*file'):
    writers.make_folder(tmp_path / 'file' / 'runs')
  with pytest.raises(PermissionError, match=r'cannot make the folder .*file'):
    writers.make_folder(tmp_path / 'file')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_folder_without_permission_is_named(tmp_path):
  tmp_path.chmod(0o500)
  with pytest.raises(PermissionError, match='no permission to write'):
    writers.make_folder(tmp_path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
  out = tmp_path / 'out'
  (tmp_path / '.out.part').mkdir()
  (tmp_path / '.out.part' / 'old').write_text('of one that was killed')

  def stop():
    with writers.whole_folder(out) as part:
      (part / 'a').write_text('half')
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    stop()
  assert [*tmp_path.iterdir()] == []
  out.mkdir()
  with writers.whole_folder(out) as part:
    (part / 'a').write_text('whole')
    assert [*out.iterdir()] == []
  assert [path.name for path in tmp_path.iterdir()] == ['out']
  assert [path.name for path in out.iterdir()] == ['a']
  with (
    pytest.raises(FileExistsError, match='has something in it'),
    writers.whole_folder(out),
  ):
    pass


def test_tensorboard_gets_figures_and_what_a_resumed_run_drops(tmp_path):
  writer = writers.TensorboardWriter(tmp_path)
  writer.write(4, 'joint', {'loss': 0.5})
  writer.write(8, 'joint', {'loss': 0.25})
  writer.truncate(4)
  writer.write(8, 'joint', {'loss': 0.125})
  writer.close()
  found, restarts = [], []
  for path in sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_ino):
    data = path.read_bytes()
    while data:  # length, its check, the event, its check
      (size,) = struct.unpack('<Q', data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + size])
      data = data[16 + size :]
      found += [
        (event.step, v.tag, v.simple_value) for v in event.summary.value
      ]
      if event.session_log.status == event_pb2.SessionLog.START:
        restarts.append(event.step)
  assert sorted(found) == [
    (4, 'joint/loss', 0.5),
    (8, 'joint/loss', 0.125),
    (8, 'joint/loss', 0.25),
  ]
  assert restarts == [5]
