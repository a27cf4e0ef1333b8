import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from scipy import integrate, stats

from prm_jax import types
from prm_jax.ops.heads import choices


class BradleyTerryTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
  def test_hand_computed(self):
    difference = jnp.array([[0.0, 2.0, -1.0, 3.0]])
    label = jnp.array([[1.0, 1.0, 0.0, 0.5]])
    value = self.variant(choices.bradley_terry)(difference, label)
    # log 2; log(1 + e^-2); log(1 + e^-1); mean of both sides at 3
    want = [0.693147, 0.126928, 0.313262, 1.548587]
    np.testing.assert_allclose(value[0], want, atol=1e-5)

  @parameterized.parameters(1.0, 0.0)
  def test_margin_shifts_the_winner(self, label):
    difference = jnp.array([0.7])
    sign = 2 * label - 1
    np.testing.assert_allclose(
      choices.bradley_terry(difference, jnp.array([label]), margin=0.5),
      np.logaddexp(0, -(sign * 0.7 - 0.5)),
      rtol=1e-6,
    )

  def test_smoothing_is_a_mixture_with_coin_flips(self):
    d, y = jnp.array([1.3]), jnp.array([1.0])
    p = 1 / (1 + np.exp(-1.3))
    want = -(0.95 * np.log(p) + 0.05 * np.log(1 - p))
    np.testing.assert_allclose(
      choices.bradley_terry(d, y, smoothing=0.1), want, rtol=1e-5
    )

  def test_exchange(self):
    d, y = jnp.linspace(-30, 30, 7), jnp.linspace(0, 1, 7)
    np.testing.assert_allclose(
      choices.bradley_terry(d, y), choices.bradley_terry(-d, 1 - y), rtol=1e-5
    )

  def test_shapes_must_agree(self):
    with pytest.raises(AssertionError):
      choices.bradley_terry(jnp.zeros(3), jnp.zeros((3, 1)))


def test_moderated_probability_is_near_the_integral():
  for mean, sd in [(0.0, 1.0), (1.0, 2.0), (-2.0, 3.0), (4.0, 0.1)]:

    def integrand(x, mean=mean, sd=sd):
      return stats.norm.pdf(x, mean, sd) / (1 + np.exp(-x))

    want, _ = integrate.quad(integrand, mean - 9 * sd, mean + 9 * sd)
    value = choices.moderated_probability(jnp.array(mean), jnp.array(sd**2))
    assert abs(float(value) - want) < 0.02


def test_pair_probability_uses_the_whole_covariance():
  score = jnp.array([[1.5, 0.5]])
  point = choices.pair_probability(types.RewardOutput(score))
  np.testing.assert_allclose(point, 1 / (1 + np.exp(-1.0)), rtol=1e-6)
  # Perfectly correlated scores: the difference is certain.
  certain = types.RewardOutput(score, jnp.full((1, 2, 2), 4.0))
  np.testing.assert_allclose(
    choices.pair_probability(certain), point, rtol=1e-6
  )
  unsure = types.RewardOutput(score, 4.0 * jnp.eye(2)[None])
  want = 1 / (1 + np.exp(-1.0 / np.sqrt(1 + np.pi)))
  np.testing.assert_allclose(choices.pair_probability(unsure), want, rtol=1e-5)


D = np.linspace(-4, 4, 9)
Y = np.linspace(0, 1, 9)


def log_sigma(x):
  return -np.logaddexp(0, -x)


def test_infinite_difference_that_the_label_expects_costs_nothing():
  d, y = jnp.array([jnp.inf, -jnp.inf]), jnp.array([1.0, 0.0])
  np.testing.assert_array_equal(choices.bradley_terry(d, y), 0.0)
  np.testing.assert_array_equal(choices.bradley_terry(d, 1 - y), np.inf)


