"""A context with more answers than the encoder has room for."""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.users import in_context


def test_the_oldest_answers_are_dropped_and_it_is_said():
  user = in_context.in_context(dim=2, width=4, capacity=5)
  params = user.init(jax.random.key(0), types.Spec(2, 1))
  rng = np.random.default_rng(0)
  pairs = jnp.asarray(rng.normal(size=(8, 2, 2)), jnp.float32)
  answers = types.Pair(pairs, jnp.ones(8), jnp.ones(8))
  state, info = user.update(
    jax.random.key(1), params, user.prior(params), answers
  )
  assert int(info['dropped']) == 3
  last = jax.tree.map(lambda leaf: leaf[3:], answers)
  kept, none = user.update(jax.random.key(1), params, user.prior(params), last)
  assert int(none['dropped']) == 0
  # A set has no order: which slot holds an answer does not matter.
  one, other = (
    jnp.sort(user.context(params, s).tokens, 1) for s in (state, kept)
  )
  np.testing.assert_allclose(one, other, atol=1e-5)
