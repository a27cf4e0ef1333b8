import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.models import decoder

IDS = np.random.default_rng(7).integers(1, 270, 11)


def numpy_decoder(config, params, ids, shift=None):
  """An independent forward pass of one sequence, in float64.

  Returns the embeddings and every layer's output `[L + 1, T, D]`, the
  normalised hidden states `[T, D]` and the logits `[T, V]`.
  """
  weights = jax.tree.map(lambda leaf: np.asarray(leaf, float), params)['params']
  queries, keys = config.num_attention_heads, config.num_key_value_heads
  T, half = len(ids), config.head_dim // 2

  def norm(x, scale):
    return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)

  def turn(x):  # T, heads, head_dim
    frequency = config.rope_theta ** (-2 * np.arange(half) / config.head_dim)
    phase = np.exp(1j * np.arange(T)[:, None] * frequency)
    z = (x[..., :half] + 1j * x[..., half:]) * phase[:, None]
    return np.concatenate([z.real, z.imag], -1)

  eps = config.rms_norm_eps
  x = weights['embed']['embedding'][ids]
  layers = [x]
  for index in range(config.num_hidden_layers):
    w = jax.tree.map(lambda leaf: leaf[index], weights['layers']['layer'])  # noqa: B023

    def dense(x, name):
      return x @ w[name]['kernel'] + w[name].get('bias', 0)  # noqa: B023

    h = norm(x, w['attention_norm']['scale'])
    q = dense(h, 'query').reshape(T, queries, -1)
    k = dense(h, 'key').reshape(T, keys, -1)
    v = dense(h, 'value').reshape(T, keys, -1)
    if config.query_key_norm:
      q = norm(q, w['query_norm']['scale'])
      k = norm(k, w['key_norm']['scale'])
    q, k = turn(q), turn(k)
    mixed = np.zeros((T, queries, config.head_dim))
    for head in range(queries):
      shared = head * keys // queries
      for t in range(T):
        scores = k[: t + 1, shared] @ q[t, head] / np.sqrt(config.head_dim)
        mixed[t, head] = special.softmax(scores) @ v[: t + 1, shared]
    x = x + dense(mixed.reshape(T, -1), 'output')
    h = norm(x, w['mlp_norm']['scale'])
    gate = dense(h, 'gate')
    x = x + dense(gate * special.expit(gate) * dense(h, 'up'), 'down')
    x = x if shift is None else x + shift[index]
    layers.append(x)
  hidden = norm(x, weights['norm']['scale'])
  head = (
    weights['head']['kernel']
    if 'head' in weights
    else (weights['embed']['embedding'].T)
  )
  return np.stack(layers), hidden, hidden @ head


def run(config, params, ids, positions=None, mask=None, cache=None, **options):
  """Returns a decoder's output, compiled once for its configuration."""
  ids = np.atleast_2d(ids)
  if positions is None:
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
  if mask is None:
    mask = decoder.attended(jnp.ones_like(ids))
  dtype = options.pop('dtype', jnp.float32)
  collect = options.pop('collect', False)
  apply = compiled(config, dtype, collect)
  return apply(params, ids, positions, mask, cache=cache, **options)


@functools.lru_cache
def compiled(config, dtype, collect):
  model = decoder.Decoder(config, dtype)
  return jax.jit(functools.partial(model.apply, collect=collect))


def logits(config, params, hidden):
  model = decoder.Decoder(config)
  return model.apply(params, hidden, method=decoder.Decoder.logits)


