import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import composed, decoder

FIELDS = np.array([[0, -1], [1, -1], [2, -1], [0, 3], [1, 3]])
CONFIG = decoder.DecoderConfig(len(FIELDS), 8, 8, 1, 2, 1, 4)


def test_a_token_is_the_sum_of_its_atoms():
  atoms = composed.sizes(CONFIG, FIELDS)
  assert atoms == dataclasses.replace(CONFIG, vocab_size=4)
  ids = jnp.array([[3, 1, 4]])
  mask = decoder.attended(jnp.ones_like(ids))
  places = jnp.arange(3)[None]
  own, whole = decoder.Decoder(atoms), decoder.Decoder(CONFIG)

  def read(params):
    found = whole.apply(composed.composed(params, FIELDS), ids, places, mask)
    return (found.hidden**3).sum(), found.hidden

  @jax.jit
  def everything():
    params = own.init(jax.random.key(0), ids % 2, places, mask)
    table = params['params']['embed']['embedding']
    summed = [table[0] + table[3], table[1], table[1] + table[3]]
    expected = own.apply(
      params, jnp.stack(summed)[None], places, mask, method='read'
    )
    return jax.grad(read, has_aux=True)(params), expected

  (slope, found), expected = everything()
  np.testing.assert_allclose(found, expected, atol=1e-6)
  # Every atom that is read learns from all its tokens; the third is not read.
  moved = np.abs(slope['params']['embed']['embedding']).max(1) > 0
  np.testing.assert_array_equal(moved, [True, True, False, True])


def test_without_fields_nothing_changes():
  assert composed.sizes(CONFIG, None) is CONFIG
  params = {'params': {}}
  assert composed.composed(params, None) is params
  with pytest.raises(ValueError, match='4 tokens are made of others'):
    composed.sizes(CONFIG, FIELDS[:4])