def test_margins_by_strength():
  margins = np.array([0.0, 1 / 3, 2 / 3, 1.0])
  strength = np.array([3, 0, 1])
  margin = choices.strength_margin(strength, margins)
  np.testing.assert_allclose(margin, [1.0, 0.0, 1 / 3], rtol=1e-6)
  found = choices.bradley_terry(jnp.array(D[:3]), jnp.ones(3), margin=margin)
  want = -log_sigma(D[:3] - margins[strength])
  np.testing.assert_allclose(found, want, rtol=1e-5)
  assert np.isnan(choices.strength_margin(np.array([4]), margins)).all()
  with pytest.raises(ValueError, match='one a class'):
    choices.strength_margin(strength, margins[:, None])
  # A margin [B, 1] against differences [B] would make [B, B] of them.
  with pytest.raises(AssertionError):
    choices.bradley_terry(jnp.zeros(3), jnp.ones(3), margin=jnp.ones((3, 1)))


def test_scaled_by_strength():
  w = np.arange(9.0)
  found = choices.scaled_bradley_terry(jnp.array(D), jnp.ones(9), jnp.array(w))
  np.testing.assert_allclose(found, -w * log_sigma(D), rtol=1e-5)
  never = choices.scaled_bradley_terry(
    jnp.array([-jnp.inf]), jnp.ones(1), jnp.zeros(1)
  )
  np.testing.assert_array_equal(never, 0.0)


def test_soft_labels_are_mixtures():
  found = choices.bradley_terry(jnp.array(D), jnp.array(Y))
  want = -Y * log_sigma(D) - (1 - Y) * log_sigma(-D)
  np.testing.assert_allclose(found, want, rtol=1e-5)


def test_conservative_is_smallest_at_a_finite_difference():
  e = 0.2
  d = jnp.linspace(-3, 3, 601)
  found = choices.conservative(d, jnp.ones(601), flip=e)
  want = -(1 - e) * log_sigma(np.array(d)) - e * log_sigma(-np.array(d))
  np.testing.assert_allclose(found, want, rtol=1e-5)
  assert abs(d[jnp.argmin(found)] - np.log(0.8 / 0.2)) < 0.01
  with pytest.raises(ValueError, match='flip'):
    choices.conservative(d, d, flip=0.5)


def test_robust_is_unbiased_and_clipped():
  e, d = 0.3, jnp.array(D)
  right = choices.robust(d, jnp.ones(9), flip=e)
  wrong = choices.robust(d, jnp.zeros(9), flip=e)
  want = (-(1 - e) * log_sigma(D) + e * log_sigma(-D)) / (1 - 2 * e)
  np.testing.assert_allclose(right, want, rtol=1e-5, atol=1e-6)
  clean = choices.bradley_terry(d, jnp.ones(9))
  np.testing.assert_allclose((1 - e) * right + e * wrong, clean, rtol=1e-4)
  far = choices.robust(jnp.array([10.0, 1e4]), jnp.ones(2), flip=e, limit=10.0)
  assert far[0] == far[1]
  lost = choices.robust(jnp.array([-1e4]), jnp.ones(1), flip=e)
  np.testing.assert_allclose(lost, 1e4 * (1 + e / (1 - 2 * e)), rtol=1e-5)


def test_hinge_and_squared():
  d, y = jnp.array(D), jnp.array(Y)
  relu = lambda x: np.maximum(x, 0)  # noqa: E731
  np.testing.assert_allclose(
    choices.hinge(d, y, margin=2.0),
    Y * relu(2 - D) + (1 - Y) * relu(2 + D),
    rtol=1e-6,
  )
  found = choices.squared(d, y, beta=0.25)
  np.testing.assert_allclose(
    found, Y * (D - 2) ** 2 + (1 - Y) * (D + 2) ** 2, rtol=1e-6
  )


def test_thurstone_is_the_probability_that_one_normal_is_larger():
  var = np.linspace(0.5, 4, 9)
  found = choices.thurstone(jnp.array(D), jnp.ones(9), jnp.array(var))
  want = -stats.norm.logcdf(D / np.sqrt(var))
  np.testing.assert_allclose(found, want, rtol=1e-5)
  default = choices.thurstone(jnp.array(D), jnp.array(Y))
  want = -Y * stats.norm.logcdf(D / 2**0.5) - (1 - Y) * stats.norm.logcdf(
    -D / 2**0.5
  )
  np.testing.assert_allclose(default, want, rtol=1e-5)


