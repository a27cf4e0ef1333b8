"""Which rows coverage is measured on, and what is believed of them."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reward_heads import coverage, predicted
from prm_jax import types
from prm_jax.lab import fitting

PEOPLE, ITEMS = 90, 8
NODE = SimpleNamespace(people=20, tested=6, known=5, dim=2, steps=20)


def ratings():
  """Everybody rates every item: a level of their own, and a taste of one."""
  rng = np.random.default_rng(0)
  taste = 2.0 * rng.normal(size=(PEOPLE, 1)) * np.linspace(-1, 1, ITEMS)
  value = taste + rng.normal(size=(PEOPLE, 1)) + rng.normal(size=taste.shape)
  user, item = np.indices(value.shape).reshape(2, -1)
  return SimpleNamespace(
    user_ids=[f'p{u}' for u in range(PEOPLE)],
    user=user,
    item=item,
    rating=np.clip(value, -10, 10).ravel().astype(np.float32),
  )


def test_nobody_who_trains_is_tested():
  parts = predicted.dealt(ratings(), NODE, seed=1)
  people = [
    set(parts.said.user[rows])
    for rows in (parts.train, parts.calibrate, parts.test)
  ]
  assert [len(group) for group in people] == [20, 6, 6]
  assert len(set.union(*people)) == 32
  for user in people[2]:
    places = parts.place[parts.said.user == user]
    np.testing.assert_array_equal(np.sort(places), np.arange(ITEMS))


def test_known_answers_are_never_asked():
  user = np.array([0, 1, 0, 0, 1, 0, 0, 1])
  split = np.array([fitting.CALIBRATION] * 6 + [fitting.NEW_PEOPLE] * 2)
  problem = SimpleNamespace(
    judged=SimpleNamespace(rows=SimpleNamespace(user=user)),
    split=split,
    strict=np.array([1, 1, 1, 0, 1, 1, 1, 1], bool),
  )
  found = coverage.tested(problem, known=1, most=1)
  np.testing.assert_array_equal(found[coverage.FAMILIAR], [2, 4])
  np.testing.assert_array_equal(found[coverage.NEW], [6, 7])


def test_margins_have_the_variance_of_a_difference():
  C = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)

  def score(params, pair, context):
    rows = len(pair)
    return types.RewardOutput(
      pair[..., 0] * context[:, None], jnp.broadcast_to(C, (rows, 2, 2))
    )

  reward = types.RewardModel(None, lambda params, features: features, score)
  asked = types.Batch(
    types.Judgements(np.array([1, 0]), *(np.ones(2) for _ in range(3))),
    types.Inputs(np.array([[1.0], [3.0], [4.0]]), np.array([[0, 1], [2, 0]])),
  )
  found = coverage.margins(
    types.System(reward, None), {'reward': ()}, np.array([1.0, 10.0]), asked
  )
  np.testing.assert_allclose(found['mean'], [-20.0, 3.0])
  np.testing.assert_allclose(found['deviation'], np.sqrt(2.0))
  assert found['probability'][0] < 0.01
  assert 0.5 < found['probability'][1] < 1 / (1 + np.exp(-3.0))


@pytest.mark.slow
def test_normal_ratings_are_covered_as_often_as_said():
  parts = predicted.dealt(ratings(), NODE, seed=0)
  said = parts.said.take(parts.train)
  fit = predicted.fitted(said, parts.people, NODE, 1.0, 0)
  rows = parts.test & (parts.place >= NODE.known)
  asked = parts.said.take(rows)
  known = parts.said.take(parts.test & (parts.place < NODE.known))
  mean, aleatoric, epistemic = fit.predict(known, asked)
  apart = np.abs(asked.rating - mean)
  both = np.mean(apart < 1.645 * np.sqrt(aleatoric + epistemic))
  alone = np.mean(apart < 1.645 * np.sqrt(epistemic))
  assert both > 0.75
  assert alone < both
