"""Tilts and what holds them back, against exact sums in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, optimize, special

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


# ---------------------------------------------- the beta of a wanted divergence


def test_inverse_temperature_by_hand():
  """Of two answers one logit apart, nine to one is log 9."""
  wanted = np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)

  def divergence(beta):
    log_policy = decoding.tilted(np.log([0.5, 0.5]), np.array([1.0, 0.0]), beta)
    return jnp.sum(jnp.exp(log_policy) * (log_policy - np.log(0.5)))

  found = tilting.inverse_temperature(divergence, wanted)
  assert found == pytest.approx(np.log(9), rel=1e-12)


def test_inverse_temperature_against_scipy():
  rng = np.random.default_rng(31)
  reward = rng.normal(size=(20, 9))

  def divergence(beta):
    """Of people and prompts on average."""
    policy = special.softmax(beta * reward, -1)
    return special.rel_entr(policy, 1 / 9).sum(-1).mean()

  for wanted in (1e-4, 0.5, 1.5):
    best = optimize.brentq(lambda b, kl=wanted: divergence(b) - kl, 1e-3, 1e3)
    found = tilting.inverse_temperature(divergence, wanted)
    assert found == pytest.approx(best, rel=1e-9)


def test_inverse_temperature_ends_where_nothing_is_as_wanted():
  options = {'least': 0.1, 'most': 10.0}
  small = tilting.inverse_temperature(lambda beta: 0.0, 1.0, **options)
  assert small == pytest.approx(10.0)
  large = tilting.inverse_temperature(lambda beta: 2.0, 1.0, **options)
  assert large == pytest.approx(0.1)
  # Few steps are exact to the width that is left.
  coarse = tilting.inverse_temperature(
    lambda beta: beta, 2.0, **options, steps=14
  )
  assert np.log(coarse / 2.0) == pytest.approx(0, abs=np.log(100) / 2**14)
  assert coarse != 2.0


@pytest.mark.parametrize('ends', [(0.0, 1.0), (2.0, 1.0)])
def test_inverse_temperature_needs_an_interval(ends):
  with pytest.raises(ValueError, match='give 0 < least < most'):
    tilting.inverse_temperature(float, 1.0, least=ends[0], most=ends[1])


# -------------------------------------------------------------------- tilts


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
    divergence,
    log_policy,
    method='SLSQP',
    constraints={
      'type': 'ineq',
      'fun': lambda z: base - special.softmax(z) @ agreement,
    },
    options={'ftol': 1e-14, 'maxiter': 500},
  )
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
    loss,
    log_population,
    method='SLSQP',
    constraints={'type': 'ineq', 'fun': room},
    options={'ftol': 1e-14, 'maxiter': 500},
  )
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
  width = np.ptp(log_policy)
  assert strength == pytest.approx(50.0 + width)
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


@pytest.mark.parametrize('seed', [11, 12])
def test_at_least_is_the_closest_policy_that_keeps_the_floor(seed):
  log_policy, feature, _ = (leaf[0] for leaf in table(seed, rows=1))
  floor = 0.5 * (mean(log_policy, feature) + feature.max())  # it binds

  def divergence(logits):
    log_pi = special.log_softmax(logits)
    return np.sum(np.exp(log_pi) * (log_pi - log_policy))

  found = optimize.minimize(
    divergence,
    log_policy,
    method='SLSQP',
    constraints={
      'type': 'ineq',
      'fun': lambda z: special.softmax(z) @ feature - floor,
    },
    options={'ftol': 1e-15, 'maxiter': 500},
  )
  ours, unreachable = tilting.at_least(log_policy, feature, floor)
  assert not unreachable
  np.testing.assert_allclose(mean(ours, feature), floor, atol=1e-12)
  np.testing.assert_allclose(special.softmax(found.x), np.exp(ours), atol=1e-5)


def test_at_least_changes_only_the_rows_that_miss_the_floor():
  log_policy, feature, _ = table(13)
  before = mean(log_policy, feature)
  floor = before + np.array([-0.5, 0.1, -1e-9, 0.2, 0.0])
  ours, unreachable = tilting.at_least(log_policy, feature, floor)
  after = mean(ours, feature)
  np.testing.assert_array_equal(
    ours[np.array([0, 2, 4])], log_policy[[0, 2, 4]]
  )
  np.testing.assert_allclose(after[[1, 3]], floor[[1, 3]], atol=1e-12)
  assert not np.asarray(unreachable).any()


def test_at_least_says_where_no_answer_reaches_the_floor():
  log_policy, feature, _ = table(14, rows=3)
  floor = feature.max(-1) + np.array([0.1, -0.1, 5.0])
  ours, unreachable = tilting.at_least(log_policy, feature, floor)
  np.testing.assert_array_equal(unreachable, [True, False, True])
  best = feature.max(-1)
  short = best - mean(ours, feature)
  assert (short[[0, 2]] < 0.01).all()  # as near as can be
  np.testing.assert_allclose(mean(ours, feature)[1], floor[1], atol=1e-12)


def covariance(log_policy, one, other):
  pi = np.exp(log_policy)
  middle = np.sum(pi * other, -1, keepdims=True)
  return np.sum(pi * one * (other - middle), -1)


def test_residual_is_uncorrelated_with_the_feature_and_keeps_the_rest():
  log_policy, reward, _ = table(15)
  feature = table(16)[1]
  left = np.asarray(tilting.residual(log_policy, reward, feature))
  np.testing.assert_allclose(
    covariance(log_policy, left, feature), 0.0, atol=1e-13
  )
  # What was taken is a multiple of the centred feature: weighted regression.
  for row in range(5):
    weight = np.exp(0.5 * log_policy[row])
    design = np.stack([np.ones(Y), feature[row]], 1) * weight[:, None]
    fit = np.linalg.lstsq(design, reward[row] * weight, rcond=None)[0]
    plain = reward[row] - fit[0] - fit[1] * feature[row]
    plain = plain + np.exp(log_policy[row]) @ reward[row]
    np.testing.assert_allclose(left[row], plain, atol=1e-12)


@pytest.mark.parametrize('constant', [0.0, 0.7, 100.0])
def test_residual_is_the_reward_where_the_feature_is_constant(constant):
  with jax.enable_x64(False):
    log_policy, reward, _ = (
      jnp.asarray(leaf, jnp.float32) for leaf in table(17)
    )
    feature = jnp.full_like(reward, constant)
    left = tilting.residual(log_policy, reward, feature)
    np.testing.assert_allclose(left, reward, atol=1e-5)


def test_project_leaves_the_orthogonal_part_and_takes_the_other_from_onto():
  rng = np.random.default_rng(18)
  vector, onto, direction = (rng.normal(size=s) for s in ((7, 4), 4, 4))
  found = np.asarray(tilting.project(vector, direction, onto))
  np.testing.assert_allclose(
    found @ direction, np.full(7, onto @ direction), atol=1e-13
  )
  basis = linalg.null_space(direction[None])
  np.testing.assert_allclose(found @ basis, vector @ basis, atol=1e-13)
  np.testing.assert_allclose(
    np.asarray(tilting.project(vector, 3 * direction)) @ direction,
    0.0,
    atol=1e-13,
  )
  np.testing.assert_array_equal(
    tilting.project(vector, np.zeros(4), onto), vector
  )


def test_bridging_lies_between_the_minimum_and_the_mean():
  reward = np.random.default_rng(19).normal(size=(3, 5))
  np.testing.assert_allclose(
    tilting.bridging(reward, 1e-3), reward.min(0), atol=2e-3
  )
  np.testing.assert_allclose(
    tilting.bridging(reward, 1e6), reward.mean(0), atol=1e-5
  )
  found = np.asarray(tilting.bridging(reward, 0.5))
  plain = -0.5 * np.log(np.mean(np.exp(-reward / 0.5), 0))
  np.testing.assert_allclose(found, plain, atol=1e-13)
  assert ((reward.min(0) < found) & (found < reward.mean(0))).all()


def test_bridging_of_one_group_or_of_equal_groups_is_their_reward():
  reward = np.random.default_rng(20).normal(size=(1, 5))
  for groups in (reward, np.repeat(reward, 4, 0)):
    np.testing.assert_allclose(
      tilting.bridging(groups, 0.3), reward[0], atol=1e-13
    )


def test_lower_bound_is_the_centring_matrix_s():
  rng = np.random.default_rng(21)
  root = rng.normal(size=(3, Y, Y))
  score, spread = rng.normal(size=(3, Y)), root @ np.swapaxes(root, -1, -2)
  centre = np.eye(Y) - 1 / Y
  deviation = np.sqrt(np.stack([np.diag(centre @ c @ centre) for c in spread]))
  np.testing.assert_allclose(
    tilting.lower_bound(score, spread, 1.7), score - 1.7 * deviation, atol=1e-12
  )
  common = np.full((3, Y, Y), 4.0)  # everything moves together
  np.testing.assert_allclose(
    tilting.lower_bound(score, common, 1.7), score, atol=1e-6
  )


def gaussians(seed, n=4000):
  rng = np.random.default_rng(seed)
  vector = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 3))
  return vector, vector @ [0.3, -0.5, 0.2] + 0.7 * rng.normal(size=n)


def nats(vector, scalar):
  """By the determinants of second moments."""
  both = np.concatenate([vector, scalar[:, None]], 1)
  moment = both.T @ both / len(both)
  whole = np.linalg.slogdet(moment)[1]
  parts = np.linalg.slogdet(moment[:3, :3])[1] + np.log(moment[3, 3])
  return 0.5 * (parts - whole)


def test_information_of_correlated_gaussians():
  for rho in (0.3, 0.9):
    rng = np.random.default_rng(22)
    one, noise = rng.normal(size=(2, 100_000))
    other = rho * one + np.sqrt(1 - rho**2) * noise
    found = tilting.information(one[:, None], other, np.ones(100_000))
    assert float(found) == pytest.approx(-0.5 * np.log(1 - rho**2), rel=0.02)
  vector, scalar = gaussians(23)
  found = float(tilting.information(vector, scalar, np.ones(len(scalar))))
  assert found == pytest.approx(nats(vector, scalar), rel=0.01)


def test_information_of_independent_gaussians_is_about_zero():
  rng = np.random.default_rng(24)
  found = [
    float(tilting.information(v[:, :3], v[:, 3], np.ones(2000)))
    for v in rng.normal(size=(20, 2000, 4))
  ]
  # J / (2 N), as of any regression on noise.
  assert np.mean(found) == pytest.approx(3 / 4000, rel=0.5)


def test_information_counts_no_masked_rows():
  vector, scalar = gaussians(25, n=200)
  junk = np.random.default_rng(0).normal(size=(50, 3))
  padded = tilting.information(
    np.concatenate([vector, junk]),
    np.concatenate([scalar, 9 * junk[:, 0]]),
    np.concatenate([np.ones(200), np.zeros(50)]),
  )
  plain = tilting.information(vector, scalar, np.ones(200))
  assert float(padded) == pytest.approx(float(plain), rel=1e-12)


def test_information_does_not_change_under_linear_maps():
  vector, scalar = gaussians(26)
  vector = np.linalg.qr(vector)[0] * np.sqrt(len(vector))
  want = nats(vector, scalar)
  rng = np.random.default_rng(27)
  for _ in range(5):
    left, _, right = np.linalg.svd(rng.normal(size=(3, 3)))
    linear = left @ np.diag([3.0, 1.0, 0.5]) @ right
    found = tilting.information(vector @ linear, 7 * scalar, np.ones(4000))
    assert float(found) == pytest.approx(want, rel=0.01)


def test_information_cannot_be_hidden_in_a_small_coordinate():
  """A base reward of a hundredth of the others' scale carries as much."""
  rng = np.random.default_rng(28)
  vector = rng.normal(size=(2000, 3))
  scalar = vector[:, 0] + rng.normal(size=2000)
  found = tilting.information(vector * [0.01, 1, 1], scalar, np.ones(2000))
  assert float(found) == pytest.approx(nats(vector, scalar), rel=0.02)


