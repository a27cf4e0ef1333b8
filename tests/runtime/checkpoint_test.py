import pathlib
import re
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.runtime import checkpoint
from prm_jax.runtime import update as updates


@pytest.fixture
def started(bilinear):
  phase = bilinear.learner().phases[1]
  return updates.start_phase(bilinear.state(), phase, bilinear.data())


def _largest(folder):
  files = [p for p in (folder / 'state').rglob('*') if p.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def test_round_trip_with_key_and_data_position(bilinear, started, tmp_path):
  batch = bilinear.data()
  iterator = bilinear.iterator(batch)
  for _ in range(3):
    next(iterator)
  with checkpoint.Checkpoints(tmp_path) as manager:
    manager.save(3, started, iterator)
    expected = next(iterator)  # while the save goes on
  fresh = bilinear.iterator(batch)
  like = jax.eval_shape(lambda: started)
  with checkpoint.Checkpoints(tmp_path) as manager:
    assert manager.latest() == 3
    restored = manager.restore(like, fresh)
  assert jax.tree.structure(restored) == jax.tree.structure(started)
  for a, b in zip(
    bilinear.arrays(restored), bilinear.arrays(started), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  for a, b in zip(
    jax.tree.leaves(next(fresh)), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_a_donated_update_does_not_reach_a_save(bilinear, started, tmp_path):
  step = jax.jit(lambda tree: {'w': tree['w'] + 1}, donate_argnums=0)
  state = {'w': jnp.zeros((512, 512))}
  with checkpoint.Checkpoints(tmp_path) as manager:
    manager.save(1, state)
    for _ in range(20):
      state = step(state)
    restored = manager.restore({'w': jnp.zeros((512, 512))})
  np.testing.assert_array_equal(restored['w'], 0)


def test_the_last_three_are_kept_and_later_ones_replaced(started, tmp_path):
  with checkpoint.Checkpoints(tmp_path) as manager:
    for step in (1, 2, 3, 4):
      manager.save(step, started)
    manager.wait()
    assert manager.steps() == [2, 3, 4]
    manager.save(3, started._replace(step=jnp.int32(7)))
    manager.wait()
    assert manager.steps() == [2, 3]
    assert int(manager.restore(started).step) == 7


@pytest.mark.parametrize('how', ['flip', 'cut', 'delete', 'unlisted'])
def test_damage_is_named_and_the_earlier_step_offered(
  bilinear, started, tmp_path, how
):
  with checkpoint.Checkpoints(tmp_path) as manager:
    for step in (1, 2, 3):
      manager.save(step, started)
  victim = _largest(tmp_path / '3')
  content = victim.read_bytes()
  if how == 'flip':
    middle = len(content) // 2
    changed = bytes([content[middle] ^ 1])
    victim.write_bytes(content[:middle] + changed + content[middle + 1 :])
  elif how == 'cut':
    victim.write_bytes(content[: len(content) // 2])
  elif how == 'delete':
    victim.unlink()
  else:
    victim = tmp_path / '3' / 'sha256.json'
    victim.unlink()
  with checkpoint.Checkpoints(tmp_path) as manager:
    with pytest.raises(checkpoint.CheckpointError) as error:
      manager.restore(started)
    message = str(error.value)
    assert f'step 3 in {tmp_path} is damaged' in message
    assert victim.name in message
    assert 'earlier steps: [1, 2]' in message
    assert f'delete the folder {tmp_path / "3"} to go on from step 2' in message
    restored = manager.restore(started, step=2)
  for a, b in zip(
    bilinear.arrays(restored), bilinear.arrays(started), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_a_stranger_s_file_is_ignored(bilinear, started, tmp_path, caplog):
  with checkpoint.Checkpoints(tmp_path) as manager:
    manager.save(1, started)
  (tmp_path / '1' / 'state' / '.DS_Store').write_bytes(b'left by a desktop')
  with checkpoint.Checkpoints(tmp_path) as manager:
    restored = manager.restore(started)
  for a, b in zip(
    bilinear.arrays(restored), bilinear.arrays(started), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  assert 'state/.DS_Store' in caplog.text


def test_missing_step_lists_those_there_are(started, tmp_path):
  with checkpoint.Checkpoints(tmp_path) as manager:
    with pytest.raises(checkpoint.CheckpointError, match='its steps: none'):
      manager.restore(started)
    manager.save(5, started)
    with pytest.raises(checkpoint.CheckpointError, match=r'its steps: \[5\]'):
      manager.restore(started, step=4)


def test_other_config_layout_or_data_is_refused(bilinear, started, tmp_path):
  with checkpoint.Checkpoints(tmp_path, config={'a': {'b': 1}}) as manager:
    manager.save(1, started)
  with (
    checkpoint.Checkpoints(tmp_path, config={'a': {'b': 2}}) as manager,
    pytest.raises(checkpoint.CheckpointError, match=r'a\.b: saved 1, now 2'),
  ):
    manager.restore(started)
  with checkpoint.Checkpoints(tmp_path, config={'a': {'b': 1}}) as manager:
    wide = bilinear.init(jax.random.key(0), types.Spec(9, 8))
    wide = updates.initialize(wide, bilinear.learner().phases[1])
    with pytest.raises(
      checkpoint.CheckpointError,
      match=r'params/reward/basis: saved "float32\[5, 3\]", now "float32\[9, 3',
    ):
      manager.restore(wide)
    with pytest.raises(checkpoint.CheckpointError, match='without a data'):
      manager.restore(started, bilinear.iterator(bilinear.data()))


def test_a_checkpoint_of_the_first_ground_says_so(started, tmp_path):
  with checkpoint.Checkpoints(tmp_path) as manager:
    manager.save(1, {'bank': {'ids': jnp.zeros(3)}})
    with pytest.raises(checkpoint.CheckpointError, match='tag first-ground'):
      manager.restore(started)


def test_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(PermissionError, match=r'cannot make the folder .*file'):
    checkpoint.Checkpoints(tmp_path / 'file')


def test_check_config_claims_then_compares(tmp_path):
  workdir = tmp_path / 'run'
  config = {'seed': np.int64(1), 'model': {'dim': 8, 'layers': (4, 6)}}
  checkpoint.check_config(workdir, config)
  checkpoint.check_config(workdir, config)
  other = {'seed': 1, 'model': {'dim': 6, 'layers': (4, 6)}, 'new': True}
  with pytest.raises(checkpoint.CheckpointError) as error:
    checkpoint.check_config(workdir, other)
  lines = str(error.value).splitlines()
  assert str(workdir) in lines[0]
  assert lines[1:] == [
    '  model.dim: saved 8, now 6',
    '  new: saved (absent), now true',
  ]
  (workdir / 'config.json').write_text('{"seed')
  with pytest.raises(checkpoint.CheckpointError, match=r'config\.json is not'):
    checkpoint.check_config(workdir, config)


def test_who_reads_leaves_a_save_that_is_under_way(started, tmp_path):
  with checkpoint.Checkpoints(tmp_path) as manager:
    manager.save(1, started)
    manager.wait()
  begun = tmp_path / '2.orbax-checkpoint-tmp'
  begun.mkdir()
  with checkpoint.Checkpoints(tmp_path, read_only=True) as manager:
    assert manager.steps() == [1]
    manager.restore(started)
  assert begun.exists()
  with checkpoint.Checkpoints(tmp_path):
    deadline = time.monotonic() + 20
    while begun.exists() and time.monotonic() < deadline:
      time.sleep(0.01)  # Orbax removes it in the background
  assert not begun.exists()


FULL = """
import sys
import numpy as np
from prm_jax.runtime import checkpoint
from full_disk import limit
manager = checkpoint.Checkpoints(sys.argv[1])
with manager:
  manager.save(1, {'a': np.arange(5, dtype=np.float32)})
  manager.wait()
  limit(100_000)
  try:
    manager.save(2, {'a': np.random.default_rng(0).random(100_000, np.float32)})
    manager.wait()
  except checkpoint.CheckpointError as error:
    print(error)
  limit(None)
  print(manager.steps(), manager.restore({'a': np.zeros(5, np.float32)})['a'])
  manager.save(2, {'a': np.ones(5, np.float32)})
  manager.wait()
  print(manager.steps())
"""


@pytest.mark.slow  # a process of its own
def test_on_a_full_disk_the_earlier_step_is_there_and_the_run_goes_on(tmp_path):
  done = subprocess.run(
    [sys.executable, '-c', FULL, str(tmp_path / 'run')],
    cwd=pathlib.Path(__file__).parents[1],
    capture_output=True,
    text=True,
    check=True,
  )
  told, earlier, later = done.stdout.splitlines()
  assert re.match(r'checkpoint .*/run/2 cannot be written \(', told)
  assert 'it goes on from step 1' in told
  assert 'File too large' in told
  assert earlier == '[1] [0. 1. 2. 3. 4.]'
  assert later == '[1, 2]'
