"""Layers below the top that trains, read once; see tests/contract, too."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import decoder, lora
from prm_jax.rewards import backbone, scalar

CONFIG = decoder.DecoderConfig(31, 48, 96, 2, 4, 2, 12)
TEXTS, T, KEEP = 5, 8, 10**6
SPEC = types.Spec(CONFIG.hidden_size, 1)


@functools.cache
def texts(side='right'):
  rng = np.random.default_rng(0)
  mask = np.arange(T) < rng.integers(2, T + 1, (TEXTS, 1))
  mask = mask[:, ::-1] if side == 'left' else mask
  ids = rng.integers(1, CONFIG.vocab_size, (TEXTS, T))
  return types.Tokens(ids.astype(np.int32), mask.astype(np.int32))


def reward(trains, **node):
  return backbone.under(
    scalar.linear(), backbone.Backbone(CONFIG, trains, rank=2, **node)
  )


def moved(params):
  """Parameters with an adapter that changes something."""
  return jax.tree.map(lambda leaf: leaf + 0.1, params)


@functools.cache
def params(trains):
  """Parameters with a top of one layer, and those of the whole decoder."""
  found = reward(trains, top=1).init(jax.random.key(0), SPEC)
  if trains == 'whole':
    lower, upper = found['backbone']['params'], found['top']['params']
    join = functools.partial(jax.tree.map, lambda a, b: jnp.concatenate([a, b]))
    layers = join(lower['layers'], upper['layers'])
    both = {**lower, 'layers': layers, 'norm': upper['norm']}
    whole = {**backbone.own(found), 'backbone': {'params': both}}
    again = backbone.split(whole['backbone'], 1)
    jax.tree.map(
      np.testing.assert_array_equal, again, {k: found[k] for k in again}
    )
    return found, whole
  found = {**found, 'adapter': moved(found['adapter'])}
  none = lora.init(jax.random.key(1), found['backbone'], rank=2)
  full = jax.tree.map(
    lambda none, top: jnp.concatenate([0 * none[:1], top]),
    none,
    found['adapter'],
  )
  return found, {**found, 'adapter': full}


@functools.cache
def step(trains, node, kind):
  """A compiled step's gradient of what trains: of all, tokens or states."""
  model = reward(trains, **dict(node))
  known = params(trains)[kind == 'all']
  part = {'adapter': 'adapter', 'whole': 'backbone' if kind == 'all' else 'top'}

  def loss(leaf, value):
    given = {**known, part[trains]: leaf}
    return jnp.sin(model.features(given, types.Inputs(value))).sum()

  value = texts()
  if kind == 'states':
    value = jax.jit(model.below)(known, types.Inputs(value))
  run = jax.jit(jax.value_and_grad(loss)).lower(known[part[trains]], value)
  return run.compile(), known[part[trains]], value


@pytest.mark.slow
@pytest.mark.parametrize(
  'trains', ['adapter', pytest.param('whole', marks=pytest.mark.slow)]
)
def test_steps_on_kept_states_are_those_on_texts_and_cost_less(trains):
  top = (('top', 1), ('keep', KEEP))
  found, flops = [], []
  for node, kind in (((), 'all'), (top, 'tokens'), (top, 'states')):
    run, leaf, value = step(trains, node, kind)
    found.append(run(leaf, value))
    flops.append(run.cost_analysis()['flops'])
  (all_, whole), (loss, gradient), (again, kept) = found
  np.testing.assert_allclose([loss, again], all_, rtol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, gradient, kept)
  # Of the whole decoder's gradient, that of the highest layer.
  if trains == 'adapter':
    above = jax.tree.map(lambda leaf: leaf[1:], whole)
  else:
    above = backbone.split(whole, 1)['top']
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    gradient,
    above,
  )
  # One layer's forward pass is spared: its products, and a little around. (A
  # loop's body is counted once: here it is one layer below, and one above.)
  D, inner, heads, shared = 48, 96, 4 * 12, 2 * 12
  token = 2 * D * (2 * heads + 2 * shared + 3 * inner) + 4 * T * heads
  assert 1 < (flops[1] - flops[2]) / (TEXTS * T * token) < 1.2


