import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import decoder, lora

CONFIG = decoder.DecoderConfig(40, 16, 24, 2, 4, 2, 4)
IDS = jnp.array([[3, 9, 4, 1]])
KEY = jax.random.key(3)


@functools.cache
def params():
  return jax.jit(decoder.Decoder(CONFIG).init)(
    jax.random.key(0), IDS, IDS, decoder.attended(IDS)
  )


@jax.jit
def forward(weights):
  return (
    decoder.Decoder(CONFIG)
    .apply(
      weights, IDS, jnp.arange(4)[None], decoder.attended(jnp.ones_like(IDS))
    )
    .hidden
  )


def adapters(**settings):
  return lora.init(KEY, params(), **{'rank': 3, **settings})


def moved(seed=1):
  """Adapters whose b is not zero."""
  rng = np.random.default_rng(seed)
  return {
    name: lora.Adapter(a, jnp.asarray(rng.normal(size=b.shape), jnp.float32))
    for name, (a, b) in adapters().items()
  }


def test_fresh_adapters_change_nothing():
  merged = lora.merge(params(), adapters())
  jax.tree.map(np.testing.assert_array_equal, params(), merged)
  assert adapters()['query'].a.shape == (2, 16, 3)
  # Two layers of 16 -> 16 and 16 -> 8.
  assert lora.count(adapters()) == 2 * 3 * (16 + 16 + 16 + 8)


def test_an_adapters_start_does_not_depend_on_the_others():
  more = adapters(targets=('value', 'up', 'query'))
  np.testing.assert_array_equal(more['query'].a, adapters()['query'].a)
  assert (more['query'].a != more['value'].a).any()


def test_only_b_has_a_gradient_at_the_start():
  def loss(adapters):
    return (forward(lora.merge(params(), adapters)) ** 3).sum()

  gradient = jax.grad(loss)(adapters())
  for name in ('query', 'value'):
    assert not np.asarray(gradient[name].a).any()
    assert np.abs(gradient[name].b).max() > 1e-4
  later = jax.grad(loss)(moved())
  assert np.abs(later['query'].a).max() > 1e-4


def test_merged_weights_are_the_low_rank_forward_pass():
  """x (W + s a b) = x W + s (x a) b, in every layer."""
  found = lora.merge(params(), moved(), scale=0.5)
  x = np.random.default_rng(0).normal(size=(5, 16))
  for name, (a, b) in moved().items():
    for layer in range(2):
      kernel = params()['params']['layers']['layer'][name]['kernel'][layer]
      merged = found['params']['layers']['layer'][name]['kernel'][layer]
      low = 0.5 * (x @ np.asarray(a[layer])) @ np.asarray(b[layer])
      np.testing.assert_allclose(
        x @ np.asarray(merged), x @ np.asarray(kernel) + low, atol=1e-4
      )
  assert np.abs(forward(found) - forward(params())).max() > 0.01
  changed = jax.tree.map(lambda x, y: bool((x != y).any()), params(), found)
  layer = changed['params']['layers']['layer']
  assert sum(jax.tree.leaves(changed)) == 2
  assert layer['query']['kernel']
  assert layer['value']['kernel']


def test_a_stack_has_adapters_too():
  """The layers cut out of a decoder."""
  stack = decoder.take_layers(params(), 1, 2)
  own = lora.init(KEY, stack, rank=2, targets=('down',))
  assert own['down'].b.shape == (1, 2, 16)
  jax.tree.map(np.testing.assert_array_equal, stack, lora.merge(stack, own))


def test_people_are_mapped_over():
  people = jax.tree.map(lambda *x: jnp.stack(x), moved(1), moved(2), moved(3))
  run = jax.vmap(lambda own: forward(lora.merge(params(), own)))
  for person, seed in enumerate((1, 2, 3)):
    expected = forward(lora.merge(params(), moved(seed)))
    np.testing.assert_allclose(run(people)[person], expected, atol=1e-4)


def moved_everywhere(seed):
  """Adapters of all kernels, b not zero."""
  fresh = adapters(targets=tuple(lora.kernels(params())))
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: (0.1 * rng.normal(size=x.shape)).astype(np.float32), fresh
  )


def beside(weights, own):
  """The forward pass in which nothing is merged."""
  place, seen = jnp.arange(4)[None], decoder.attended(jnp.ones_like(IDS))
  network = decoder.Decoder(CONFIG)
  return network.apply(weights, IDS, place, seen, adapters=own).hidden


def test_adapters_beside_kernels_are_merged_ones():
  """Of every kernel, and their gradients, each person with their own."""
  people = [moved_everywhere(seed) for seed in (1, 2, 3)]
  together = jax.tree.map(lambda *x: jnp.stack(x), *people)

  def loss(run):
    return jax.value_and_grad(lambda own: (run(own) ** 3).sum())

  mapped = jax.jit(jax.vmap(loss(lambda own: beside(params(), own))))
  merged = jax.jit(loss(lambda own: forward(lora.merge(params(), own))))
  value, gradient = mapped(together)
  for person, own in enumerate(people):
    expected, slope = merged(own)
    np.testing.assert_allclose(value[person], expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x[person], y, atol=2e-4),  # noqa: B023
      gradient,
      slope,
    )
  assert np.ptp(value) > 0.1
  assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradient))


def test_kernels_are_never_copied_for_a_person():
  people = jax.tree.map(lambda x: jnp.stack([x] * 5), moved_everywhere(1))
  gradient = jax.grad(
    lambda own: jax.vmap(beside, (None, 0))(params(), own).sum()
  )
  program = str(jax.make_jaxpr(gradient)(people))
  kernels = {leaf.shape[1:] for leaf in lora.kernels(params()).values()}
  assert kernels == {(16, 16), (16, 8), (16, 24), (24, 16)}
  for kernel in kernels:
    shape = ','.join(str(size) for size in kernel)
    assert f'[5,2,{shape}]' not in program
    assert f'[5,{shape}]' not in program
  copied = jax.vmap(lambda own: lora.merge(params(), own))
  assert '[5,2,16,24]' in str(jax.make_jaxpr(copied)(people))


def test_adapters_of_no_kernel_are_refused():
  with pytest.raises(ValueError, match=r"adapters of \['wq'\]: .*'down'"):
    beside(params(), {'wq': adapters()['query']})


def test_unknown_kernels_are_named():
  with pytest.raises(ValueError, match=r"'wq'.*'down', 'gate', 'key'"):
    adapters(targets=('wq',))
  with pytest.raises(ValueError, match=r"'wq'.*'down', 'gate', 'key'"):
    lora.merge(params(), {'wq': adapters()['query']})
  with pytest.raises(ValueError, match=r'\(2, 16, 8\)'):
    lora.merge(params(), {'value': adapters()['query']})
  with pytest.raises(ValueError, match='rank 0'):
    adapters(rank=0)
