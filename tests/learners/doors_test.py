"""What a sampler writes: about people (`settle`), before scores (`deliberate`).

Both are host functions for many at once; here they write numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import toys, types
from prm_jax.rewards import factorized
from prm_jax.systems import inference
from prm_jax.users import gaussian

WORLD = toys.judgements()
D, U = toys.FEATURES, toys.PEOPLE
KEY = jax.random.key(0)


def writer(calls):
  """A Gaussian belief that is read only after it was written about."""
  plain = gaussian.gaussian(dim=D)

  def prior(params):
    return plain.prior(params), jnp.zeros(()), jnp.zeros(())

  def update(key, params, state, evidence):
    belief, info = plain.update(key, params, state[0], evidence)
    return (belief, *state[1:]), info

  def settle(key, params, states):
    del key, params
    belief, written, edited = states
    calls.append(len(written))
    # What somebody edited is left alone.
    return belief, np.where(edited > 0, written, 1.0), edited

  def context(params, state):
    known = plain.context(params, state[0])
    return known._replace(mean=known.mean * state[1])

  return types.UserModel(plain.init, prior, update, context, None, settle)


def test_a_belief_that_is_written_about_is_settled_for_many_at_once():
  calls = []
  system = types.System(factorized.identity(), writer(calls))
  plain = types.System(factorized.identity(), gaussian.gaussian(dim=D))
  params = {'reward': {}, 'user': plain.user.init(KEY, WORLD.spec)}

  def infer(system, data):
    return inference.infer(system, params, data, key=KEY, people=U).mean

  # The belief keeps 50 answers: give no more.
  few = WORLD.data.take(np.arange(100))
  np.testing.assert_allclose(infer(system, few), infer(plain, few), atol=1e-4)
  assert sum(calls) == U  # nobody who is padding was written about
  assert len(calls) < U
  # Nobody answers: nothing is written.
  nobody = few.masked(np.zeros(100))
  calls.clear()
  np.testing.assert_array_equal(infer(system, nobody), 0.0)
  assert not calls


def test_a_reward_deliberates_before_it_scores():
  plain = factorized.identity()
  seen = []

  def deliberate(key, params, inputs, context):
    del key, params
    value = np.asarray(inputs.value)[inputs.index]
    seen.append((value.shape, context.mean.shape))
    return types.Inputs(2.0 * jnp.asarray(value))

  reward = plain._replace(deliberate=deliberate)
  user = gaussian.gaussian(dim=D)
  params = {'reward': {}, 'user': user.init(KEY, WORLD.spec)}
  data = WORLD.data
  contexts = gaussian.Context(
    np.random.default_rng(0).normal(size=(U, D)).astype(np.float32),
    np.zeros((U, D, D), np.float32),
  )
  found = inference.predict(
    types.System(reward, user), params, contexts, data, key=KEY
  )
  twice = data.over(2.0 * data.inputs.value)
  want = inference.predict(types.System(plain, user), params, contexts, twice)
  np.testing.assert_allclose(found, want, atol=1e-5)
  n = len(data.rows.user)
  assert seen == [((n, 2, D), (n, D))]
  with pytest.raises(ValueError, match='takes a key'):
    inference.predict(types.System(reward, user), params, contexts, data)
