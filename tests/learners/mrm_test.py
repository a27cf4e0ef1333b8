"""MRM's weights of people, and a person's steps."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax import types
from prm_jax.learners import mrm
from prm_jax.users import meta


def test_people_in_the_tail_weigh_more():
  mean = np.array([0.3, 1.0, 2.0])
  loss = np.append(mean, 5.0)  # the last has no target
  there = np.array([True, True, True, False])
  weight = mrm.robust(loss, there, tail=0.5, softness=0.25)
  want = special.expit((mean - 1.0) / 0.25)
  want = np.append(3 * want / want.sum(), 0.0)
  np.testing.assert_allclose(weight, want, rtol=1e-5)


def test_a_soft_tail_weighs_everybody_alike():
  loss = np.array([0.2, 1.0, 2.0])
  weight = mrm.robust(loss, np.ones(3, bool), tail=0.5, softness=1e6)
  np.testing.assert_allclose(weight, 1.0, atol=1e-5)


def test_steps_descend_the_loss_of_the_answers():
  rng = np.random.default_rng(0)
  difference = rng.normal(size=(6, 3)).astype(np.float32)
  label = rng.integers(0, 2, 6).astype(np.float32)
  mask = np.array([1.0, 1, 1, 1, 0, 0], np.float32)
  params = meta.Params(jnp.array([0.3, -0.2, 0.0]), jnp.log(0.7))

  def loss(logits):
    margin = difference[:4] @ jax.nn.softmax(logits)
    return jnp.mean(jax.nn.softplus(margin) - label[:4] * margin)

  logits = params.start
  for _ in range(2):
    logits = logits - 0.7 * jax.grad(loss)(logits)
  found = meta.adapt(params, types.Pair(difference, label, mask), steps=2)
  np.testing.assert_allclose(found, jax.nn.log_softmax(logits), atol=1e-5)
