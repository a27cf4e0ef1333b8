"""Networks over sets: what must not matter does not, and what must, does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import sets

J, N, Z = 3, 5, 4


def answers(seed=0):
  rng = np.random.default_rng(seed)
  pairs = rng.normal(size=(N, 2, J)).astype(np.float32)
  return pairs, rng.random(N).astype(np.float32), np.ones(N, np.float32)


def of(network, *arguments):
  """The network with parameters that are nowhere zero."""
  params = network.init(jax.random.key(0), *arguments)
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  leaves = [
    leaf + 0.3 * jax.random.normal(key, leaf.shape)
    for leaf, key in zip(leaves, keys, strict=True)
  ]
  return lambda *a: network.apply(tree.unflatten(leaves), *a)


ENCODERS = {
  'latent': lambda: sets.LatentEncoder(Z, 8),
  'in_context': lambda: sets.ContextEncoder(8, 2, points=False),
  'points': lambda: sets.ContextEncoder(8, 2, points=True),
}


def summary(name, found):
  """What does not depend on the order: moments, or sorted tokens."""
  if name == 'latent':
    return found[:2]
  tokens, mask = found
  kept = tokens[:, np.asarray(mask) > 0]
  return jnp.sort(kept, axis=1)


def assert_same(one, other):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, other
  )


@pytest.mark.slow
@pytest.mark.parametrize('name', ENCODERS)
def test_order_padding_and_exchange_change_nothing(name):
  pairs, label, mask = answers()
  encode = of(ENCODERS[name](), pairs, label, mask)
  plain = summary(name, encode(pairs, label, mask))
  order = np.array([3, 1, 4, 0, 2])
  assert_same(summary(name, encode(pairs[order], label[order], mask)), plain)
  padded = (
    np.concatenate([pairs, np.full_like(pairs, np.nan)]),
    np.concatenate([label, np.full_like(label, np.nan)]),
    np.concatenate([mask, np.zeros_like(mask)]),
  )
  assert_same(summary(name, encode(*padded)), plain)
  exchanged = encode(pairs[:, ::-1], 1 - label, mask)
  assert_same(summary(name, exchanged), plain)


@pytest.mark.parametrize('name', ENCODERS)
def test_answers_matter(name):
  pairs, label, mask = answers()
  encode = of(ENCODERS[name](), pairs, label, mask)
  plain = jax.tree.leaves(summary(name, encode(pairs, label, mask)))[0]
  other = jax.tree.leaves(summary(name, encode(pairs, 1 - label, mask)))[0]
  assert np.abs(plain - other).max() > 0.01


def test_how_many_answers_there_are_is_seen():
  pairs, label, mask = answers()
  encode = of(sets.LatentEncoder(Z, 8), pairs, label, mask)
  twice = encode(np.tile(pairs, (2, 1, 1)), np.tile(label, 2), np.tile(mask, 2))
  once = encode(pairs, label, mask)
  assert np.abs(twice[1] - once[1]).max() > 1e-3


def flow():
  rng = np.random.default_rng(2)
  z, odd, even = rng.normal(size=(3, Z)).astype(np.float32)
  return of(sets.PreferentialFlow(), z, odd, even), z, odd, even


def test_flow_density_is_the_jacobians():
  step, z, odd, even = flow()
  _, log_slope = step(z, odd, even)
  jacobian = jax.jacfwd(lambda x: step(x, odd, even)[0])(z)
  np.testing.assert_allclose(
    log_slope, np.linalg.slogdet(np.asarray(jacobian))[1], rtol=1e-4
  )


def test_flow_of_reversed_answers_is_reversed():
  step, z, odd, even = flow()
  forward, slope = step(z, odd, even)
  backward, again = step(-z, -odd, even)
  np.testing.assert_allclose(backward, -forward, atol=1e-6)
  np.testing.assert_allclose(again, slope, atol=1e-6)


def test_attention_to_nothing_is_zero():
  rng = np.random.default_rng(3)
  queries = rng.normal(size=(2, 8)).astype(np.float32)
  tokens = rng.normal(size=(3, 8)).astype(np.float32)
  attend = of(sets.Attention(2), queries, tokens, np.ones(3))
  np.testing.assert_array_equal(attend(queries, tokens, np.zeros(3)), 0.0)


def test_attention_is_the_plain_sum():
  rng = np.random.default_rng(4)
  queries = rng.normal(size=(2, 4)).astype(np.float32)
  tokens = rng.normal(size=(3, 4)).astype(np.float32)
  network = sets.Attention(1)
  params = network.init(jax.random.key(0), queries, tokens, np.ones(3))
  kernels = [
    np.asarray(params['params'][f'Dense_{i}']['kernel']) for i in range(4)
  ]
  q, k, v = queries @ kernels[0], tokens @ kernels[1], tokens @ kernels[2]
  logits = q @ k.T / 2.0
  logits[:, 1] = -np.inf
  weight = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  found = network.apply(params, queries, tokens, np.array([1.0, 0.0, 1.0]))
  np.testing.assert_allclose(found, weight @ v @ kernels[3], atol=1e-5)


@pytest.mark.slow
def test_a_text_reads_the_answers_about_what_is_alike_alone():
  pairs, label, mask = answers()
  text = pairs[2].mean(0) + 0.01
  read = of(sets.RecallingReader(8, 2, 2, 1), text, pairs, label, mask)
  plain = read(text, pairs, label, mask)
  unit = pairs.mean(1) / np.linalg.norm(pairs.mean(1), axis=1, keepdims=True)
  order = np.argsort(-unit @ text)
  assert order[0] == 2
  for place, answer in enumerate(order.tolist()):
    other = label.copy()
    other[answer] = 1 - other[answer]
    moved = np.abs(read(text, pairs, other, mask) - plain).max()
    assert (moved > 1e-4) == (place < 2)
  # Where all are recalled it is the reader of all.
  whole = of(sets.RecallingReader(8, 2, N, 1), text, pairs, label, mask)
  more = of(sets.RecallingReader(8, 2, 2 * N, 1), text, pairs, label, mask)
  given = text, pairs, label, mask
  np.testing.assert_array_equal(whole(*given), more(*given))
  assert np.abs(whole(*given) - plain).max() > 1e-4
  padded = (
    np.concatenate([pairs, np.full((1, 2, J), np.nan, np.float32)]),
    np.append(label, np.float32(np.nan)),
    np.append(mask, np.float32(0)),
  )
  np.testing.assert_allclose(read(text, *padded), plain, atol=1e-5)
