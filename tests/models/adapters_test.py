import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import adapters, decoder

CONFIG = decoder.DecoderConfig(12, 8, 16, 2, 2, 1, 4)
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def base():
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(CONFIG).init)
  return init(KEY, ids, ids, decoder.attended(ids + 1))


@pytest.fixture(scope='module')
def bank(base):
  return adapters.init(KEY, CONFIG, base, people=3, rank=2)


def test_everybody_starts_alike_and_changes_nothing(bank):
  assert set(bank.people) == {'value', 'output', 'up', 'down'}
  for name, (a, b) in bank.people.items():
    assert a.shape[0] == b.shape[0] == 3
    np.testing.assert_array_equal(a[0], a[2])
    np.testing.assert_array_equal(a[1], bank.start[name].a)
    assert not np.asarray(b).any()
  # Two layers: value 8 -> 4, output 8 -> 8, up 8 -> 16, down 16 -> 8.
  assert adapters.bytes_per_person(bank) == 4 * 2 * 2 * (12 + 16 + 24 + 24)


def test_adapters_of_another_base_are_refused_by_name(bank, base):
  adapters.check(bank, CONFIG, base)
  other = jax.tree.map(np.array, base)
  other['params']['norm']['scale'][3] += 1e-6
  with pytest.raises(adapters.OtherBaseError) as error:
    adapters.check(bank, CONFIG, other)
  for params in (base, other):
    words = adapters.fingerprint(CONFIG, params)
    assert f'{words[0]:08x}{words[1]:08x}' in str(error.value)
  turned = dataclasses.replace(CONFIG, rope_theta=7.0)
  with pytest.raises(adapters.OtherBaseError):
    adapters.check(bank, turned, base)
  half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), base)
  with pytest.raises(adapters.OtherBaseError):
    adapters.check(bank, CONFIG, half)


def test_who_is_forgotten_is_at_the_start(bank):
  moved = bank._replace(people=jax.tree.map(lambda x: x + 1, bank.people))
  found = adapters.forget(moved, np.array([1]))
  for name, adapter in found.people.items():
    for leaf, start, old in zip(
      adapter, bank.start[name], moved.people[name], strict=True
    ):
      np.testing.assert_array_equal(leaf[1], start)
      np.testing.assert_array_equal(leaf[::2], old[::2])
  own = adapters.of(found, np.array([1]))
  np.testing.assert_array_equal(own['up'].a[0], bank.start['up'].a)
