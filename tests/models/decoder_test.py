import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.models import decoder
from prm_jax.ops import rotary

IDS = np.random.default_rng(7).integers(1, 270, 11)


def numpy_decoder(config, params, ids, shift=None):
  """An independent forward pass of one sequence, in float64.

  Returns the embeddings and every layer's output `[L + 1, T, D]`, the
  normalised hidden states `[T, D]` and the logits `[T, V]`.
  """
  weights = jax.tree.map(lambda leaf: np.asarray(leaf, float), params)['params']
  queries, keys = config.num_attention_heads, config.num_key_value_heads
  T, half = len(ids), config.head_dim // 2

  def norm(x, w):
    scale = w['scale'] + config.norm_offset
    return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)

  def turn(x, slides):  # T, heads, head_dim
    theta, scaling = config.rope_theta, config.rope_scaling
    if slides and config.local_rope_theta:
      theta, scaling = config.local_rope_theta, rotary.Scaling()
    # Tested by hand in tests/ops/rotary_test.py.
    frequency = rotary.frequencies(theta, config.head_dim, scaling)
    phase = np.exp(1j * np.arange(T)[:, None] * np.asarray(frequency, float))
    z = (x[..., :half] + 1j * x[..., half:]) * phase[:, None]
    return scaling.attention * np.concatenate([z.real, z.imag], -1)

  def capped(x, cap):
    return cap * np.tanh(x / cap) if cap else x

  def activate(x):
    if config.activation == 'silu':
      return x * special.expit(x)
    return x * (1 + np.tanh((x + 0.044715 * x**3) * np.sqrt(2 / np.pi))) / 2

  eps = config.rms_norm_eps
  x = weights['embed']['embedding'][ids]
  x = x * np.sqrt(config.hidden_size) if config.scale_embeddings else x
  layers = [x]
  for index in range(config.num_hidden_layers):
    w = jax.tree.map(lambda leaf: leaf[index], weights['layers']['layer'])  # noqa: B023

    def dense(x, name):
      return x @ w[name]['kernel'] + w[name].get('bias', 0)  # noqa: B023

    slides = bool(config.sliding_window)
    if config.sliding_layers:
      slides = config.sliding_layers[index]
    h = norm(x, w['attention_norm'])
    q = dense(h, 'query').reshape(T, queries, -1)
    k = dense(h, 'key').reshape(T, keys, -1)
    v = dense(h, 'value').reshape(T, keys, -1)
    if config.query_key_norm:
      q = norm(q, w['query_norm'])
      k = norm(k, w['key_norm'])
    q, k = turn(q, slides), turn(k, slides)
    mixed = np.zeros((T, queries, config.head_dim))
    for head in range(queries):
      shared = head * keys // queries
      for t in range(T):
        seen = slice(max(t + 1 - config.sliding_window, 0) * slides, t + 1)
        scale = np.sqrt(config.query_scale or config.head_dim)
        scores = k[seen, shared] @ q[t, head] / scale
        scores = capped(scores, config.attention_softcap)
        mixed[t, head] = special.softmax(scores) @ v[seen, shared]
    h = dense(mixed.reshape(T, -1), 'output')
    x = x + (norm(h, w['attention_post_norm']) if config.post_norms else h)
    h = norm(x, w['mlp_norm'])
    h = dense(activate(dense(h, 'gate')) * dense(h, 'up'), 'down')
    x = x + (norm(h, w['mlp_post_norm']) if config.post_norms else h)
    x = x if shift is None else x + shift[index]
    layers.append(x)
  hidden = norm(x, weights['norm'])
  head = (
    weights['head']['kernel']
    if 'head' in weights
    else (weights['embed']['embedding'].T)
  )
  return np.stack(layers), hidden, capped(hidden @ head, config.logit_softcap)


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


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen3', 'gemma2', 'gemma3'])
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


