import functools
import re

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from prm_jax import registry, types
from prm_jax.models import decoder_config
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import train, trees


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


# Two layers, and all kernels, biases and norms that there are.
CONFIG = decoder_config.DecoderConfig(
  *(64, 32, 64, 2, 4, 4, 8),
  tie_word_embeddings=False,
  attention_bias=True,
  output_bias=True,
  mlp_bias=True,
  query_key_norm=True,
  post_norms=True,
)


def split(data, fsdp, model):
  """A mesh that no device is needed for."""
  return AbstractMesh(
    (data, fsdp, model), meshes.AXES, axis_types=(AxisType.Auto,) * 3
  )


@functools.cache
def state_of(config=CONFIG, people=16, **trunk):
  """The shapes of a state on a decoder, before its first step."""
  trunk = {'config': config, 'trains': 'whole', **trunk}
  learner = registry.build(
    'learner', {'kind': 'pref', 'dim': 3, 'backbone': trunk}
  )
  spec = types.Spec(config.hidden_size, people)
  state = jax.eval_shape(lambda: learner.init(jax.random.key(0), spec))
  return train.started(learner, state, 1)


def specs(tree, mesh):
  found = trees.flat(meshes.shardings(tree, mesh))
  return {path: where.spec for path, where in found.items()}


def test_moments_lie_where_their_parameters_lie():
  found = specs(state_of(), split(2, 2, 2))
  layer = 'reward/backbone/params/layers/layer'
  expected = {
    f'{layer}/query/kernel': (None, 'fsdp', 'model'),
    f'{layer}/down/kernel': (None, 'model', 'fsdp'),
    f'{layer}/up/bias': (None, 'model'),
    f'{layer}/output/bias': (),
    f'{layer}/mlp_norm/scale': (),
    'reward/backbone/params/embed/embedding': ('model', 'fsdp'),
    'reward/backbone/params/head/kernel': ('fsdp', 'model'),
    'reward/basis': (),
  }
  for path, spec in expected.items():
    those = [s for name, s in found.items() if name.endswith(path)]
    assert len(those) == 3, path  # the parameter and two moments
    assert set(those) == {PartitionSpec(*spec)}, path
  people = {s for p, s in found.items() if p.startswith('people/')}
  blank = {s for p, s in found.items() if p.startswith('people/blank')}
  assert people - blank == {meshes.ROWS}
  assert blank == {PartitionSpec()}


def test_adapters_are_split_over_both_axes():
  found = specs(state_of(trains='adapter', rank=2), split(1, 2, 2))
  both = ('fsdp', 'model')
  assert found['params/reward/adapter/query/a'] == PartitionSpec(None, both)
  b = found['params/reward/adapter/value/b']
  assert b == PartitionSpec(None, None, both)


def test_people_of_a_step_of_several_batches_are_split():
  tree = {
    'gradient': (np.zeros((8, 2)), {'coefficients': np.zeros((8, 3))}),
    'seen': np.zeros(8),
  }
  found = specs(tree, split(2, 2, 1))
  assert found['gradient/1/coefficients'] == meshes.ROWS
  assert found['seen'] == meshes.ROWS
  assert found['gradient/0'] == PartitionSpec()


def test_every_default_rule_is_of_something():
  known = {
    *trees.paths(state_of()),
    *trees.paths(state_of(trains='adapter')),
    *('gradient/1/x', 'seen'),
    'params/reward/columns/matrix',  # of `adapting.started`
  }
  for pattern, _ in meshes.RULES:
    assert any(re.search(pattern, path) for path in known), pattern


def test_an_axis_that_is_not_divided_is_named():
  with pytest.raises(ValueError, match=r'axis 1 of 32 .* by the 3 .* of fsdp'):
    specs(state_of(), split(1, 3, 1))
  odd = {'params': {'embed': {'embedding': np.zeros((64, 32))}}}
  with pytest.raises(ValueError, match=r'embed/embedding.*axis 0 of 64'):
    specs(odd, split(1, 1, 3))
  # Rows are split where they can be: programs are given them padded.
  assert specs({'people': {'free': np.zeros(7)}}, split(1, 2, 1)) == {
    'people/free': PartitionSpec()
  }


def test_a_large_leaf_without_a_rule_is_an_error_where_parameters_are_split():
  tree = {'params': {'basis': np.zeros((1000, 300), np.float32)}}
  with pytest.raises(ValueError, match=r'params/basis .* 1,200,000 bytes'):
    specs(tree, split(4, 2, 1))
  assert set(specs(tree, split(4, 1, 1)).values()) == {PartitionSpec()}


def test_a_rule_of_ones_own_that_matches_nothing_is_an_error():
  tree, mesh = {'w': np.zeros(2)}, split(2, 1, 1)
  rules = (('^w$', PartitionSpec('data')), ('', PartitionSpec()))
  assert meshes.shardings(tree, mesh, rules)['w'].spec == PartitionSpec('data')
  with pytest.raises(ValueError, match=r"rule \('kernel'.* fits no leaf"):
    meshes.shardings(tree, mesh, (('kernel', PartitionSpec()), *rules))
