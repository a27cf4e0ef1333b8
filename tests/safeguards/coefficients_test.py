import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry
from prm_jax.rewards import factorized
from prm_jax.safeguards import coefficients
from prm_jax.users import gaussian

J = 4


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def beliefs(seed=0):
  rng = np.random.default_rng(seed)
  own, everybody = (
    gaussian.Context(
      jnp.asarray(rng.normal(size=J)),
      jnp.asarray(np.tril(rng.normal(size=(J, J))) + np.eye(J)),
    )
    for _ in range(2)
  )
  return own, everybody


def project(direction, own, everybody):
  made = coefficients.projection(direction=jnp.asarray(direction))
  return made.context((), own, everybody)


def test_the_own_coefficient_is_the_population_s_and_the_others_stay():
  own, everybody = beliefs()
  found = project([0.0, 0.0, 2.0, 0.0], own, everybody)
  assert float(found.mean[2]) == pytest.approx(float(everybody.mean[2]))
  others = np.array([0, 1, 3])
  np.testing.assert_allclose(found.mean[others], own.mean[others])
  covariance = np.asarray(found.factor @ found.factor.T)
  before = np.asarray(own.factor @ own.factor.T)
  np.testing.assert_allclose(covariance[2], 0.0, atol=1e-12)
  np.testing.assert_allclose(
    covariance[np.ix_(others, others)], before[np.ix_(others, others)]
  )


def test_answers_that_differ_along_the_direction_differ_as_for_everybody():
  own, everybody = beliefs(1)
  direction = np.random.default_rng(2).normal(size=J)
  found = project(direction, own, everybody)
  pair = jnp.stack([jnp.ones(J), jnp.ones(J) + jnp.asarray(direction)])[None]

  def scored(context):
    one = jax.tree.map(lambda leaf: leaf[None], context)
    return factorized.identity().score({}, pair, one)

  for_me, for_all = scored(found).score[0], scored(everybody).score[0]
  assert float(for_me[1] - for_me[0]) == pytest.approx(
    float(for_all[1] - for_all[0]), abs=1e-12
  )
  # The covariance is P C P, so that nothing is unsure along the direction.
  unit = direction / np.linalg.norm(direction)
  plane = np.eye(J) - np.outer(unit, unit)
  before = np.asarray(own.factor @ own.factor.T)
  np.testing.assert_allclose(
    found.factor @ found.factor.T, plane @ before @ plane, atol=1e-12
  )


def test_projection_is_idempotent_and_a_zero_direction_does_nothing():
  own, everybody = beliefs(3)
  once = project([1.0, -1.0, 0.5, 0.0], own, everybody)
  twice = project([1.0, -1.0, 0.5, 0.0], once, everybody)
  np.testing.assert_allclose(twice.mean, once.mean, atol=1e-12)
  np.testing.assert_allclose(twice.factor, once.factor, atol=1e-12)
  same = project(np.zeros(J), own, everybody)
  np.testing.assert_array_equal(same.mean, own.mean)
  np.testing.assert_array_equal(same.factor, own.factor)


@pytest.mark.parametrize('context', [(), jnp.zeros(J), (jnp.zeros(J),) * 2])
def test_other_beliefs_are_refused(context):
  with pytest.raises(TypeError, match=r'Gaussian belief.*residual'):
    project(np.ones(J), context, context)


def test_a_direction_can_be_plain_data():
  made = registry.build(
    'safeguard', {'kind': 'projection', 'direction': (1.0, 0.0, 0.0, 0.0)}
  )
  own, everybody = beliefs()
  found = made.context((), own, everybody)
  assert float(found.mean[0]) == pytest.approx(float(everybody.mean[0]))


def test_mean_difference_by_hand():
  encoded = np.array([[1.0, 0], [3.0, 2], [9.0, 9], [0.0, 4]])
  found = coefficients.mean_difference(encoded, np.array([0.2, 1, 0, -1]))
  np.testing.assert_allclose(found, [2.0, -3.0])


@pytest.mark.parametrize('measure', [np.ones(3), -np.ones(3), np.zeros(3)])
def test_mean_difference_needs_both_sides(measure):
  with pytest.raises(ValueError, match='a direction needs both'):
    coefficients.mean_difference(np.ones((3, 2)), measure)
