"""A decoder that is read at some tokens, and one that computes all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import decoder, ends

OPTIONS = {
  'grouped': {},
  'one': {'num_hidden_layers': 1},
  'many': {'num_hidden_layers': 9},
  'window': {'sliding_window': 3},
  'mixed': {
    **{'sliding_window': 3, 'sliding_layers': (True, False, True)},
    'local_rope_theta': 50.0,
  },
  'whole_last': {
    **{'sliding_window': 3, 'sliding_layers': (True, True, False)},
    'local_rope_theta': 50.0,
  },
  'gemma': {
    **{'attention_softcap': 2.0, 'post_norms': True, 'norm_offset': True},
    **{'scale_embeddings': True, 'query_key_norm': True},
  },
}


def made(dtype=jnp.float32, remat=False, **options):
  sizes = {'vocab_size': 20, 'hidden_size': 16, 'intermediate_size': 24}
  sizes |= {'num_hidden_layers': 3, 'num_attention_heads': 4}
  sizes |= {'num_key_value_heads': 2, 'head_dim': 4, 'rope_theta': 100.0}
  network = decoder.Decoder(
    decoder.DecoderConfig(**{**sizes, **options}), dtype, remat
  )
  ids = np.random.default_rng(0).integers(0, 20, (3, 11)).astype(np.int32)
  # Two texts and padding; a text; a stem with two branches, and padding.
  block = np.array(
    [[1] * 4 + [2] * 5 + [0] * 2, [1] * 11, [1] * 8 + [0] * 3], np.int32
  )
  branch = np.zeros((3, 11), np.int32)
  branch[2, 4:8] = [1, 1, 2, 2]
  seen = decoder.attended(block, branch, packed=True)
  at = np.array([[3, 8], [10, 0], [5, 7]], np.int32)
  params = network.init(jax.random.key(1), ids, ids, seen)
  params = jax.tree.map(
    lambda leaf: leaf * 2 if leaf.ndim > 1 else leaf, params
  )
  return network, params, ids, seen, at


def both(network, params, ids, seen, at):
  """Returns what is read at some tokens, and computed of all."""
  places = seen.places()
  inputs = network.apply(params, ids, method='inputs')
  found = ends.read(network, params, inputs, places, seen, at)
  hidden = network.apply(params, ids, places, seen).hidden
  return found, jnp.take_along_axis(hidden, at[..., None], 1)


@pytest.fixture(autouse=True)
def of_any_length(monkeypatch):
  monkeypatch.setattr(ends, '_SHORT', 0)


QUICK = 'mixed', 'gemma'
EVERY = [
  name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
  for name in OPTIONS
]


@pytest.mark.parametrize('name', EVERY)
def test_what_is_read_at_the_ends_is_what_all_tokens_have(name):
  found, want = both(*made(**OPTIONS[name]))
  assert found.shape == (3, 2, 16)
  np.testing.assert_allclose(found, want, atol=2e-5 * np.abs(want).max())


@pytest.mark.slow
@pytest.mark.parametrize('remat', [False, True])
@pytest.mark.parametrize('name', ['grouped', 'mixed', 'one'])
def test_so_is_its_gradient(name, remat):
  network, params, *rest = made(remat=remat, **OPTIONS[name])
  weight = np.random.default_rng(1).normal(size=(3, 2, 16))

  def loss(params, which):
    return jnp.sum(both(network, params, *rest)[which] * weight)

  found, want = (jax.grad(loss)(params, which) for which in (0, 1))
  for own, of in zip(
    jax.tree.leaves(found), jax.tree.leaves(want), strict=True
  ):
    np.testing.assert_allclose(own, of, atol=2e-5 * max(np.abs(of).max(), 1e-3))


def test_of_few_layers_the_last_computes_those_tokens_alone():
  network, params, ids, seen, at = made()
  inputs = network.apply(params, ids, method='inputs')

  def flops(at):
    run = jax.jit(ends.read, static_argnums=0)
    lowered = run.lower(network, params, inputs, seen.places(), seen, at)
    return lowered.compile().cost_analysis()['flops']

  assert flops(at[:, :1]) < flops(np.tile(np.arange(11), (3, 1))) * 0.9
