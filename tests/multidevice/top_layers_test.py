"""`--adapt` on a mesh: what trains, what a device holds, what is exchanged."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests import checkpoints
from tests.multidevice import devices


def check(found, name):
  data, fsdp, model = map(int, name.split('@')[1].split(','))
  assert found['before'] < 1e-4
  assert found['after'] < 1e-3
  assert found['moved'] > 0.05
  assert found['held'] <= 1.15 / (fsdp * model)
  # Nobody has the activations of others' rows.
  assert found['exchanged'] <= 1.15 / (data * fsdp)


def test_layers_train_with_people_on_a_mesh_that_splits_everything():
  name = 'lora:2:4@2,2,2'
  check(devices.report('top_layers.py', 8, name)[name], name)


@pytest.mark.slow
def test_whole_layers_train_on_every_mesh():
  names = [f'full:1@{mesh}' for mesh in ('1,4,1', '2,1,2', '2,2,2')]
  report = devices.report('top_layers.py', 8, '--resumed', *names)
  for name, found in report.items():
    check(found, name)
    # It was killed on the mesh after its first epoch, and ended on one device.
    assert found['killed'] == ['4']
    assert found['resumed'] < 1e-3


@pytest.fixture
def files(tmp_path):
  """A checkpoint, judgements of people who differ, and texts to score."""
  words = ['tea', 'milk', 'sir', 'dude', 'say', 'it']
  folder = checkpoints.write(
    tmp_path / 'base',
    [*words, 'x', 'y', 'z'],
    **{'num_hidden_layers': 3, 'num_key_value_heads': 2},
  )
  rng = np.random.default_rng(0)
  data, asked = tmp_path / 'mine.jsonl', tmp_path / 'asked.jsonl'
  rows, texts = [], []
  for number in range(120):
    first, second = (' '.join(rng.choice(words, 4)) for _ in range(2))
    texts += [{'prompt': 'say it', 'response': first}]
    polite = first.count('sir') - second.count('sir') + rng.normal() > 0
    told = {'user_id': f'u{number % 6}', 'prompt_id': 'p', 'prompt': 'say it'}
    label = 'ab'[polite == number % 2]
    rows += [
      {**told, 'response_a': first, 'response_b': second, 'label': label}
    ]
  for path, given in ((data, rows), (asked, texts)):
    path.write_text(''.join(json.dumps(row) + '\n' for row in given))
  return folder, data, asked


@pytest.mark.slow
def test_a_command_takes_a_mesh_and_what_it_fits_is_read_without(
  files, tmp_path
):
  folder, data, asked = files
  work, split = tmp_path / 'run', '--mesh=data:2,fsdp:2,model:2'

  def prm(command, *more):
    own = {'PRM_CACHE_DIR': str(tmp_path / f'cache{len(more)}')}
    given = [sys.executable, '-m', 'prm_jax.main', command, *map(str, more)]
    environment = devices.environment(8) | own
    return subprocess.run(
      given, env=environment, capture_output=True, text=True, check=False
    )

  done = prm(
    *('train', f'--data={data}', f'--workdir={work}', f'--backbone={folder}'),
    *('--adapt=lora:2:2', '--components=7', '--set=dim=2', '--set=epochs=2'),
    split,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  call = 'score', f'--data={asked}', f'--workdir={work}', '--user=u1'
  found = [prm(*call, *more) for more in ((), (split,))]
  assert all(of.returncode == 0 for of in found), found[1].stderr[-3000:]
  alone, shared = (
    np.array([json.loads(x)['score'] for x in of.stdout.splitlines()])
    for of in found
  )
  assert len(alone) == 120
  assert np.ptp(alone) > 0.1
  np.testing.assert_allclose(shared, alone, atol=1e-3)
  refused = prm('score', f'--data={asked}', f'--model={folder}', split)
  assert refused.returncode == 2
  assert '--mesh: of a language model' in refused.stderr