def test_agrees_with_independent_forward_pass(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
  layers, hidden, scores = numpy_decoder(config, params, IDS)
  found = run(config, params, IDS, collect=True)
  np.testing.assert_allclose(found.layers[:, 0], layers, atol=1e-5, rtol=1e-5)
  np.testing.assert_allclose(found.hidden[0], hidden, atol=1e-5, rtol=1e-5)
  mine = logits(config, params, found.hidden)[0]
  np.testing.assert_allclose(mine, scores, atol=1e-4, rtol=1e-5)


def test_parameters_is_the_size_of_the_tree(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
  assert config.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen3'])
def test_padding_on_either_side_changes_nothing(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
  _, want, _ = numpy_decoder(config, params, IDS)
  block = np.zeros((2, 16), np.int32)
  ids, positions = block.copy(), block.copy()
  for row, start in enumerate((0, 5)):
    place = slice(start, start + 11)
    block[row, place], ids[row, place] = 1, IDS
    positions[row, place] = np.arange(11)
  output = run(config, params, ids, positions, decoder.attended(block))
  assert output.layers is None
  found = output.hidden
  np.testing.assert_allclose(found[0, :11], want, atol=1e-5)
  np.testing.assert_allclose(found[1, 5:], want, atol=1e-5)
  assert np.isfinite(found).all()


def test_packed_sequences_are_apart(tiny_decoder):
  config, params = tiny_decoder()
  parts = [IDS[:4], IDS[4:9], IDS[9:]]
  ids = np.concatenate([*parts, [0]])
  block = np.repeat([1, 2, 3, 0], [4, 5, 2, 1])[None]
  positions = np.concatenate([np.arange(n) for n in (4, 5, 2, 1)])[None]
  mask = decoder.attended(block)
  found = run(config, params, ids, positions, mask).hidden[0]
  alone = [numpy_decoder(config, params, part)[1] for part in parts]
  np.testing.assert_allclose(found[:11], np.concatenate(alone), atol=1e-5)


def test_branches_share_their_stem(tiny_decoder):
  config, params = tiny_decoder('qwen3')
  stem, *branches = IDS[:4], IDS[4:7], IDS[7:]
  branch = np.repeat([0, 1, 2], [4, 3, 4])[None]
  positions = np.r_[0:4, 4:7, 4:8][None]
  mask = decoder.attended(np.ones_like(branch), branch)
  found = run(config, params, IDS, positions, mask).hidden[0]
  for name, part in enumerate(branches, 1):
    _, alone, _ = numpy_decoder(config, params, np.concatenate([stem, part]))
    np.testing.assert_allclose(found[:4], alone[:4], atol=1e-5)
    mine = found[branch[0] == name]
    np.testing.assert_allclose(mine, alone[4:], atol=1e-5)


def test_attended_by_hand():
  found = decoder.attended(
    np.array([[1, 1, 1, 2, 0]]), np.array([[0, 1, 2, 0, 0]])
  )
  assert found.shape == (1, 1, 5, 5)
  want = ['10000', '11000', '10100', '00010', '00001']
  assert [''.join(map(str, row)) for row in found[0, 0].astype(int)] == want


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen3'])
def test_cached_decoding_equals_the_whole(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
  ids = np.stack([IDS, IDS[::-1]])
  want = [numpy_decoder(config, params, row)[1] for row in ids]
  cache = decoder.empty_cache(config, 2, slots=13)
  found = []
  for start, stop in ((0, 9), (9, 10), (10, 11)):
    positions = np.broadcast_to(np.arange(start, stop), (2, stop - start))
    mask = np.arange(13) <= positions[:, None, :, None]
    output = run(
      config, params, ids[:, start:stop], positions, mask, cache=cache
    )
    cache = output.cache
    found.append(output.hidden)
  assert cache.slot == 11
  np.testing.assert_allclose(np.concatenate(found, 1), want, atol=1e-5)


def test_recomputing_gives_the_same_gradients(tiny_decoder):
  config, params = tiny_decoder('qwen2')
  mask = decoder.attended(np.ones((1, 11), int))

  def gradient(remat):
    model = decoder.Decoder(config, remat=remat)

    def loss(params):
      found = model.apply(params, IDS[None], np.arange(11)[None], mask)
      return jnp.sum(jnp.sin(found.hidden))

    return jax.jit(jax.grad(loss))(params)

  kept, again = gradient(False), gradient(True)
  for old, new in zip(*map(jax.tree.leaves, (kept, again)), strict=True):
    np.testing.assert_allclose(new, old, atol=1e-5, rtol=1e-5)
    assert np.abs(old).max() > 0


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen3'])
def test_bfloat16_stays_close_and_logits_are_float32(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
  _, want, _ = numpy_decoder(config, params, IDS)
  found = run(config, params, IDS, dtype=jnp.bfloat16).hidden
  assert found.dtype == jnp.bfloat16
  wide = np.asarray(found, np.float32)
  error = np.linalg.norm(wide - want) / np.linalg.norm(want)
  assert 0 < error < 0.05
  assert logits(config, params, found).dtype == jnp.float32


def test_shift_is_added_after_every_layer(tiny_decoder):
  config, params = tiny_decoder()
  ids = np.stack([IDS, IDS])
  rng = np.random.default_rng(1)
  shift = rng.normal(size=(2, 2, 32)).astype(np.float32)
  found = run(config, params, ids, shift=shift, collect=True).layers
  for row in range(2):
    want, *_ = numpy_decoder(config, params, IDS, shift[:, row])
    np.testing.assert_allclose(found[:, row], want, atol=1e-5, rtol=1e-5)
  shared = run(config, params, ids, shift=shift[:, :1], collect=True).layers
  np.testing.assert_allclose(shared[:, 0], found[:, 0], atol=1e-5)
  np.testing.assert_allclose(shared[:, 1], found[:, 0], atol=1e-5)


@pytest.mark.parametrize(('first', 'last'), [(0, 1), (1, None)])
def test_taken_layers_equal_those_collected(tiny_decoder, first, last):
  config, params = tiny_decoder('qwen2')
  layers = run(config, params, IDS, collect=True).layers
  stop = 2 if last is None else last
  part = decoder.Stack(config, stop - first)
  mask = decoder.attended(np.ones((1, 11), int))
  hidden, cache, collected = part.apply(
    decoder.take_layers(params, first, last),
    layers[first],
    np.arange(11)[None],
    mask,
    collect=True,
  )
  assert cache is None
  np.testing.assert_allclose(hidden, layers[stop], atol=1e-5)
  np.testing.assert_allclose(collected, layers[first + 1 : stop + 1], atol=1e-5)


KNOWN = {
  'model_type': 'llama',
  'vocab_size': 270,
  'hidden_size': 32,
  'intermediate_size': 64,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
}


def test_absent_fields_are_read_as_hugging_face_reads_them():
  found = decoder.DecoderConfig.of({**KNOWN, 'head_dim': None}, 'here')
  assert found == decoder.DecoderConfig(
    vocab_size=270,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=8,
    tie_word_embeddings=False,
    rms_norm_eps=1e-6,
  )
  nested = {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}}
  found = decoder.DecoderConfig.of({**KNOWN, **nested}, 'here')
  assert found.rope_theta == 5e5
  qwen = decoder.DecoderConfig.of({**KNOWN, 'model_type': 'qwen2'}, 'here')
  assert qwen.attention_bias
  qwen = decoder.DecoderConfig.of({**KNOWN, 'model_type': 'qwen3'}, 'here')
  assert qwen.query_key_norm
  assert not qwen.attention_bias


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'model_type': 'gemma'}, r"here: model_type is 'gemma'"),
    ({'hidden_act': 'gelu'}, "hidden_act is 'gelu', and only 'silu'"),
    ({'rope_scaling': {'type': 'linear'}}, 'rope_scaling is'),
    ({'rope_parameters': {'rope_type': 'yarn'}}, "rope_type is 'yarn'"),
    ({'use_sliding_window': True}, 'use_sliding_window is True'),
    ({'mlp_bias': True}, 'mlp_bias is True'),
    ({'vocab_size': None}, 'here: vocab_size is missing'),
    ({'hidden_size': '32'}, "hidden_size is '32'"),
    ({'num_attention_heads': 0}, 'num_attention_heads is 0'),
    ({'num_hidden_layers': True}, 'num_hidden_layers is True'),
    ({'tie_word_embeddings': 1}, 'tie_word_embeddings is 1'),
    ({'num_key_value_heads': 3}, '4 query heads are no multiple of 3'),
  ],
)
def test_configurations_that_do_not_fit_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    decoder.DecoderConfig.of({**KNOWN, **change}, 'here')


def test_configuration_is_hashable(tiny_decoder):
  config, _ = tiny_decoder()
  assert hash(config) == hash(dataclasses.replace(config))
