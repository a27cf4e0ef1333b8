import errno
import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest

from prm_jax import main, places
from prm_jax.runtime import checkpoint, claims, writers
from tests import buckets


@pytest.fixture
def bucket(monkeypatch):
  return buckets.install(monkeypatch)


def test_what_is_on_a_disk_is_a_path_as_ever(tmp_path):
  for given in (tmp_path, str(tmp_path), 'a/b:c', 'runs', 'C:'):
    assert places.place(given) == pathlib.Path(given)
    assert places.disk(given) == pathlib.Path(given)
    assert not places.in_bucket(given)


@pytest.mark.parametrize(
  ('given', 'text'),
  [
    ('s3://bucket/run', 'or gs://BUCKET/NAME in a bucket of Google'),
    ('gs://', 'or gs://BUCKET/NAME'),
    # What pathlib makes of gs://bucket/run, a folder `gs:` on the disk.
    (pathlib.Path('gs://bucket/run'), 'gs:/bucket/run: a folder is on a disk'),
  ],
)
def test_other_stores_are_refused(given, text):
  with pytest.raises(ValueError, match=text):
    places.place(given)


def test_a_bucket_without_what_reads_it_says_what_to_install(monkeypatch):
  monkeypatch.setattr(places.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"pip install 'prm_jax\[gcs\]'"):
    places.place('gs://bucket/run')


def test_commands_that_need_a_disk_refuse_a_bucket(bucket, capsys):
  for call in (
    ('compare', '--data=x.jsonl', '--workdir=gs://bucket/run'),
    ('ask', '--workdir=gs://bucket/run'),
    ('forget', '--workdir=gs://bucket/run', '--user=a'),
    ('export', '--workdir=gs://bucket/run', '--output=gs://bucket/out'),
  ):
    with pytest.raises(SystemExit):
      main.run(call)
    assert 'is read and written on a disk' in capsys.readouterr().err
  assert not bucket.store


def test_a_bucket_that_refuses_writes_is_refused_before_data_are_read(
  bucket, capsys
):
  call = ('train', '--data=none.jsonl', '--workdir=gs://closed/run')
  assert main.run(call) == 2
  told = capsys.readouterr().err
  assert 'cannot write in gs://closed/run (403: the account may not' in told
  assert 'and much more' not in told
  assert not bucket.store


def test_files_of_a_bucket_are_written_whole(bucket):
  folder = places.make_folder('gs://bucket/run')
  assert not bucket.store  # what was tried is gone
  writers.write_json_atomic(folder / 'a.json', {'one': 1})
  assert json.loads((folder / 'a.json').read_text()) == {'one': 1}
  writers.write_lines(folder / 'b.gz', ['first\n', 'second\n'])
  assert gzip.decompress((folder / 'b.gz').read_bytes()) == b'first\nsecond\n'
  with pytest.raises(TypeError), places.whole_file(folder / 'a.json') as file:
    file.writelines([b'{"tw', 'o'])
  assert json.loads((folder / 'a.json').read_text()) == {'one': 1}
  checkpoint.check_config(folder, {'seed': 1})
  with pytest.raises(checkpoint.CheckpointError, match='saved 1, now 2'):
    checkpoint.check_config(folder, {'seed': 2})
  with claims.claimed(folder):
    assert sorted(bucket.store) == [
      f'/bucket/run/{name}' for name in ('a.json', 'b.gz', 'config.json')
    ]


def test_figures_in_a_bucket_are_appended_and_dropped(bucket):
  path = places.place('gs://bucket/run/metrics.jsonl')
  writer = writers.JsonlWriter(path)
  for step in (1, 2, 3):
    writer.write(step, 'joint', {'loss': 0.5})
  assert path.read_text().count('\n') == 1  # the rest within ten seconds
  writer.flush()
  again = writers.JsonlWriter(path)
  again.truncate(2)
  again.write(3, 'joint', {'loss': 0.25})
  again.flush()
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert [row['step'] for row in rows] == [1, 2, 3]
  assert rows[-1]['loss'] == 0.25


FULL = """
import sys
from pathlib import Path
from full_disk import limit
limit(2000)
from prm_jax.runtime import writers
writers.write_json_atomic(Path(sys.argv[1]), {'text': 'a' * 5000})
"""


def test_on_a_full_disk_what_was_there_is_whole(tmp_path):
  path = tmp_path / 'results.json'
  writers.write_json_atomic(path, {'old': 1})
  done = subprocess.run(
    [sys.executable, '-c', FULL, str(path)],
    cwd=pathlib.Path(__file__).parent,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode
  assert f'OSError: [Errno {errno.EFBIG}] {path} cannot be written' in (
    done.stderr
  )
  assert 'make room, and give the same command again' in done.stderr
  assert os.listdir(tmp_path) == ['results.json']
  assert json.loads(path.read_text()) == {'old': 1}
