import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import update as updates


@pytest.fixture
def started(bilinear):
  phase = bilinear.learner().phases[1]
  return updates.initialize(bilinear.state(), phase)


@pytest.mark.parametrize('how', ['jit', 'shard_map', 'pmap'])
@pytest.mark.parametrize('donate', [False, True])
def test_one_device(bilinear, started, how, donate):
  batch = bilinear.data()
  update = updates.make_update(bilinear.learner().phases[1])
  expected, metrics = jax.jit(update)(started, batch)
  step = compiling.compile_update(update, how=how, donate=donate)
  state = jax.tree.map(lambda leaf: leaf.copy(), started)
  state, found = step(state, batch)
  for a, b in zip(
    bilinear.arrays((state, found)),
    bilinear.arrays((expected, metrics)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, atol=1e-6)
  step(state, batch)


def test_donation_frees_the_old_state(bilinear, started):
  update = updates.make_update(bilinear.learner().phases[1])
  compiling.compile_update(update, donate=True)(started, bilinear.data())
  assert started.params['reward']['basis'].is_deleted()


def test_padding_repeats_the_last_row_without_weight(bilinear):
  batch = bilinear.data().take(np.arange(5))
  padded = compiling.pad(batch, 4)
  np.testing.assert_array_equal(padded.rows.mask, [1, 1, 1, 1, 1, 0, 0, 0])
  index = batch.inputs.index
  np.testing.assert_array_equal(padded.inputs.index[5:], [index[4]] * 3)
  assert padded.inputs.value is batch.inputs.value
  assert compiling.pad(batch, 5) is batch
  beside = types.Batch(batch.rows, types.Inputs(np.ones((5, 2, 3))))
  assert compiling.pad(beside, 4).inputs.value.shape == (8, 2, 3)
  with pytest.raises(ValueError, match='no rows'):
    compiling.pad(batch.take(np.arange(0)), 4)


def test_unknown_spelling_is_named(bilinear):
  update = updates.make_update(bilinear.learner().phases[1])
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  with pytest.raises(ValueError, match="how='vmap'"):
    compiling.compile_update(update, mesh, 'vmap')