def test_a_top_of_sliding_layers_is_that_of_the_whole():
  """Layers that slide stay with their own, above and below the cut."""
  config = dataclasses.replace(
    CONFIG,
    num_hidden_layers=3,
    sliding_window=3,
    sliding_layers=(False, True, False),
    scale_embeddings=True,
  )
  trunk = backbone.Backbone(config, 'whole', top=2)
  split = backbone.under(scalar.linear(), trunk)
  whole = backbone.under(scalar.linear(), trunk._replace(top=None))
  known = whole.init(jax.random.key(0), SPEC)
  parts = {**backbone.own(known), **backbone.split(known['backbone'], 2)}
  given = types.Inputs(texts())
  found = jax.jit(split.features)(parts, given)
  wanted = jax.jit(whole.features)(known, given)
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_kept_states_know_padding_and_packing():
  model, known = reward('adapter', top=1, keep=KEEP), params('adapter')[0]
  left, row = texts('left'), np.zeros((1, TEXTS * T), np.int32)
  packed = types.Tokens(
    left.ids.reshape(1, -1),
    left.mask.reshape(1, -1),
    row + np.repeat(np.arange(TEXTS), T),
    end=np.arange(1, TEXTS + 1)[None] * T - 1,
  )
  kept = jax.jit(model.below)(known, types.Inputs(packed))
  assert kept.ids.shape == (*packed.ids.shape, CONFIG.hidden_size)
  read = jax.jit(model.features)
  want = read(known, types.Inputs(left))
  found = read(known, types.Inputs(kept))
  np.testing.assert_allclose(found, want, atol=1e-5)


def test_kept_states_may_be_half_as_long_and_say_what_they_take():
  node = backbone.Backbone(
    *(CONFIG, 'adapter', 2), top=1, keep=TEXTS * T * 48 * 2, kept='bfloat16'
  )
  model, known = backbone.under(scalar.linear(), node), params('adapter')[0]
  kept = model.below(known, types.Inputs(texts()))
  assert kept.ids.dtype == jnp.bfloat16
  assert node.bytes_of(texts()) == kept.ids.nbytes == TEXTS * T * 48 * 2
  want = model.features(known, types.Inputs(texts()))
  found = model.features(known, types.Inputs(kept))
  assert 1e-4 < np.abs(found - want).max() < 0.1
  less = reward('adapter', top=1, keep=TEXTS * T * 48 * 4 - 1)
  with pytest.raises(ValueError, match=r'take 7680 bytes of \(5, 8\).*7679'):
    less.below(known, types.Inputs(texts()))
  assert reward('adapter', top=1).below is None


@pytest.mark.parametrize(
  ('trains', 'node', 'message'),
  [
    ('frozen', {'top': 1}, 'frozen'),
    ('adapter', {'top': 2}, 'top 2: some of 2'),
    ('adapter', {'top': 0}, 'top 0: some of 2'),
    ('whole', {'keep': 9}, 'no top'),
  ],
)
def test_tops_that_are_none_are_refused(trains, node, message):
  with pytest.raises(ValueError, match=message):
    reward(trains, **node)


@pytest.mark.parametrize('count', [13, 24, 25])
def test_blocks_take_texts_of_every_device(monkeypatch, count):
  """Of four devices; every text is read once, and stays where it was."""
  ids = np.arange(count * 3).reshape(count, 3)
  texts = types.Tokens(ids, np.ones_like(ids))
  sizes = []

  def read(block):
    sizes.append(len(block.mask))
    return jnp.asarray(block.ids).sum(-1, keepdims=True)

  monkeypatch.setattr(backbone, '_TEXTS', 3)
  monkeypatch.setattr(backbone.sharding, 'row_devices', lambda: 4)
  found = backbone._blocks(read, texts)
  np.testing.assert_array_equal(found[:, 0], ids.sum(1))
  assert max(sizes) <= 12  # three of each device at once
