import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from prm_jax.models import decoder, sharding
from prm_jax.runtime import mesh as meshes


def lowered(function, *arguments, sizes=(2, 2, 2)):
  """The text of a program for a mesh that no device is needed for."""
  mesh = AbstractMesh(sizes, meshes.AXES, axis_types=(AxisType.Auto,) * 3)
  with jax.sharding.use_abstract_mesh(mesh):
    return str(jax.make_jaxpr(function)(*arguments))


def test_the_axes_of_rows_are_those_of_the_runtime():
  assert PartitionSpec(sharding.ROWS) == meshes.ROWS


def test_without_a_mesh_values_are_as_they_are():
  values = jnp.ones((4, 2))
  assert sharding.constrain(values, sharding.ROWS) is values
  assert sharding.row_devices() == 1


def test_a_constraint_names_what_splits_each_axis():
  def constrained(values):
    return sharding.constrain(values, sharding.ROWS, None, 'model')

  found = lowered(constrained, np.ones((8, 3, 2)))
  assert "PartitionSpec(('data', 'fsdp'), None, 'model')" in found.replace(
    'P(', 'PartitionSpec('
  )
  # Four devices do not divide six rows, two do not divide three columns.
  for shape in ((6, 3, 2), (8, 3, 3)):
    assert 'sharding_constraint' not in lowered(constrained, np.ones(shape))


def test_rows_of_a_table_are_split_twice():
  found = lowered(sharding.read_rows, np.ones((8, 3, 2)))
  assert found.count('sharding_constraint') > 1
  assert 'sharding_constraint' not in lowered(
    sharding.read_rows, np.ones((8, 2))
  )


def test_inside_a_mapped_axis_values_are_as_they_are():
  mesh = meshes.make_mesh(devices=jax.devices()[:1])

  def body(values):
    return sharding.constrain(values, sharding.ROWS)

  mapped = jax.shard_map(
    body, mesh=mesh, in_specs=meshes.ROWS, out_specs=meshes.ROWS
  )
  with jax.set_mesh(mesh):
    text = str(jax.make_jaxpr(mapped)(np.ones((4, 2))))
    plain = str(jax.make_jaxpr(body)(np.ones((4, 2))))
  assert 'sharding_constraint' not in text
  assert 'sharding_constraint' in plain


def test_heads_that_the_mesh_does_not_divide_are_named():
  config = decoder.DecoderConfig(16, 16, 32, 1, 4, 2, 4)
  network = decoder.Decoder(config)
  ids = jnp.zeros((8, 2), jnp.int32)
  seen = decoder.attended(ids + 1)
  params = jax.eval_shape(network.init, jax.random.key(0), ids, ids, seen)

  def read(params):
    return network.apply(params, ids, ids, seen).hidden

  assert 'sharding_constraint' in lowered(read, params)
  with pytest.raises(ValueError, match=r'2 key and value heads .* by the 4'):
    lowered(read, params, sizes=(1, 1, 4))
