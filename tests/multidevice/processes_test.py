"""Two processes of two devices each share a fit, on this machine."""

import hashlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from prm_jax.model import Model
from prm_jax.runtime import checkpoint
from tests.multidevice import devices

pytestmark = pytest.mark.slow  # minutes: four processes compile every program

FITS = ('features@1,4,1@0', 'decoder@2,2,1@64')
SCRIPT = 'processes.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('fits')


@pytest.fixture(scope='module')
def two(folder):
  return devices.reports(SCRIPT, 2, *FITS, f'--folder={folder}')


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  folder = tmp_path_factory.mktemp('alone')
  return devices.report(SCRIPT, 1, *FITS, f'--folder={folder}')


@pytest.fixture(scope='module')
def gone_on(two, folder, tmp_path_factory):
  """What one process makes of what two had made after eight steps."""
  again = tmp_path_factory.mktemp('again')
  shutil.copytree(folder, again, dirs_exist_ok=True)
  return devices.report(SCRIPT, 1, *FITS, f'--folder={again}', '--restore=8')


def apart(found, other):
  return np.abs(np.subtract(found['predictions'], other['predictions'])).max()


@pytest.mark.parametrize('name', FITS)
def test_two_processes_find_what_one_finds(two, one, name):
  first, second = two
  assert (first['processes'], first['devices']) == (2, 4)
  assert (one['processes'], one['devices']) == (1, 1)
  first, second, alone = first[name], second[name], one[name]
  assert alone['losses'].keys() == first['losses'].keys()
  assert len(alone['losses']) >= 12
  for step, loss in alone['losses'].items():
    assert first['losses'][step] == pytest.approx(loss, rel=1e-5), step
  assert np.std(alone['predictions']) > 1e-3
  assert apart(first, alone) < 1e-3
  np.testing.assert_array_equal(first['predictions'], second['predictions'])
  assert second['losses'] == {}  # the first alone writes figures
  assert first['steps'] == second['steps'] == alone['steps']


@pytest.mark.parametrize('name', FITS)
def test_a_process_holds_its_part_of_a_decoder(two, name):
  whole = 1.15 / int(name.split('@')[1].split(',')[1])  # fsdp
  for found in two:
    if name.startswith('decoder'):
      assert found[name]['held'] <= whole


@pytest.mark.parametrize('name', FITS)
def test_one_process_goes_on_where_two_were(gone_on, two, one, name):
  found = gone_on[name]
  later = {at: loss for at, loss in one[name]['losses'].items() if int(at) > 8}
  assert found['losses'].keys() == later.keys()
  for step, loss in later.items():
    assert found['losses'][step] == pytest.approx(loss, rel=1e-4), step
  assert apart(found, one[name]) < 1e-3


# ------------------------------------------------------------- the command


@pytest.fixture(scope='module')
def command(tmp_path_factory):
  """`prm train` on judgements of five people, without its folder."""
  folder = tmp_path_factory.mktemp('mine')
  rng, rows, texts = np.random.default_rng(0), [], {}
  words = [f'word{number}' for number in range(10)]
  for user in range(5):
    for number in range(30):
      pair = rng.choice(10, (2, 4))
      a, b = (' '.join(words[word] for word in text) for text in pair)
      texts |= dict(zip((a, b), pair, strict=True))
      first, second = (pair < 4).sum(1) * (1 if user % 2 else -1)
      rows.append(
        {
          **{'user_id': f'u{user}', 'prompt_id': f'p{number}'},
          **{'prompt': f'{number}?', 'response_a': a, 'response_b': b},
          'label': 'ab'[int(first < second)] if first != second else 'tie',
        }
      )
  path, own = folder / 'mine.jsonl', folder / 'features.npz'
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  np.savez(
    own,
    sha256=[hashlib.sha256(text.encode()).hexdigest() for text in texts],
    features=np.stack([np.bincount(t, minlength=10) for t in texts.values()]),
  )
  return (
    *('-m', 'prm_jax.main', 'train', f'--data={path}', f'--features={own}'),
    *('--components=8', '--set=dim=3'),
  )


def ended(both, limit=600):
  """Exit statuses and what was said, of processes that are waited for."""
  try:
    said = [one.communicate(timeout=limit) for one in both]
  finally:
    for one in both:
      one.kill()
  return [one.returncode for one in both], said


def test_prm_train_in_two_processes_is_that_of_one(command, tmp_path):
  command = (*command, '--set=steps=40')
  both = devices.started(
    2, *command, f'--workdir={tmp_path}/two', '--processes=2'
  )
  statuses, said = ended(both)
  assert statuses == [0, 0], said
  assert 'Read' in said[0][0]
  # The first alone tells, but for a library, of its connections.
  lines = said[1][0].splitlines()
  assert not [line for line in lines if not line.startswith('[Gloo]')]
  subprocess.run(
    [sys.executable, *command, f'--workdir={tmp_path}/one'],
    env=devices.environment(1),
    check=True,
    capture_output=True,
  )
  two, one = (
    json.loads((tmp_path / name / 'results.json').read_text())
    for name in ('two', 'one')
  )
  gains = [found['tables']['gain'] for found in (two, one)]
  assert len(gains[0]) == len(gains[1]) > 0
  for row, other in zip(*gains, strict=True):
    for name, value in row.items():
      if isinstance(value, float):
        value = pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True)
      assert other[name] == value, name
  models = [Model.load(tmp_path / name) for name in ('two', 'one')]
  bases = [model.state.params['reward']['basis'] for model in models]
  np.testing.assert_allclose(*bases, atol=1e-4)


def test_one_that_is_stopped_stops_all_at_one_step(command, tmp_path):
  command = (*command, '--set=steps=20000', f'--workdir={tmp_path}')
  both = devices.started(2, *command, '--processes=2')
  for _ in range(6000):  # until a step is saved
    saved = list((tmp_path / 'checkpoints').glob('*00'))
    if saved or any(one.poll() is not None for one in both):
      break
    time.sleep(0.1)
  both[1].terminate()
  statuses, said = ended(both)
  assert statuses == [128 + signal.SIGTERM] * 2, said
  assert not (tmp_path / 'results.json').exists()
  with checkpoint.Checkpoints(tmp_path / 'checkpoints') as manager:
    assert 100 <= manager.latest() < 20000


def test_one_that_reads_other_data_is_refused(command, tmp_path):
  other = tmp_path / 'other.jsonl'
  data = command[3].partition('=')[2]
  lines = pathlib.Path(data).read_text().splitlines(keepends=True)
  other.write_text(''.join([*lines[1:], lines[0]]))
  both = devices.started(
    2,
    *command,
    '--processes=2',
    f'--workdir={tmp_path}/run',
    last=f'--data={other}',
  )
  statuses, said = ended(both)
  assert statuses == [2, 2], said
  for _, errors in said:
    assert 'data or options differ between processes [1]' in errors
  assert not (tmp_path / 'run').exists()
