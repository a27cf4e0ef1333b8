"""Last-layer Laplace against NumPy in float64, by hand, and by simulation."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from prm_jax.ops import bayes, laplace, pairs

RIDGE = 0.7


def problem(texts=30, rows=80, width=4, seed=0):
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(texts, width)).astype(np.float32)
  index = rng.integers(0, texts, (rows, 2)).astype(np.int32)
  mask = (rng.random(rows) < 0.8).astype(np.float32)
  weight = rng.normal(size=width).astype(np.float32)
  return features, index, mask, weight


def by_hand(features, index, mask, weight, ridge=RIDGE):
  x = np.float64(features[index[:, 0]]) - features[index[:, 1]]
  p = special.expit(x @ weight)
  return ridge * np.eye(len(weight)) + (x.T * (mask * p * (1 - p))) @ x


class HessianTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_it_is_the_sum_over_pairs(self):
    given = problem()
    found = self.variant(laplace.hessian)(*given, ridge=RIDGE)
    np.testing.assert_allclose(found, by_hand(*given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('rows', [5, 16, 21])
def test_a_block_at_a_time_is_all_at_once(rows, monkeypatch):
  monkeypatch.setattr(pairs, '_BLOCK', 8)
  given = problem(texts=40, rows=rows)
  found = laplace.hessian(*given, ridge=RIDGE)
  np.testing.assert_allclose(found, by_hand(*given), rtol=1e-4, atol=1e-5)


def test_it_is_the_second_derivative_of_the_loss():
  features, index, mask, weight = problem()
  difference = features[index[:, 0]] - features[index[:, 1]]

  def loss(w):
    # The label enters linearly, and so not at all.
    return jnp.sum(mask * jax.nn.softplus(difference @ w)) + RIDGE * w @ w / 2

  np.testing.assert_allclose(
    laplace.hessian(features, index, mask, weight, ridge=RIDGE),
    jax.hessian(loss)(weight),
    rtol=1e-4,
    atol=1e-5,
  )


def test_padding_changes_nothing():
  features, index, mask, weight = problem()
  moved = np.where(mask[:, None] > 0, index, 0)
  found = laplace.hessian(features, moved, mask, weight, ridge=RIDGE)
  want = laplace.hessian(features, index, mask, weight, ridge=RIDGE)
  np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
  # Without an answer the prior is left.
  nothing = laplace.hessian(features, index, 0 * mask, weight, ridge=RIDGE)
  np.testing.assert_allclose(nothing, RIDGE * np.eye(4), atol=1e-6)


def test_no_program_holds_all_differences():
  texts, rows, width = 2000, 200_000, 256
  shapes = (
    jax.ShapeDtypeStruct((texts, width), jnp.float32),
    jax.ShapeDtypeStruct((rows, 2), jnp.int32),
    jax.ShapeDtypeStruct((rows,), jnp.float32),
    jax.ShapeDtypeStruct((width,), jnp.float32),
  )

  def hessian(*given):
    return laplace.hessian(*given, ridge=1.0)

  compiled = jax.jit(hessian).lower(*shapes).compile()
  held = compiled.memory_analysis().temp_size_in_bytes
  assert held < 0.25 * 4 * rows * width


def test_variances_and_covariances_are_those_of_the_inverse():
  given = problem()
  covariance = np.linalg.inv(by_hand(*given))
  factor = laplace.cholesky(*given, ridge=RIDGE)
  x = given[0][:12].reshape(3, 4, 4)  # three prompts of four answers
  np.testing.assert_allclose(
    laplace.margin_variance(factor, x),
    np.einsum('skd,de,ske->sk', x, covariance, x),
    rtol=1e-4,
  )
  centred = x - x.mean(1, keepdims=True)
  want = np.einsum('skd,de,sle->skl', centred, covariance, centred)
  found = laplace.score_covariance(factor, x)
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_a_pair_s_variance_does_not_know_of_the_centring():
  given = problem()
  factor = laplace.cholesky(*given, ridge=RIDGE)
  x = given[0][:5]
  c = laplace.score_covariance(factor, x)
  pair = c[1, 1] + c[3, 3] - 2 * c[1, 3]
  want = laplace.margin_variance(factor, x[1] - x[3])
  np.testing.assert_allclose(pair, want, rtol=1e-4)
  np.testing.assert_allclose(c.sum(1), np.zeros(5), atol=1e-5)
  # What all answers share changes nothing; one alone has no variance.
  moved = laplace.score_covariance(factor, x + 3.0)
  np.testing.assert_allclose(moved, c, atol=1e-4)
  np.testing.assert_array_equal(laplace.score_covariance(factor, x[:1]), 0)


def test_what_no_pair_differs_in_keeps_the_prior():
  features, index, mask, weight = problem()
  features[:, 2] = 5.0  # of all texts
  factor = laplace.cholesky(features, index, mask, weight, ridge=RIDGE)
  along, across = jnp.eye(4)[2], jnp.eye(4)[0]
  np.testing.assert_allclose(
    laplace.margin_variance(factor, along), 1 / RIDGE, rtol=1e-5
  )
  assert laplace.margin_variance(factor, across) < 0.5 / RIDGE


def test_draws_have_the_mean_and_the_covariance():
  given = problem()
  factor = laplace.cholesky(*given, ridge=RIDGE)
  found = laplace.draws(jax.random.key(0), given[3], factor, count=40_000)
  covariance = np.linalg.inv(by_hand(*given))
  assert found.shape == (40_000, 4)
  error = np.sqrt(np.diag(covariance) / 40_000)
  assert (np.abs(found.mean(0) - given[3]) < 5 * error).all()
  np.testing.assert_allclose(
    np.cov(found.T), covariance, atol=0.03 * np.diag(covariance).max()
  )


# -------------------------------------------------------------------- evidence


def answered(ridge, rows=400, width=3, seed=0):
  """Answers of a model whose weights are drawn from the prior."""
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(60, width)).astype(np.float32)
  index = rng.integers(0, 60, (rows, 2)).astype(np.int32)
  truth = rng.normal(size=width) / np.sqrt(ridge)
  margin = (features[index[:, 0]] - features[index[:, 1]]) @ truth
  label = (rng.random(rows) < special.expit(margin)).astype(np.float32)
  return features, index, label, np.ones(rows, np.float32), truth


def mode(features, index, label, mask, ridge):
  return bayes.pooled_mode(
    jnp.asarray(features), index, label, mask, ridge=ridge
  )


@pytest.mark.parametrize('ridge', [0.5, 4.0])
def test_evidence_is_the_integral_over_one_weight(ridge):
  features, index, label, mask, _ = answered(ridge, rows=60, width=1)
  x = np.float64(features[index[:, 0]] - features[index[:, 1]])[:, 0]

  def joint(w):
    fit = label @ (x * w) - np.logaddexp(0, x * w).sum()
    return np.exp(fit - ridge * w**2 / 2 + 30) * np.sqrt(ridge / (2 * np.pi))

  want = np.log(integrate.quad(joint, -8, 8, limit=200)[0]) - 30
  w = mode(features, index, label, mask, ridge)
  found = laplace.evidence(features, index, label, mask, w, ridge=ridge)
  assert found == pytest.approx(want, abs=0.05)


def test_evidence_by_hand():
  features, index, label, mask, _ = answered(1.0)
  mask[::3] = 0
  w = np.float64(mode(features, index, label, mask, 1.5))
  margin = (np.float64(features[index[:, 0]]) - features[index[:, 1]]) @ w
  fit = mask @ (label * margin - np.logaddexp(0, margin))
  H = by_hand(features, index, mask, w, 1.5)
  want = fit - 0.75 * w @ w + 1.5 * np.log(1.5) - 0.5 * np.linalg.slogdet(H)[1]
  label[::3] = 7  # of padding
  found = laplace.evidence(
    features, index, label, mask, jnp.float32(w), ridge=1.5
  )
  assert found == pytest.approx(want, rel=1e-4)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0, 0, None))
def fitted(features, index, label, mask, ridge):
  """The mode, the factor there and the evidence, of several problems."""
  w = bayes.pooled_mode(features, index, label, mask, ridge=ridge)
  factor = laplace.cholesky(features, index, mask, w, ridge=ridge)
  found = laplace.evidence(features, index, label, mask, w, ridge=ridge)
  return w, factor, found


def many(seeds, **given):
  problems = [answered(1.0, seed=seed, **given) for seed in range(seeds)]
  return [np.stack(leaves) for leaves in zip(*problems, strict=True)]


def test_evidence_finds_the_ridge_that_weights_were_drawn_with():
  tried = [0.01, 0.1, 1.0, 10.0, 100.0]
  *given, _ = many(10, width=6)
  total = [float(fitted(*given, ridge)[2].sum()) for ridge in tried]
  assert tried[np.argmax(total)] == 1.0


def test_margins_are_covered_as_often_as_they_should_be():
  """Weights from the prior: credible intervals of 90 %, on average."""
  *given, truth = many(300, rows=60)
  w, factor, _ = fitted(*given, 1.0)
  x = np.random.default_rng(1).normal(size=(300, 20, 3)).astype(np.float32)
  variance = jax.vmap(laplace.margin_variance)(factor, x)
  error = np.abs(np.einsum('skd,sd->sk', x, np.asarray(w) - truth))
  held = np.mean(error <= 1.6449 * np.sqrt(variance), axis=1)
  error = np.std(held) / np.sqrt(300)
  assert abs(np.mean(held) - 0.9) < 3 * error + 0.01  # Laplace is not exact
