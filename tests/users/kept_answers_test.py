"""Answers that a reward recalls: none, no room, too many, contradictions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.rewards import conditioned
from prm_jax.users import kept_answers

J = 3
KEY = jax.random.key(0)
REWARD = conditioned.recalling(dim=J, width=4, count=2)
SCORE = jax.jit(REWARD.score)


def params():
  """Nowhere zero, so that what is recalled moves the score."""
  found = REWARD.init(KEY, types.Spec(J, 1))
  leaves, tree = jax.tree.flatten(found)
  keys = jax.random.split(KEY, len(leaves))
  noise = [
    leaf + 0.3 * jax.random.normal(key, leaf.shape)
    for leaf, key in zip(leaves, keys, strict=True)
  ]
  return tree.unflatten(noise)


def pairs(count):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(count, 2, J)), jnp.float32)


def score(evidence, capacity):
  """Scores of two texts after some answers, and how many were dropped."""
  user = kept_answers.kept_answers(dim=J, capacity=capacity)
  state, info = user.update(KEY, {}, user.prior({}), evidence)
  told = jax.tree.map(lambda leaf: leaf[None], user.context({}, state))
  found = SCORE(params(), pairs(9)[8:], told).score
  return np.asarray(found[0]), int(info['dropped'])


def given(count, label=1.0):
  return types.Pair(pairs(count), jnp.full(count, label), jnp.ones(count))


@pytest.mark.slow
def test_without_room_or_answers_nothing_is_recalled():
  nothing = dataclasses.replace(given(4), mask=jnp.zeros(4))
  plain, dropped = score(nothing, 5)
  assert dropped == 0
  without, dropped = score(given(4), 0)
  assert dropped == 4
  np.testing.assert_allclose(without, plain, atol=1e-6)
  one, _ = score(given(1), 5)
  assert np.abs(one - plain).max() > 1e-4


def test_the_oldest_give_way():
  whole, dropped = score(given(7), 4)
  assert dropped == 3
  last = jax.tree.map(lambda leaf: leaf[3:], given(7))
  np.testing.assert_allclose(whole, score(last, 4)[0], atol=1e-5)


def test_answers_that_contradict_each_other_are_both_recalled():
  twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 2), given(1))
  both = dataclasses.replace(twice, label=jnp.array([1.0, 0.0]))
  other = dataclasses.replace(twice, label=jnp.array([0.0, 1.0]))
  found = score(both, 5)[0]
  np.testing.assert_allclose(found, score(other, 5)[0], atol=1e-5)
  assert np.abs(found - score(twice, 5)[0]).max() > 1e-4
