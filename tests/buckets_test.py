"""A fit that writes to a bucket, as a store answers over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow  # processes of their own

FIT = """
import sys
from prm_jax.model import Model
data, workdir = sys.argv[1:]
model = Model.fit(
  data, workdir=workdir, method='pref', kind='surface', options={'steps': 600}
)
print(list(model.score('u1', 'Why?', ['please', 'no'])[0]))
"""
LOAD = """
import sys, jax
from prm_jax.model import Model
assert jax.device_count() == 2
model = Model.load(sys.argv[1])
print(list(model.score('u1', 'Why?', ['please', 'no'])[0]))
"""
STEPS = """
import sys
from prm_jax.runtime import checkpoint
with checkpoint.Checkpoints(sys.argv[1], read_only=True) as manager:
  print(manager.steps())
"""

READ = """
import json, sys
from prm_jax import places
print(json.dumps(places.place(sys.argv[1]).read_text()))
"""


@pytest.fixture(scope='module')
def store():
  """Environment in which `gs://bucket` is on this machine."""
  pytest.importorskip('gcsfs')
  pytest.importorskip('gcp_storage_emulator')
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  server = [sys.executable, str(ROOT / 'tests/bucket_server.py'), str(port)]
  with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as running:
    assert running.stdout.readline() == 'ready\n'
    url = f'http://localhost:{port}'
    yield os.environ | {
      'STORAGE_EMULATOR_HOST': url,
      'TENSORSTORE_GCS_HTTP_URL': url,
      'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'any',
    }
    running.kill()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  rng = np.random.default_rng(0)
  words = ['please', 'kindly', 'no', 'stuff', 'dude', 'yes']
  path = tmp_path_factory.mktemp('data') / 'mine.jsonl'
  with path.open('w') as file:
    for number in range(300):
      one, two = (' '.join(rng.choice(words, 4)) for _ in range(2))
      row = {'user_id': f'u{number % 10}', 'prompt_id': f'p{number % 6}'}
      row |= {'prompt': f'Why {number % 6}?', 'response_a': one}
      row |= {'response_b': two, 'label': 'a' if 'please' in one else 'b'}
      file.write(json.dumps(row) + '\n')
  return path


def said(code, environment, *arguments):
  """What a process prints last."""
  done = subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr[-3000:]
  return done.stdout.splitlines()[-1]


def rows(text):
  return [json.loads(line) for line in text.splitlines()]


def test_a_killed_fit_goes_on_in_a_bucket_and_is_that_of_a_disk(
  store, data, tmp_path
):
  folder = 'gs://bucket/one'
  begun = subprocess.Popen(
    [sys.executable, '-c', FIT, str(data), folder],
    env=store,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  deadline = time.monotonic() + 120
  while begun.poll() is None and time.monotonic() < deadline:
    steps = said(STEPS, store, f'{folder}/checkpoints')
    if steps != '[]':
      break
  begun.kill()
  begun.wait()
  saved = json.loads(said(STEPS, store, f'{folder}/checkpoints'))
  assert saved
  in_bucket = said(FIT, store, data, folder)
  assert in_bucket == said(FIT, store, data, tmp_path / 'one')
  found = rows(json.loads(said(READ, store, f'{folder}/metrics.jsonl')))
  expected = rows((tmp_path / 'one/metrics.jsonl').read_text())
  assert [row['step'] for row in found] == [row['step'] for row in expected]
  # Another machine, of two devices, reads it.
  two = store | {'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
  assert said(LOAD, two, folder).startswith('[')
  assert not (Path.cwd() / 'gs:').exists()


def test_a_bucket_that_is_not_there_is_refused_before_data_are_read(store):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'prm_jax.main', 'train', '--data=none.jsonl'),
      '--workdir=gs://another/run',
    ],
    env=store,
    capture_output=True,
    text=True,
    check=False,
  )
  told = (done.stdout + done.stderr).splitlines()[-1]
  assert 'cannot write in gs://another/run' in told
