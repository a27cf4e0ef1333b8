import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax.users import bank as banks

_FREE = {'coefficients': np.ones(3, np.float32)}
_BELIEFS = {
  'mean': np.full(3, 0.5, np.float32),
  'answers': np.zeros((4, 3), np.float32),
  'label': np.full(4, -1.0, np.float32),
}


def _bank(ids, optimizer=None):
  bank = banks.with_ids(banks.empty(len(ids), _FREE, _BELIEFS), ids)
  if optimizer is None:
    return bank
  return bank._replace(moments={'joint': jax.vmap(optimizer.init)(bank.free)})


def test_digest_is_the_start_of_sha256():
  digest = banks.user_digest(['ann', 'bob'])
  assert digest.dtype == np.uint32
  assert digest.shape == (2, 2)
  expected = hashlib.sha256(b'ann').hexdigest()[:16]
  assert f'{digest[0, 0]:08x}{digest[0, 1]:08x}' == expected


def test_an_empty_bank_gives_everybody_the_blank():
  bank = _bank(['a', 'b'], optax.adam(0.1))
  np.testing.assert_array_equal(bank.free['coefficients'], np.ones((2, 3)))
  assert bank.beliefs['answers'].shape == (2, 4, 3)
  np.testing.assert_array_equal(bank.moments['joint'][0].mu['coefficients'], 0)


def test_rows_of_finds_people_in_any_order():
  ids = [f'user {i}' for i in range(50)]
  bank = _bank(ids)
  asked = ['user 7', 'user 49', 'user 0', 'user 7']
  np.testing.assert_array_equal(banks.rows_of(bank, asked), [7, 49, 0, 7])


def test_unknown_people_are_named():
  bank = _bank(['a', 'b'])
  with pytest.raises(KeyError, match="'x', 'y', 'z' and 1 more"):
    banks.rows_of(bank, ['a', 'x', 'y', 'z', 'w'])
  with pytest.raises(KeyError, match="'x'"):
    banks.forget(bank, ['x'])
  with pytest.raises(KeyError, match="'x'"):
    banks.rows_of(_bank([]), ['x'])


def test_id_given_twice_is_named():
  with pytest.raises(ValueError, match="'b' occurs 2 times"):
    _bank(['a', 'b', 'c', 'b'])


def _live(bank, optimizer, people):
  """The bank after these people, and only they, left traces in it."""
  trace = jnp.zeros((bank.ids.shape[0], 1)).at[jnp.array(people)].set(1.0)
  for _ in range(2):
    gradient = {'coefficients': trace * jnp.array([0.3, -1.0, 2.0])}
    change, moments = jax.vmap(optimizer.update)(
      gradient, bank.moments['joint'], bank.free
    )
    new = optax.apply_updates(bank.free, change), {'joint': moments}
    free, moments = jax.tree.map(
      lambda new, old: jnp.where(
        trace.reshape(-1, *(1,) * (old.ndim - 1)) > 0, new, old
      ),
      new,
      (bank.free, bank.moments),
    )
    weight = bank.weight + trace[:, 0]
    bank = bank._replace(free=free, moments=moments, weight=weight)
  beliefs = {
    'mean': bank.beliefs['mean'] + trace,
    'answers': bank.beliefs['answers'] + trace[:, :, None],
    'label': jnp.where(trace > 0, 1.0, bank.beliefs['label']),
  }
  return bank._replace(beliefs=beliefs)


def test_after_forget_nothing_of_the_person_remains():
  ids, optimizer = [f'user {i}' for i in range(5)], optax.adam(0.1)
  everybody = _live(_bank(ids, optimizer), optimizer, [0, 1, 2, 3, 4])
  forgotten = banks.forget(everybody, ['user 3', 'user 1'])
  # The same history, had those two never answered.
  without = _live(_bank(ids, optimizer), optimizer, [0, 2, 4])
  without = without._replace(
    ids=jnp.asarray(without.ids).at[jnp.array([1, 3])].set(0)
  )
  for a, b in zip(
    jax.tree.leaves(forgotten), jax.tree.leaves(without), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  with pytest.raises(KeyError, match='user 3'):
    banks.rows_of(forgotten, ['user 3'])
  np.testing.assert_array_equal(banks.rows_of(forgotten, ['user 4']), [4])