@pytest.mark.parametrize('kind', ['llama', 'gemma2'])
def test_packed_sequences_are_apart(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
  parts = [IDS[:4], IDS[4:9], IDS[9:]]
  ids = np.concatenate([*parts, [0]])
  block = np.repeat([1, 2, 3, 0], [4, 5, 2, 1])[None]
  positions = np.concatenate([np.arange(n) for n in (4, 5, 2, 1)])[None]
  mask = decoder.attended(block)
  found = run(config, params, ids, positions, mask).hidden[0]
  alone = [numpy_decoder(config, params, part)[1] for part in parts]
  np.testing.assert_allclose(found[:11], np.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize('kind', ['qwen3', 'gemma2'])
def test_branches_share_their_stem(tiny_decoder, kind):
  config, params = tiny_decoder(kind)
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
  ).mask()
  assert found.shape == (1, 1, 5, 5)
  want = ['10000', '11000', '10100', '00010', '00001']
  assert [''.join(map(str, row)) for row in found[0, 0].astype(int)] == want


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen3', 'gemma2', 'gemma3'])
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


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen3', 'gemma2', 'gemma3'])
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


@pytest.mark.parametrize('layers', [(0, 1), (1, None)])
def test_layers_that_are_cut_out_keep_their_windows(tiny_decoder, layers):
  config, params = tiny_decoder('gemma3')
  whole, _, _ = numpy_decoder(config, params, IDS)
  first = layers[0]
  part = config.cut(*layers)
  assert (part.sliding_window, part.sliding_layers) == ((5, 0)[first], ())
  mask = decoder.attended(np.ones((1, 11), int))
  found, *_ = decoder.Stack(part, 1).apply(
    decoder.take_layers(params, *layers),
    jnp.asarray(whole[first][None], jnp.float32),
    np.arange(11)[None],
    mask,
  )
  np.testing.assert_allclose(found[0], whole[first + 1], atol=2e-5, rtol=1e-5)


def test_embedded_is_what_the_first_layer_reads(tiny_decoder):
  config, params = tiny_decoder('gemma3')
  ids = np.array([[3, -1, 7]])
  found = decoder.embedded(config, params, ids)
  want, _, _ = numpy_decoder(config, params, [3, 7])
  np.testing.assert_allclose(found[0, ::2], want[0], rtol=1e-6)
  assert not found[0, 1].any()


def test_configuration_is_hashable(tiny_decoder):
  for kind in ('llama', 'gemma3'):
    config, _ = tiny_decoder(kind)
    assert hash(config) == hash(dataclasses.replace(config))


def test_plain_data_is_a_configuration_too(tiny_decoder):
  """As a configuration file or JSON says it: lists, and objects."""
  config, _ = tiny_decoder('gemma3')
  known = {
    **dataclasses.asdict(config),
    'sliding_layers': list(config.sliding_layers),
    'rope_scaling': {'kind': 'linear', 'factor': 8.0},
  }
  assert decoder.DecoderConfig(**known) == config


def test_options_that_are_off_leave_a_description_as_it_was(tiny_decoder):
  """Adapters on disk are of a base model that is known by it."""
  config, _ = tiny_decoder()
  assert set(config.described()) == {
    *('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers'),
    *('num_attention_heads', 'num_key_value_heads', 'head_dim', 'rope_theta'),
    *('rms_norm_eps', 'tie_word_embeddings', 'attention_bias'),
    *('query_key_norm', 'max_position_embeddings'),
  }
  config, _ = tiny_decoder('gemma3')
  assert config.described()['sliding_layers'] == (True, False)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'sliding_layers': (True, False)}, 'some slide, and sliding_window is 0'),
    (
      {'sliding_window': 3, 'sliding_layers': (True, False, True)},
      'sliding_layers are 3, and there are 2 layers',
    ),
    ({'activation': 'relu'}, "activation 'relu': one of"),
  ],
)
def test_options_that_do_not_fit_are_refused(tiny_decoder, change, message):
  with pytest.raises(ValueError, match=message):
    tiny_decoder('llama', **change)
