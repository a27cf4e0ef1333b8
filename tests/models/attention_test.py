import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.experimental import topologies
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from prm_jax.models import attention, decoder
from prm_jax.runtime import mesh as meshes

PLAIN = decoder.DecoderConfig(16, 16, 32, 2, 4, 2, 8)


def sequences(rng, rows, length):
  """Packed rows: blocks of a stem and branches, then padding."""
  block, branch = np.zeros((2, rows, length), np.int32)
  for row in range(rows):
    at, number = 0, 0
    while at < length - 8:
      number += 1
      sizes = rng.integers(1, 1 + length // 4, rng.integers(1, 4))
      for part, size in enumerate(sizes):
        block[row, at : at + size] = number
        branch[row, at : at + size] = part
        at += size
  return block, branch


def test_places_count_what_the_mask_shows():
  block, branch = sequences(np.random.default_rng(0), 4, 60)
  for seen in (
    attention.Seen(block, branch, packed=True),
    attention.Seen(block, packed=True),
    attention.Seen((block > 1).astype(np.int32)),
  ):
    expected = np.asarray(seen.mask()).sum(-1)[:, 0] - 1
    real = np.asarray(seen.block) > 0
    np.testing.assert_array_equal(
      np.asarray(seen.places())[real], expected[real]
    )


def drawn(length, heads=4, shared=2, width=8, rows=2, dtype=jnp.float32):
  """Queries, keys and values."""
  keys = jax.random.split(jax.random.key(0), 3)
  return [
    jax.random.normal(key, (rows, length, count, width)).astype(dtype)
    for key, count in zip(keys, (heads, shared, shared), strict=True)
  ]


@pytest.mark.parametrize(
  ('cap', 'window'), [(0.0, attention.EVERY), (2.0, np.int32(50))]
)
def test_blocks_are_the_masked_products(cap, window):
  length = 300  # no multiple of a block
  block, branch = sequences(np.random.default_rng(1), 2, length)
  seen = attention.Seen(block, branch, packed=True)
  at = seen.places()
  sight = attention.Sight(seen, at, window, attention.BLOCKS)
  mask = seen.mask() & (at[:, :, None] - at[:, None] < window)[:, None]
  real = jnp.asarray(block > 0)[..., None, None]

  def total(which, arrays):
    found = attention.attend(*arrays, which, scale=0.4, cap=cap)
    return jnp.sum(jnp.where(real, jnp.sin(3 * found), 0))

  arrays = drawn(length)
  value, grads = jax.value_and_grad(functools.partial(total, sight))(arrays)
  other, expected = jax.value_and_grad(functools.partial(total, mask))(arrays)
  np.testing.assert_allclose(value, other, rtol=1e-5)
  for one, two in zip(grads, expected, strict=True):
    np.testing.assert_allclose(one, two, atol=1e-5 * np.abs(two).max())


def test_the_kernel_of_a_tpu_is_the_masked_products():
  length = 200
  block, _ = sequences(np.random.default_rng(2), 2, length)
  seen = attention.Seen(block, packed=True)
  arrays = drawn(length, width=64)
  sight = attention.Sight(
    seen, seen.places(), attention.EVERY, attention.SPLASH
  )
  found = attention._splash(*arrays, sight, 0.1, 0.0, interpret=True)
  expected = attention.attend(*arrays, seen.mask(), scale=0.1)
  np.testing.assert_allclose(
    np.asarray(found)[block > 0], np.asarray(expected)[block > 0], atol=2e-5
  )


def read(config, dtype, *, length=256, rows=2, branch=False, packed=False):
  """A program of a decoder's gradient, and shapes of what it takes."""
  network = decoder.Decoder(config, dtype)

  def loss(params, ids, block):
    seen = decoder.attended(block, block if branch else None, packed=packed)
    hidden = network.apply(params, ids, seen.places(), seen).hidden
    return jnp.sum(hidden.astype(jnp.float32) ** 2)

  ids = jnp.ones((rows, length), jnp.int32)
  shapes = jax.eval_shape(
    network.init, jax.random.key(0), ids, ids, decoder.attended(ids)
  )
  return jax.jit(jax.grad(loss)), (shapes, ids, ids)


@pytest.fixture
def cuda(monkeypatch):
  """Has JAX lower cuDNN's attention where there is no GPU."""
  kernel = pytest.importorskip('jax._src.cudnn.fused_attention_stablehlo')
  monkeypatch.setattr(kernel, 'check_cudnn_version', lambda: 91000)
  monkeypatch.setattr(kernel, 'check_compute_capability', lambda least: True)
  monkeypatch.setattr(
    kernel, 'is_cuda_compute_capability_equal', lambda given: False
  )


def lowered(platform, program, arguments):
  """The text of a program for a platform."""
  unchecked = [
    export.DisabledSafetyCheck.custom_call(f'__cudnn$fmhaSoftmax{which}')
    for which in ('', 'Backward')
  ]
  with attention.lowering_for(platform):
    made = export.export(
      program, platforms=[platform], disabled_checks=unchecked
    )(*arguments)
  return made.mlir_module()


WIDE = decoder.DecoderConfig(16, 64, 32, 2, 2, 1, 64)


@pytest.mark.parametrize(
  ('platform', 'packed', 'kernel'),
  [
    ('tpu', False, 'tpu_custom_call'),
    ('tpu', True, 'tpu_custom_call'),
    ('cuda', False, '__cudnn$fmhaSoftmaxBackward'),
    ('cuda', True, None),
    ('cpu', False, None),
  ],
)
def test_platforms_have_their_kernels_and_no_mask(
  cuda, platform, packed, kernel
):
  text = lowered(platform, *read(WIDE, jnp.bfloat16, packed=packed))
  called = re.findall(r'custom_call @(\S+?)\(', text)
  assert kernel in called if kernel else not called
  # Neither a mask nor probabilities of all pairs of tokens.
  assert '256x256x' not in text


@pytest.mark.parametrize(
  ('changes', 'given'),
  [
    ({}, {'dtype': jnp.float32}),  # half precision alone
    ({}, {'branch': True}),
    ({'sliding_window': 64}, {}),
    ({}, {'length': 64}),  # too short to be worth it
  ],
)
def test_where_a_kernel_cannot_say_it_xla_attends(changes, given):
  config = dataclasses.replace(WIDE, **changes)
  program, arguments = read(config, **{'dtype': jnp.bfloat16, **given})
  assert 'tpu_custom_call' not in lowered('tpu', program, arguments)


def test_one_function_is_traced_anew_for_another_platform():
  program, arguments = read(WIDE, jnp.bfloat16)
  assert 'tpu_custom_call' not in program.trace(*arguments).lower().as_text()
  with attention.lowering_for('tpu'):
    jaxpr = str(program.trace(*arguments).jaxpr)
  assert 'pallas_call' in jaxpr
  assert 'pallas_call' not in str(program.trace(*arguments).jaxpr)


def test_on_a_mesh_every_device_attends_for_its_rows_and_heads():
  mesh = AbstractMesh((2, 2, 2), meshes.AXES, axis_types=(AxisType.Auto,) * 3)
  config = decoder.DecoderConfig(16, 64, 32, 1, 4, 2, 64)
  program, arguments = read(config, jnp.bfloat16, rows=8)
  with jax.sharding.use_abstract_mesh(mesh), attention.lowering_for('tpu'):
    text = str(program.trace(*arguments).jaxpr)
    program, arguments = read(config, jnp.bfloat16, rows=6)
    odd = str(program.trace(*arguments).jaxpr)
  assert 'pallas_call' in text
  assert re.search(r'bf16\[2,2,256,64\]', text)  # of 8 rows and 4 heads
  assert 'pallas_call' not in odd


def test_cudnn_reads_rows_whose_padding_is_moved_behind(monkeypatch):
  ids = np.random.default_rng(3).integers(1, 16, (3, 160)).astype(np.int32)
  block = np.ones_like(ids)
  block[0, :9], block[1, 40:60], block[2, 150:] = 0, 0, 0
  seen = decoder.attended(block)
  network = decoder.Decoder(PLAIN)
  params = network.init(jax.random.key(0), ids, ids, seen)
  expected = network.apply(params, ids, seen.places(), seen, collect=True)

  def lengths(query, key, value, sight, scale):
    """What cuDNN is asked for, by XLA."""
    count = jnp.sum(sight.seen.block != 0, -1)
    return jax.nn.dot_product_attention(
      *(query, key, value),
      scale=scale,
      is_causal=True,
      query_seq_lengths=count,
      key_value_seq_lengths=count,
    )

  monkeypatch.setattr(attention, 'chosen', lambda *_, **__: attention.CUDNN)
  monkeypatch.setattr(attention, '_cudnn', lengths)
  found = network.apply(params, ids, seen.places(), seen, collect=True)
  real = block > 0
  for one, two in (
    (found.hidden, expected.hidden),
    (found.layers[1], expected.layers[1]),
    (found.layers[2], expected.layers[2]),
  ):
    np.testing.assert_allclose(
      np.asarray(one)[real], np.asarray(two)[real], atol=1e-5
    )


def test_mixed_layers_read_long_rows_in_blocks():
  config = dataclasses.replace(
    PLAIN,
    sliding_window=40,
    sliding_layers=(True, False),
    attention_softcap=5.0,
  )
  ids = np.random.default_rng(4).integers(0, 16, (1, 200)).astype(np.int32)
  seen = decoder.attended(np.ones_like(ids))
  network = decoder.Decoder(config)
  params = network.init(jax.random.key(0), ids, ids, seen)
  found = network.apply(params, ids, seen.places(), seen).hidden
  masked = network.apply(params, ids, seen.places(), seen.mask()).hidden
  np.testing.assert_allclose(found, masked, atol=1e-5)


@pytest.mark.slow
def test_tpus_own_compiler_takes_the_kernel_on_a_mesh(monkeypatch):
  pytest.importorskip('libtpu')
  monkeypatch.setenv('TPU_SKIP_MDS_QUERY', '1')
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', 'localhost')
  devices = topologies.get_topology_desc(
    platform='tpu', topology_name='v5e:2x4'
  ).devices
  mesh = meshes.make_mesh(fsdp=2, model=2, devices=devices)
  config = decoder.DecoderConfig(64, 512, 1536, 2, 8, 4, 64)
  program, (params, ids, block) = read(
    config, jnp.bfloat16, rows=16, length=1024, packed=True
  )

  def on(where, tree):
    return jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, where)
      ),
      tree,
    )

  given = on(PartitionSpec(), params), *on(meshes.ROWS, (ids, block))
  with jax.set_mesh(mesh), attention.lowering_for('tpu'):
    text = program.lower(*given).compile().as_text()
  assert 'tpu_custom_call' in text
  assert '1024,1024]' not in text  # neither a mask nor probabilities
