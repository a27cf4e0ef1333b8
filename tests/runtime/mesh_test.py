import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from prm_jax.runtime import mesh as meshes


def test_mesh_has_three_auto_axes():
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  assert mesh.axis_names == ('data', 'fsdp', 'model')
  assert mesh.axis_types == (AxisType.Auto,) * 3
  assert mesh.size == 1


def test_axes_must_multiply_to_the_devices():
  with pytest.raises(ValueError, match='data=3, fsdp=1, model=1 needs 3'):
    meshes.make_mesh(data=3, devices=jax.devices()[:1])


def test_first_rule_that_fits_wins():
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  people = {'blank': np.zeros(4), 'free': np.zeros((4, 2))}
  tree = {'people': people, 'w': 1.0}
  tree['w'] = np.float32(1)
  specs = jax.tree.map(lambda s: s.spec, meshes.shardings(tree, mesh))
  assert specs['people'] == {
    'blank': PartitionSpec(),
    'free': PartitionSpec(('data', 'fsdp')),
  }
  assert specs['w'] == PartitionSpec()


def test_leaf_without_a_rule_is_named():
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  with pytest.raises(ValueError, match="'params/w'"):
    meshes.shardings({'params': {'w': np.zeros(2)}}, mesh, rules=())


def test_a_mesh_in_words():
  mesh = meshes.parse('data:1')
  assert dict(mesh.shape) == {'data': 1, 'fsdp': 1, 'model': 1}
  for text in ('data', 'rows:2', 'data:0', 'data:x', 'data:1,'):
    with pytest.raises(ValueError, match='write AXIS:DEVICES'):
      meshes.parse(text)
  with pytest.raises(ValueError, match='needs 512 devices'):
    meshes.parse('data:128,fsdp:4')
