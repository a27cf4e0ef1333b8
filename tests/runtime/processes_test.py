"""What one process can say of several; two are in tests/multidevice."""

import jax
import numpy as np
import pytest

from prm_jax import main
from prm_jax.data import pipelines
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import processes, train


@pytest.mark.parametrize(
  ('given', 'text'),
  [
    ({'processes': 'many'}, '--processes=many: a whole number'),
    ({'processes': '0'}, 'at least 1'),
    ({'processes': '2'}, 'give --coordinator=HOST:PORT'),
    ({'processes': '2', 'coordinator': 'here:1'}, "this one's number"),
    (
      {'processes': '2', 'coordinator': 'here', 'process': 0},
      '--coordinator=here: write HOST:PORT',
    ),
    (
      {'processes': '2', 'coordinator': 'here:1', 'process': 2},
      '--process=2: of 2, from 0 to 1',
    ),
    ({'processes': 'auto', 'process': 1}, '--processes=auto finds them'),
  ],
)
def test_numbers_that_do_not_go_together_are_refused(given, text):
  given = dict(given)
  with pytest.raises(ValueError, match=text):
    processes.start(given.pop('processes'), **given)


def test_what_was_looked_for_is_said(monkeypatch):
  def initialize():
    raise ValueError('coordinator_address should be defined.')

  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  monkeypatch.setenv('SLURM_JOB_ID', '7')
  with pytest.raises(ValueError, match=r"has \['SLURM_JOB_ID'.*start them"):
    processes.start('auto')


def test_the_command_refuses_a_number_without_others(capsys, tmp_path):
  command = ['train', f'--data={tmp_path}/mine.jsonl', f'--workdir={tmp_path}']
  assert main.run([*command, '--process=1']) == 2
  assert '--process: of a fit of several' in capsys.readouterr().err


class Device:
  """A device of some process."""

  def __init__(self, process):
    self.process_index = process


class Mesh:
  """A mesh of devices of several processes, as far as it is asked."""

  def __init__(self, *of):
    self.devices = np.array([Device(process) for process in of])
    self.size = len(of)


def test_a_mesh_of_all_processes_is_needed(monkeypatch):
  assert not processes.share(None)
  assert not processes.share(Mesh(0, 0))
  assert processes.share(Mesh(0, 0, 1, 1))
  monkeypatch.setattr(jax, 'process_count', lambda: 3)
  monkeypatch.setattr(jax, 'device_count', lambda: 6)
  with pytest.raises(ValueError, match=r'4 devices leaves out .* \[2\]: .* 6'):
    processes.check(Mesh(0, 0, 1, 1))
  processes.check(Mesh(0, 1, 2))


def test_a_fit_of_several_is_refused_what_it_cannot_share(
  bilinear, monkeypatch
):
  mesh, learner = Mesh(0, 1), bilinear.learner(2)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(ValueError, match="how='pmap': several processes"):
    train._of_several(learner, mesh, 'pmap')
  collects = learner.phases[1]._replace(collect=lambda key, state, batch: batch)
  learner = learner._replace(phases=(learner.phases[0], collects))
  with pytest.raises(ValueError, match="phase 'joint' collects on the host"):
    train._of_several(learner, mesh, 'jit')
  assert not train._of_several(learner, None, 'jit')


def test_parts_of_a_batch_are_its_rows_in_order(bilinear):
  data = bilinear.data()
  count = len(data.rows.mask)
  common = {'batch_size': 8, 'seed': 3}
  whole = pipelines.batches(data, **common)
  parts = [pipelines.batches(data, **common, part=(n, 2)) for n in range(2)]
  for _ in range(-(-count // 8) + 1):  # over the end of a pass, too
    joined = jax.tree.map(
      lambda *leaves: np.concatenate(leaves), *[next(part) for part in parts]
    )
    jax.tree.map(np.testing.assert_array_equal, joined, next(whole))
  with pytest.raises(ValueError, match='8 rows is not divided by the 3 proc'):
    pipelines.batches(data, **common, part=(0, 3))
  with pytest.raises(ValueError, match='parts of a batch that is packed'):
    pipelines.batches(data, **common, part=(0, 2), read=lambda index: None)


def test_one_process_is_all_there_is(bilinear, tmp_path):
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  assert meshes.own_rows(mesh) == (0, 1)
  batch = next(bilinear.iterator(bilinear.data()))
  jax.tree.map(
    np.testing.assert_array_equal, compiling.joined(batch, mesh), batch
  )
  processes.on_first((tmp_path / 'made').mkdir)
  with pytest.raises(FileExistsError):
    processes.on_first((tmp_path / 'made').mkdir)
  processes.same('nothing', 'to compare')
  key = processes.local(processes.put(jax.random.key(1), meshes.whole(mesh)))
  assert jax.random.key_data(key).tolist() == [0, 1]
