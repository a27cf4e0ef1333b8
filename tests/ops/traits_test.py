"""Davidson's model with a person's habits, against independent arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from prm_jax.ops import traits


def davidson(margin, width):
  """P(first), P(tie), P(second) in NumPy, from worths and nu."""
  first, second, nu = np.exp(margin), 1.0, np.exp(width)
  tie = nu * np.sqrt(first * second)
  total = first + second + tie
  return np.stack([first / total, tie / total, second / total], -1)


def made(people=120, each=40, seed=0, ties=True):
  """Answers of people whose habits are known."""
  rng = np.random.default_rng(seed)
  habits = np.stack(
    [
      rng.normal(0.3, 0.6, people),
      rng.normal(0.5, 0.8, people),
      rng.normal(-0.5, 0.7, people),
    ],
    1,
  )
  if not ties:
    habits[:, 2] = -40
  length = rng.normal(size=(people, each))
  design = np.stack([np.ones_like(length), length], -1)
  offset = rng.normal(size=(people, each))
  margin = offset + (design * habits[:, None, :2]).sum(-1)
  p = davidson(margin, habits[:, 2:])
  draw = rng.random((people, each, 1))
  label = 1 - (draw > np.cumsum(p, -1)[..., :2]).sum(-1) / 2
  given = (design, offset, label, np.ones_like(label))
  return habits, [jnp.asarray(x, jnp.float32) for x in given]


def test_probabilities_are_davidson_s():
  rng = np.random.default_rng(0)
  margin, width = rng.normal(size=(2, 50)) * 2
  found = np.exp(traits.log_probability(margin, width))
  np.testing.assert_allclose(found, davidson(margin, width), rtol=1e-5)
  # Of choices that are no ties a sigmoid, whatever the width.
  strict = found[:, 0] / (found[:, 0] + found[:, 2])
  np.testing.assert_allclose(strict, 1 / (1 + np.exp(-margin)), rtol=1e-5)


def test_exchanging_the_answers_exchanges_the_outcomes():
  one = traits.log_probability(0.7, 0.2)
  other = traits.log_probability(-0.7, 0.2)
  np.testing.assert_allclose(one, other[::-1], atol=1e-6)


def test_a_person_s_mode_is_the_optimum():
  _, given = made(1)
  design, offset, label, mask = (x[0] for x in given)
  mask = mask.at[-5:].set(0.0)
  population = traits.Population(
    jnp.array([0.1, 0.2, -0.3]), jnp.array([0.5, 0.3, 0.4])
  )
  found = traits.infer(population, design, offset, label, mask)
  kept = slice(0, 35)
  d, o, y = (np.asarray(x, float)[kept] for x in (design, offset, label))

  def loss(h):
    p = davidson(o + d @ h[:2], np.full(35, h[2]))
    said = np.log(p[np.arange(35), np.round(2 * (1 - y)).astype(int)])
    mean, variance = (np.asarray(x, float) for x in population)
    return -said.sum() + ((h - mean) ** 2 / variance).sum() / 2

  best = optimize.minimize(loss, np.zeros(3), tol=1e-10)
  np.testing.assert_allclose(found.mode, best.x, atol=1e-4)
  step = 1e-3 * np.eye(3)
  curvature = [
    [
      (
        loss(best.x + a + b)
        - loss(best.x + a - b)
        - loss(best.x - a + b)
        + loss(best.x - a - b)
      )
      / 4e-6
      for a in step
    ]
    for b in step
  ]
  np.testing.assert_allclose(
    found.variance, np.diag(np.linalg.inv(curvature)), rtol=1e-3
  )


def test_a_population_s_habits_are_found():
  habits, given = made()
  population = jax.jit(traits.estimate)(*given)
  np.testing.assert_allclose(population.mean, habits.mean(0), atol=0.12)
  np.testing.assert_allclose(population.variance, habits.var(0), rtol=0.35)


def test_people_without_answers_do_not_count():
  _, given = made(30)
  more = [jnp.concatenate([x, jnp.zeros_like(x)]) for x in given]
  one, two = traits.estimate(*given), traits.estimate(*more)
  np.testing.assert_allclose(one.mean, two.mean, atol=1e-4)
  np.testing.assert_allclose(one.variance, two.variance, atol=1e-4)


def test_where_nobody_ties_choices_alone_are_learned():
  habits, given = made(ties=False)
  population = traits.estimate(*given)
  assert population.mean[2] < -8
  np.testing.assert_allclose(population.mean[:2], habits.mean(0)[:2], atol=0.15)
  found = traits.infer(population, *(x[0] for x in given))
  assert np.isfinite(found.mode).all()


@pytest.mark.parametrize('label', [0.0, 0.5, 1.0])
def test_all_answers_alike_stay_finite(label):
  _, (design, offset, _, mask) = made(5)
  population = traits.estimate(design, offset, jnp.full_like(mask, label), mask)
  assert all(np.isfinite(leaf).all() for leaf in population)