def test_log_normal_cdf_and_its_gradient_in_both_tails():
  x = np.array([-1e4, -300.0, -30.0, -8.01, -8.0, -7.9, -1.0, 0.0, 5.0, 12.0])
  x = x.astype(np.float32).astype(float)
  found, slope = jax.vmap(jax.value_and_grad(choices.log_normal_cdf))(
    jnp.array(x, jnp.float32)
  )
  np.testing.assert_allclose(found, stats.norm.logcdf(x), rtol=2e-5)
  # phi / Phi; far out it is -x - 1 / x, for which logpdf - logcdf cancels.
  ratio = np.exp(stats.norm.logpdf(x) - stats.norm.logcdf(x))
  want = np.where(x < -100, -x - 1 / np.minimum(x, -1), ratio)
  np.testing.assert_allclose(slope, want, rtol=2e-5)


def test_classifier_bounds_bradley_terry_and_orders_alike():
  rng = np.random.default_rng(0)
  score = rng.normal(0, 3, size=(50, 2))
  label = rng.choice([0.0, 0.5, 1.0], 50)
  found = choices.classifier(jnp.array(score), jnp.array(label))
  won = np.stack([label, 1 - label], 1)
  want = -(won * log_sigma(score) + (1 - won) * log_sigma(-score)).sum(1)
  np.testing.assert_allclose(found, want, rtol=1e-4)
  pair = choices.bradley_terry(
    jnp.array(score[:, 0] - score[:, 1]), jnp.array(label)
  )
  assert (found >= pair).all()


def test_sampled_is_above_the_averaged_probability():
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 20_000))
  mean, var = np.array([0.5, -1.0]), np.array([1.0, 4.0])
  found = choices.sampled(
    jnp.array(mean), jnp.array(var), jnp.ones(2), jnp.array(noise)
  )
  nodes, weights = np.polynomial.hermite_e.hermegauss(60)
  drawn = mean[:, None] + nodes * np.sqrt(var)[:, None]
  weights = weights / weights.sum()
  np.testing.assert_allclose(found, -log_sigma(drawn) @ weights, rtol=0.02)
  assert (found > -np.log(1 / (1 + np.exp(-drawn)) @ weights)).all()


def test_a_linear_head_is_logistic_regression_of_differences():
  linear_model = pytest.importorskip('sklearn.linear_model')
  optimize = pytest.importorskip('scipy.optimize')
  rng = np.random.default_rng(0)
  x = rng.normal(size=(200, 3))
  y = (rng.random(200) < 1 / (1 + np.exp(-x @ [1.0, -1.0, 0.3]))).astype(float)

  def loss(w):
    nll = choices.bradley_terry(jnp.array(x) @ w, jnp.array(y)).sum()
    return nll + 0.5 * jnp.sum(w**2)

  with jax.enable_x64(True):
    found = optimize.minimize(
      jax.jit(jax.value_and_grad(loss)), np.zeros(3), jac=True
    )
  want = linear_model.LogisticRegression(
    fit_intercept=False, C=1.0, tol=1e-8
  ).fit(x, y)
  np.testing.assert_allclose(found.x, want.coef_[0], atol=1e-4)


def test_log_normal_cdf_has_no_hole_where_tails_are_denormal():
  x = np.concatenate([np.linspace(-60, 60, 24001), [-1e4, 1e4]])
  x = x.astype(np.float32)
  value = jax.jit(choices.log_normal_cdf)(x)
  slope = jax.jit(jax.vmap(jax.grad(choices.log_normal_cdf)))(x)
  truth = stats.norm.logcdf(x.astype(float))
  np.testing.assert_allclose(value, truth, rtol=1e-5, atol=1e-9)
  mills = np.exp(stats.norm.logpdf(x.astype(float)) - truth)
  np.testing.assert_allclose(slope, mills, rtol=1e-5, atol=1e-9)
