import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from prm_jax.ops.heads import ratings

BINS = np.array([0.0, 1.0, 2.0, 4.0])


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_errors_of_what_was_rated(rng):
  prediction, target = rng.normal(size=(2, 5, 3))
  mask = (rng.random((5, 3)) < 0.6).astype(float)
  marked = np.where(mask > 0, target, -100.0)
  args = (jnp.asarray(prediction), jnp.asarray(marked), jnp.asarray(mask))
  error = np.abs(prediction - target)
  np.testing.assert_allclose(
    ratings.squared(*args), mask * error**2, rtol=1e-5, atol=1e-6
  )
  want = np.where(error < 0.5, error**2 / 2, 0.5 * (error - 0.25))
  np.testing.assert_allclose(
    ratings.huber(*args, delta=0.5), mask * want, rtol=1e-5, atol=1e-6
  )


def test_binned_is_the_nearest_bin(rng):
  logits = rng.normal(size=(6, 4))
  target = np.array([-3.0, 0.4, 0.5, 2.9, 3.1, 99.0])
  bins = [0, 0, 0, 2, 3, 3]
  found = ratings.binned(
    jnp.asarray(logits), jnp.asarray(target), jnp.ones(6), BINS
  )
  want = -special.log_softmax(logits, 1)[np.arange(6), bins]
  np.testing.assert_allclose(found, want, rtol=1e-5)


def test_two_hot_keeps_the_mean(rng):
  target = np.array([-1.0, 0.0, 0.3, 1.0, 3.5, 4.0, 9.0])
  weight = ratings.two_hot_weights(jnp.asarray(target), BINS)
  np.testing.assert_allclose(weight @ BINS, np.clip(target, 0, 4), atol=1e-6)
  np.testing.assert_allclose(weight.sum(1), 1.0, rtol=1e-6)
  assert ((weight > 0).sum(1) <= 2).all()
  logits = rng.normal(size=(7, 4))
  found = ratings.two_hot(
    jnp.asarray(logits), jnp.asarray(target), jnp.ones(7), BINS
  )
  want = -(np.asarray(weight) * special.log_softmax(logits, 1)).sum(1)
  np.testing.assert_allclose(found, want, rtol=1e-5)


def test_expected_is_the_mean_of_bins(rng):
  logits = rng.normal(size=(5, 4))
  found = ratings.expected(jnp.asarray(logits), BINS)
  np.testing.assert_allclose(
    found, special.softmax(logits, 1) @ BINS, rtol=1e-5
  )
  # The mean of a mixture is the mixture of means.
  gate = special.softmax(rng.normal(size=5))
  mixed = gate @ special.softmax(logits, 1) @ BINS
  np.testing.assert_allclose(gate @ np.asarray(found), mixed, rtol=1e-5)


@pytest.mark.parametrize('bins', [[1.0], [0.0, 0.0], [1.0, 0.0], [[0.0, 1.0]]])
def test_bins_are_in_order(bins):
  with pytest.raises(ValueError, match='above the one before'):
    ratings.expected(jnp.zeros((1, len(bins))), bins)


def test_a_bin_that_nobody_chose_stays_finite():
  def loss(logits):
    many = jnp.tile(logits, (20, 1))
    return ratings.two_hot(
      many, jnp.tile(jnp.array([0.0, 1.0]), 10), jnp.ones(20), BINS
    ).mean()

  step = jax.jit(lambda x: x - 10.0 * jax.grad(loss)(x))
  logits = jnp.zeros(4)
  for _ in range(200):
    logits = step(logits)
  assert np.isfinite(logits).all()
  np.testing.assert_allclose(jax.nn.softmax(logits)[2:], 0.0, atol=1e-2)


def test_ridge_is_where_the_loss_has_no_slope(rng):
  x, target = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
  mask = (rng.random((30, 3)) < 0.5).astype(float)
  mask[:, 2] = 0
  found = ratings.ridge(
    jnp.asarray(x),
    jnp.asarray(np.where(mask > 0, target, np.nan)),
    jnp.asarray(mask),
    penalty=0.7,
  )
  for k in range(2):
    known = mask[:, k] > 0

    def loss(w, k=k, known=known):
      return np.sum((x[known] @ w - target[known, k]) ** 2) + 0.7 * w @ w

    want = optimize.minimize(loss, np.zeros(4), tol=1e-10).x
    np.testing.assert_allclose(found[k], want, atol=1e-4)
  np.testing.assert_array_equal(found[2], 0.0)


def test_ridge_of_features_that_do_not_vary():
  x = jnp.full((20, 3), 1e4)
  found = ratings.ridge(x, jnp.ones((20, 1)), jnp.ones((20, 1)), penalty=1.0)
  np.testing.assert_allclose(found @ x[0], 1.0, rtol=1e-3)


def test_ridge_is_that_of_scikit_learn(rng):
  linear_model = pytest.importorskip('sklearn.linear_model')
  x, t = rng.normal(size=(50, 5)), rng.normal(size=(50, 2))
  want = linear_model.Ridge(alpha=2.0, fit_intercept=False).fit(x, t).coef_
  found = ratings.ridge(
    jnp.asarray(x), jnp.asarray(t), jnp.ones((50, 2)), penalty=2.0
  )
  np.testing.assert_allclose(found, want, atol=1e-4)
