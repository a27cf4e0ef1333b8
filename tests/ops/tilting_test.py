"""Tilts and what holds them back, against exact sums in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from prm_jax.ops import decoding, tilting

BETA, Y = 0.7, 6


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def table(seed, rows=5):
  rng = np.random.default_rng(seed)
  log_policy = special.log_softmax(rng.normal(size=(rows, Y)), -1)
  reward = 2 * rng.normal(size=(rows, Y))
  agreement = (rng.random((rows, Y)) < 0.5).astype(float)
  agreement[:, :2] = [0, 1]
  return log_policy, reward, agreement


def mean(log_policy, feature):
  return np.sum(np.exp(log_policy) * feature, -1)


def test_gain_is_a_covariance():
  log_policy, reward, agreement = table(0)
  tilted = decoding.tilted(log_policy, reward, BETA)
  want = mean(tilted, agreement) - mean(log_policy, agreement)
  found = tilting.gain(log_policy, reward, agreement, BETA)
  np.testing.assert_allclose(found, want, atol=1e-14)


def test_minimal_correction_adds_no_agreement():
  log_policy, reward, agreement = table(1, rows=40)
  strength = np.asarray(
    tilting.minimal_correction(log_policy, reward, agreement, BETA)
  )
  gain = tilting.gain(log_policy, reward, agreement, BETA)
  np.testing.assert_array_equal(strength > 0, np.asarray(gain) > 1e-12)
  corrected = reward - strength[:, None] * agreement
  after = np.asarray(tilting.gain(log_policy, corrected, agreement, BETA))
  np.testing.assert_allclose(after[strength > 0], 0.0, atol=1e-14)
  assert (after <= 1e-14).all()
  nobody = np.zeros_like(agreement)
  np.testing.assert_array_equal(
    tilting.minimal_correction(log_policy, reward, nobody, BETA), 0.0
  )


def test_minimal_correction_is_the_closest_policy():
  log_policy, reward, agreement = (leaf[0] for leaf in table(2, rows=1))
  agreement = (reward > np.median(reward)).astype(float)  # a tilt raises it
  tilted = np.asarray(decoding.tilted(log_policy, reward, BETA))
  base = mean(log_policy, agreement)

  def divergence(logits):
    log_pi = special.log_softmax(logits)
    return np.sum(np.exp(log_pi) * (log_pi - tilted))

  found = optimize.minimize(
    divergence, log_policy, method='SLSQP',
    constraints={
      'type': 'ineq',
      'fun': lambda z: base - special.softmax(z) @ agreement,
    },
    options={'ftol': 1e-14, 'maxiter': 500},
  )  # fmt: skip
  strength = tilting.minimal_correction(log_policy, reward, agreement, BETA)
  ours = decoding.tilted(log_policy, reward - strength * agreement, BETA)
  np.testing.assert_allclose(special.softmax(found.x), np.exp(ours), atol=1e-5)


def test_trust_region_is_shrinkage_and_binds():
  log_policy, reward, _ = table(3)
  population = 0.5 * table(4)[1]
  log_population = np.asarray(decoding.tilted(log_policy, population, BETA))
  previous = np.full(5, -1.0)
  for radius in (0.0, 0.01, 0.1, 0.5):
    log_pi, share = tilting.trust_region(
      log_policy, reward, log_population, BETA, radius
    )
    away = mean(log_pi, np.asarray(log_pi) - log_population)
    assert (away <= radius + 1e-12).all()
    binds = np.asarray(share) < 1
    np.testing.assert_allclose(away[binds], radius, atol=1e-9)
    mixed = tilting.shrink(reward, population, np.asarray(share)[:, None])
    np.testing.assert_allclose(
      log_pi, decoding.tilted(log_policy, mixed, BETA), atol=1e-9
    )
    assert (np.asarray(share) >= previous).all()
    previous = np.asarray(share)
  free, share = tilting.trust_region(
    log_policy, reward, log_population, BETA, 100.0
  )
  np.testing.assert_array_equal(share, 1.0)
  np.testing.assert_allclose(free, decoding.tilted(log_policy, reward, BETA))


def test_trust_region_is_the_best_within_it():
  log_policy, reward, _ = (leaf[0] for leaf in table(5, rows=1))
  log_population = special.log_softmax(0.3 * table(6, rows=1)[1][0])
  radius = 0.05

  def loss(logits):
    log_pi = special.log_softmax(logits)
    pi = np.exp(log_pi)
    return -pi @ reward + pi @ (log_pi - log_policy) / BETA

  def room(logits):
    log_pi = special.log_softmax(logits)
    return radius - np.exp(log_pi) @ (log_pi - log_population)

  found = optimize.minimize(
    loss, log_population, method='SLSQP',
    constraints={'type': 'ineq', 'fun': room},
    options={'ftol': 1e-14, 'maxiter': 500},
  )  # fmt: skip
  ours, share = tilting.trust_region(
    log_policy, reward, log_population, BETA, radius
  )
  assert share < 1
  np.testing.assert_allclose(special.softmax(found.x), np.exp(ours), atol=1e-5)


def test_match_of_a_binary_feature_is_a_shift_of_log_odds():
  log_policy, _, agreement = table(7)
  target = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
  matched, strength = tilting.match(log_policy, agreement, target)
  np.testing.assert_allclose(mean(matched, agreement), target, atol=1e-12)
  before = mean(log_policy, agreement)
  np.testing.assert_allclose(
    strength, special.logit(target) - special.logit(before), atol=1e-9
  )


def test_match_has_no_effect_where_nothing_varies_and_says_what_it_cannot():
  log_policy, _, _ = table(8, rows=1)
  same, strength = tilting.match(log_policy, np.ones((1, Y)), 0.3)
  np.testing.assert_allclose(same, log_policy)
  assert strength == 0
  feature = np.linspace(0, 1, Y)[None]
  beyond, strength = tilting.match(log_policy, feature, 2.0)
  assert strength == pytest.approx(50.0)
  assert 0.99 < mean(beyond, feature)[0] < 1.0


def test_reliability_and_shrinkage_minimise_the_error():
  rng = np.random.default_rng(9)
  between, within, answers = 0.5, 2.0, 4
  truth = 1.0 + np.sqrt(between) * rng.normal(size=100_000)
  noise = np.sqrt(within / answers) * rng.normal(size=100_000)
  share = float(tilting.reliability(between, within, answers))
  assert share == 0.5
  errors = {
    s: np.mean((np.asarray(tilting.shrink(truth + noise, 1.0, s)) - truth) ** 2)
    for s in (0.0, share - 0.1, share, share + 0.1, 1.0)
  }
  assert min(errors, key=errors.get) == share
  assert tilting.reliability(between, within, 0) == 0
  assert tilting.reliability(0.0, within, 5) == 0


def test_float32_is_enough():
  with jax.enable_x64(False):
    log_policy, reward, agreement = (
      jnp.asarray(leaf, jnp.float32) for leaf in table(10)
    )
    matched, _ = tilting.match(log_policy + reward, agreement, 0.4)
    np.testing.assert_allclose(mean(matched, agreement), 0.4, atol=1e-5)
