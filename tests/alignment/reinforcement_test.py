import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.alignment import reinforcement
from prm_jax.ops import decoding
from prm_jax.worlds import first_order

V, T = 3, 4


def sample(key, logits, shape):
  return first_order.sample(key, logits, length=T, shape=shape)


POLICY = reinforcement.Policy(sample, first_order.log_probability)


@pytest.fixture(scope='module')
def world():
  return first_order.draw(
    jax.random.key(0), policies=2, words=V, length=T, deviation=1.0
  )


def exact(world, logits):
  return first_order.log_probability(logits, world.texts)


@pytest.fixture(scope='module')
def tune(world):
  """Fine-tunes to rewards `[N, Y]`, as one program."""

  def one(table, kl_weight):
    return reinforcement.fine_tune(
      jax.random.key(1),
      POLICY,
      world.base,
      lambda texts: table[first_order.index(texts, V)],
      steps=300,
      kl_weight=kl_weight,
    )

  return jax.jit(jax.vmap(one))


@pytest.fixture(scope='module')
def tuned(world, tune):
  """Logits and histories for a target, a first word and nothing."""
  start, target = exact(world, world.base), exact(world, world.logits[0])
  first = jnp.asarray([0.0, 1.0, -2.0])[world.texts[:, 0]]
  tables = jnp.stack([target - start, first, jnp.full(V**T, 3.0)])
  return tables, tune(tables, jnp.array([1.0, 0.7, 0.0]))


def test_the_oracle_reward_leads_to_the_target(world, tuned):
  start, target = exact(world, world.base), exact(world, world.logits[0])
  _, (logits, history) = tuned
  found = exact(world, logits[0])
  before = float(first_order.divergence(start, target))
  assert before > 0.3
  assert float(first_order.divergence(found, target)) < 0.03 * before
  assert history.kl.shape == history.reward.shape == (3, 300)
  expected = float(first_order.divergence(found, start))
  np.testing.assert_allclose(history.kl[0, -50:].mean(), expected, rtol=0.2)


def test_a_first_order_reward_leads_to_its_tilt(world, tuned):
  # Of the first word alone, so that the optimum is a first-order policy.
  tables, (logits, _) = tuned
  start = exact(world, world.base)
  best = decoding.tilted(start, tables[1], 1 / 0.7)
  gap = float(first_order.divergence(exact(world, logits[1]), best))
  assert gap < 0.02
  assert float(first_order.divergence(start, best)) > 0.1


def test_without_a_reward_nothing_happens(world, tuned):
  _, (logits, history) = tuned
  np.testing.assert_allclose(logits[2], world.base, atol=1e-2)
  np.testing.assert_allclose(history.reward[2], 3.0, rtol=1e-5)


def test_one_sample_is_refused(world):
  with pytest.raises(ValueError, match='at least 2'):
    reinforcement.fine_tune(
      jax.random.key(1),
      POLICY,
      world.base,
      lambda texts: jnp.zeros(texts.shape[:-1]),
      steps=1,
      samples=1,
    )
