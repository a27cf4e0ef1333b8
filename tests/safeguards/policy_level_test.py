"""Safeguards of policies: what is served, whatever the rewards were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import types
from prm_jax.ops import tilting
from prm_jax.safeguards import composition, policy_level

U, S, K = 5, 4, 10


def world(seed=0, scale=1.0):
  """Policies `[U, S, K]` of people with tastes, and a guard."""
  rng = np.random.default_rng(seed)
  groups = jnp.asarray(rng.normal(size=(3, S, K)), jnp.float32)
  guard = types.Guard(
    log_base=jnp.full((S, K), -np.log(K), jnp.float32),
    log_reference=special.log_softmax(rng.normal(size=(S, K)), -1),
    reference=jnp.zeros((S, K)),
    measures={
      'anchor': rng.choice([-1.0, 1.0], (S, K)),
      'truth': rng.random((S, K)),
      'bridging': tilting.bridging(groups, 0.1),
    },
    leaning=0.0,
    beta=1.0,
  )
  guard = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), guard)
  tastes = rng.normal(size=(U, S, K)) + 2 * rng.normal(
    size=(U, 1, 1)
  ) * np.asarray(guard.measures['anchor'])
  own = jnp.asarray(special.log_softmax(scale * tastes, -1), jnp.float32)
  return own, guard, np.asarray(groups, float)


def served(safeguard, own, guard):
  run = jax.vmap(lambda log_policy: safeguard.policy((), log_policy, guard))
  return np.asarray(jax.jit(run)(own), float)


def mean(log_policy, z):
  return np.sum(np.exp(np.asarray(log_policy, float)) * np.asarray(z), -1)


def divergence(log_policy, reference):
  gap = log_policy - np.asarray(reference, float)
  return np.sum(np.exp(log_policy) * gap, -1)


def test_matching_serves_everybody_the_aggregate_s_mean_of_each_prompt():
  own, guard, _ = world()
  z = guard.measures['anchor']
  wanted = np.broadcast_to(mean(guard.log_reference, z), (U, S))
  assert np.abs(mean(own, z) - wanted).max() > 0.3
  after = served(policy_level.matching(), own, guard)
  np.testing.assert_allclose(mean(after, z), wanted, atol=1e-6)
  # The closest policy: within a side, tastes keep their odds.
  for side in (-1, 1):
    where = np.asarray(z) == side
    change = np.where(where, after - np.asarray(own, float), np.nan)
    spread = np.nanmax(change, -1) - np.nanmin(change, -1)
    np.testing.assert_allclose(spread, 0.0, atol=1e-5)


@pytest.mark.parametrize('odds', [20.0, 40.0, 70.0])
def test_matching_holds_for_people_who_are_sure(odds):
  """Rewards times beta that speak `odds` nats for one side."""
  z = jnp.tile(jnp.array([-1.0, 1.0]), K // 2)[None]
  own = jax.nn.log_softmax(0.5 * odds * z, -1)
  _, guard, _ = world()
  guard = guard._replace(
    log_reference=jnp.full((1, K), -jnp.log(K)), measures={'anchor': z}
  )
  after = policy_level.matching().policy((), own, guard)
  np.testing.assert_allclose(mean(after, z), 0.0, atol=1e-6)


def test_trust_region_stays_within_the_radius_and_uses_it():
  own, guard, _ = world()
  after = served(policy_level.trust_region(radius=0.2), own, guard)
  away = divergence(after, guard.log_reference)
  before = divergence(np.asarray(own, float), guard.log_reference)
  assert (before > 0.2).any()
  assert away.max() <= 0.2 + 1e-5
  np.testing.assert_allclose(away, np.minimum(before, 0.2), atol=1e-5)
  # On the geodesic between the two: log-odds are mixed.
  mixed = after - np.asarray(guard.log_reference, float)
  full = np.asarray(own - guard.log_reference, float)
  for one, other in zip(mixed.reshape(-1, K), full.reshape(-1, K), strict=True):
    one, other = one - one.mean(), other - other.mean()
    np.testing.assert_allclose(
      one, one @ other / (other @ other) * other, atol=1e-4
    )


def test_trust_region_of_no_radius_is_the_aggregate_and_of_a_large_nothing():
  own, guard, _ = world()
  none = served(policy_level.trust_region(radius=0.0), own, guard)
  np.testing.assert_allclose(
    np.exp(none),
    np.broadcast_to(np.exp(guard.log_reference), own.shape),
    atol=1e-3,
  )
  free = served(policy_level.trust_region(radius=50.0), own, guard)
  np.testing.assert_allclose(free, own, atol=1e-5)


def test_floor_raises_who_is_below_and_leaves_others():
  own, guard, _ = world()
  z = guard.measures['truth']
  least = float(np.median(mean(own, z)))
  after = served(policy_level.floor(measure='truth', least=least), own, guard)
  below = mean(own, z) < least
  assert 0 < below.sum() < below.size
  np.testing.assert_allclose(
    mean(after, z), np.maximum(mean(own, z), least), atol=1e-6
  )
  np.testing.assert_array_equal(after[~below], np.asarray(own)[~below])


def test_floor_without_a_level_is_the_aggregate_s_mean():
  own, guard, _ = world()
  z = guard.measures['truth']
  after = served(policy_level.floor(measure='truth'), own, guard)
  wanted = np.maximum(mean(own, z), mean(guard.log_reference, z))
  np.testing.assert_allclose(mean(after, z), wanted, atol=1e-6)


def test_floor_beyond_reach_comes_near_and_is_told():
  own, guard, _ = world()
  z = np.asarray(guard.measures['truth'])
  least = float(np.sort(z.max(-1))[1]) + 1e-3  # two prompts cannot
  after = served(policy_level.floor(measure='truth', least=least), own, guard)
  told = np.asarray(policy_level.unreachable(guard.measures['truth'], least))
  np.testing.assert_array_equal(told, z.max(-1) < least)
  assert told.sum() == 2
  reached = np.broadcast_to(told, (U, S))
  assert (mean(after, z)[~reached] >= least - 1e-6).all()
  short = np.broadcast_to(z.max(-1), (U, S)) - mean(after, z)
  assert short[reached].max() < 0.05
  np.testing.assert_allclose(special.logsumexp(after, -1), 0.0, atol=1e-5)


def test_bridging_serves_what_the_groups_can_live_with():
  own, guard, groups = world()
  after = served(policy_level.bridging(), own, guard)
  soft = -0.1 * np.log(np.mean(np.exp(-groups / 0.1), 0))
  aggregate = mean(guard.log_reference, soft)
  assert (mean(own, soft) < aggregate - 0.01).any()
  assert (mean(after, soft) >= aggregate - 1e-5).all()
  made = policy_level.bridging(measure='truth')
  assert made.name != policy_level.floor(measure='truth').name
  assert made.card != policy_level.floor(measure='truth').card


def test_floors_that_can_be_kept_pass():
  measures = {'truth': jnp.array([[0.2, 0.9], [0.1, 0.5]])}
  policy_level.check_reachable({'truth': 0.69}, measures)
  policy_level.check_reachable({}, measures)


@pytest.mark.parametrize('level', [0.1, 0.3, 0.7, 0.9])
def test_a_floor_at_the_best_that_can_be_had_passes(level):
  policy_level.check_reachable(
    {'truth': level}, {'truth': jnp.full((3, 2), level)}
  )


def test_a_floor_beyond_reach_is_named_with_what_can_be_had():
  measures = {
    'civility': jnp.ones((2, 2)),
    'truth': jnp.array([[0.2, 0.9], [0.1, 0.5]]),
  }
  with pytest.raises(ValueError, match=r"infeasible.*0\.8 on 'truth'") as error:
    policy_level.check_reachable({'civility': 0.5, 'truth': 0.8}, measures)
  assert '0.7 on average' in str(error.value)
  assert '1 of 2 prompts' in str(error.value)
  assert 'civility' not in str(error.value)
  with pytest.raises(ValueError, match="'honesty': nobody measures it"):
    policy_level.check_reachable({'honesty': 0.1}, measures)


def test_names_and_strengths_can_be_traced():
  own, guard, _ = world()
  assert policy_level.floor(measure='truth', name='key').name == 'key'

  def run(radius):
    made = policy_level.trust_region(radius=radius)
    return made.policy((), own[0], guard)

  radii = np.array([0.01, 0.1])
  together = np.asarray(jax.jit(jax.vmap(run))(radii), float)
  away = divergence(together, guard.log_reference)
  np.testing.assert_allclose(
    away, np.broadcast_to(radii[:, None], away.shape), atol=1e-5
  )


def test_best_of_many_draws_can_be_matched():
  """Best-of-128 makes the worse half of the candidates very rare."""
  z = jnp.tile(jnp.array([-1.0, 1.0]), K // 2)[None]
  _, guard, _ = world()
  guard = guard._replace(
    log_base=jnp.full((1, K), -jnp.log(K)),
    log_reference=jnp.full((1, K), -jnp.log(K)),
    measures={'anchor': z},
  )
  score = z + 0.01 * jnp.arange(K)
  own = composition.best_of(128)(score, guard)
  after = policy_level.matching().policy((), own, guard)
  np.testing.assert_allclose(mean(after, z), 0.0, atol=1e-5)