def test_information_of_what_determines_the_scalar_is_finite():
  vector = np.random.default_rng(29).normal(size=(100, 3))
  weight = np.ones(100)
  for scalar in (vector[:, 0], np.zeros(100)):
    assert np.isfinite(tilting.information(vector, scalar, weight))
  assert float(tilting.information(0 * vector, vector[:, 0], weight)) == 0


@pytest.mark.parametrize('kind', ['normal', 'probe', 'binary'])
def test_match_arrives_wherever_it_can(kind):
  # Newton alone went to and fro for one row in twenty thousand of these.
  rng = np.random.default_rng(0)
  with jax.enable_x64(False):
    log_policy = jax.nn.log_softmax(
      jnp.asarray(3 * rng.normal(size=(20_000, 64)), jnp.float32), -1
    )
    normal = rng.normal(size=log_policy.shape)
    feature = {
      'normal': normal,
      'probe': np.tanh(3 * normal),
      'binary': (normal > 0).astype(float),
    }[kind]
    other = rng.dirichlet(np.full(64, 0.2), size=len(normal))
    target = np.sum(other * feature, -1)
    matched, _ = tilting.match(
      log_policy, jnp.asarray(feature, jnp.float32), target
    )
    np.testing.assert_allclose(mean(matched, feature), target, atol=5e-6)


@pytest.mark.parametrize('scale', [0.1, 1.0, 8.0])
def test_match_reaches_every_target_within_the_answers_in_float32(scale):
  rng = np.random.default_rng(30)
  rows = 400
  log_policy = special.log_softmax(scale * rng.normal(size=(rows, Y)), -1)
  feature = rng.normal(size=(rows, Y))
  feature[::4] = (feature[::4] > 0) * 1.0
  feature[1::4, 0] = 20.0  # one that stands out
  feature[:, 1:3] = [0, 1]
  target = mean(np.log(rng.dirichlet(np.ones(Y), rows)), feature)
  with jax.enable_x64(False):
    given = (jnp.asarray(a, jnp.float32) for a in (log_policy, feature, target))
    matched, _ = tilting.match(*given)
  error = np.abs(mean(np.asarray(matched, float), feature) - target)
  assert (error < 2e-6 * np.ptp(feature, axis=-1)).all()
