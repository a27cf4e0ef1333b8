"""What is served under a safeguard, against sums in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import types
from prm_jax.audits import echo_chamber, served
from prm_jax.ops import bayes, tilting
from prm_jax.rewards import factorized
from prm_jax.safeguards import adaptive, composition, policy_level
from prm_jax.users import gaussian

S, K, J, U = 10, 8, 5, 20
STANCE, AGREES = 0, 1  # coordinates of the features; the others are tastes
MEAN = np.array([0.0, 0.0, 0.5, 0.0, -0.5], np.float32)
BETA, REFERENCE_BETA = 1.5, 0.7


def nothing(options):
  del options
  return composition.none()


def matching(options):
  del options
  return policy_level.matching()


def floor(options):
  return adaptive.constitutional_floor(measure='stance', least=options)


def candidates(seed=0, versions=1):
  """Features `[V, S, K, J]` and values `[S, K, 2]`: stance and a taste."""
  rng = np.random.default_rng(seed)
  stance = rng.choice([-1.0, 1.0], (S, K))
  tastes = rng.normal(size=(S, K, 3))
  said = (-1, 0, 1) if versions == 3 else (0,)
  features = np.stack(
    [
      np.concatenate([np.stack([stance, stance * s], -1), tastes], -1)
      for s in said
    ]
  )
  return features.astype(np.float32), np.stack([stance, tastes[..., 0]], -1)


def fitted(seed=1, spread=(1, 1, 1, 1, 1)):
  rng = np.random.default_rng(seed)
  weights = MEAN + rng.normal(size=(U, J)) * np.asarray(spread)
  system = types.System(factorized.identity(), gaussian.gaussian(dim=J))
  params = {'reward': {}, 'user': bayes.isotropic_prior(jnp.asarray(MEAN), 1.0)}
  contexts = gaussian.Context(
    jnp.asarray(weights, jnp.float32), jnp.zeros((U, J, J))
  )
  return served.Model(system, params, contexts)


def pool_of(model, features, values, reference=MEAN):
  stance = values[..., 0].astype(np.float32)
  return served.prompts(
    model,
    features,
    values,
    features @ reference,
    {'stance': stance, 'anchor': stance},
  )


@pytest.fixture(scope='module')
def model():
  return fitted()


def serving(model, build=nothing, *, plain=False, options=None):
  rule = served.Rule(model.system, build, plain=plain)
  return served.Serving(rule, model, options, REFERENCE_BETA)


def serve(model, pool, build=nothing, *, version=None, beta=BETA, plain=False):
  how = serving(model, build, plain=plain)
  version = np.zeros(U, int) if version is None else version
  return how.expect(pool, how.profiles(version, jnp.zeros(U)), beta)


def softmax(model, features, beta=BETA):
  """`[U, S, K]` by the reward alone, of one version."""
  score = np.einsum('uj,skj->usk', model.contexts.mean, features)
  return special.softmax(beta * score, -1)


def test_expectations_are_sums_over_a_tilted_policy(model):
  features, values = candidates()
  found = serve(model, pool_of(model, features, values))
  policy = softmax(model, features[0])
  np.testing.assert_allclose(
    found.axes, np.einsum('usk,ska->usa', policy, values), atol=1e-5
  )
  away = special.xlogy(policy, policy).sum(-1) + np.log(K)
  np.testing.assert_allclose(found.divergence, away, atol=1e-5)


def test_everybody_is_served_their_own_version(model):
  features, values = candidates(versions=3)
  version = np.arange(U) % 3
  found = serve(model, pool_of(model, features, values), version=version)
  for v in range(3):
    policy = softmax(model, features[v])[version == v]
    np.testing.assert_allclose(
      found.axes[version == v],
      np.einsum('usk,ska->usa', policy, values),
      atol=1e-5,
    )


def test_temperature_has_the_divergence_that_is_wanted(model):
  features, values = candidates()
  pool, how = pool_of(model, features, values), serving(model)
  everybody = how.profiles(np.zeros(U, int), jnp.zeros(U))
  beta = how.temperature(pool, everybody, 0.4)
  found = serve(model, pool, beta=beta)
  assert float(found.divergence.mean()) == pytest.approx(0.4, rel=1e-3)
  # More than the candidates allow: the largest.
  far = how.temperature(pool, everybody, 9.0)
  assert far == pytest.approx(40.0, rel=1e-3)


def test_the_aggregate_is_its_own_reference(model):
  features, values = candidates()
  pool = pool_of(model, features, values)
  nobody = model._replace(
    contexts=model.contexts._replace(
      mean=jnp.broadcast_to(jnp.asarray(MEAN), (U, J))
    )
  )
  how = serving(nobody, matching)
  own = how._replace(reference_beta=None)
  everybody = how.profiles(np.zeros(U, int), jnp.zeros(U))
  bare = serve(nobody, pool).axes
  # Held to itself it stays as it is; held to a cooler one it does not.
  np.testing.assert_allclose(
    own.expect(pool, everybody, BETA).axes, bare, atol=1e-4
  )
  assert np.abs(how.expect(pool, everybody, BETA).axes - bare).max() > 0.05


def test_matching_holds_everybody_to_the_aggregate(model):
  features, values = candidates()
  pool = pool_of(model, features, values)
  reference = special.softmax(REFERENCE_BETA * features[0] @ MEAN, -1)
  wanted = (reference * values[..., 0]).sum(-1)
  found = serve(model, pool, matching).axes[..., 0]
  np.testing.assert_allclose(found, np.tile(wanted, (U, 1)), atol=1e-4)
  assert np.abs(serve(model, pool).axes[..., 0] - wanted).max() > 0.3


def test_plain_holds_them_to_what_is_served_to_who_says_nothing(model):
  features, values = candidates(versions=3)
  flatters = MEAN.copy()
  flatters[AGREES] = 2.0
  pool = pool_of(model, features, values, flatters)
  version = np.repeat([0, 2], U // 2)

  def means(v):
    policy = special.softmax(REFERENCE_BETA * features[v] @ flatters, -1)
    return (policy * values[..., 0]).sum(-1)

  plain = serve(model, pool, matching, version=version, plain=True)
  said = serve(model, pool, matching, version=version)
  np.testing.assert_allclose(
    plain.axes[..., 0], np.tile(means(1), (U, 1)), atol=1e-4
  )
  np.testing.assert_allclose(
    said.axes[..., 0], np.stack([means(v) for v in version]), atol=1e-4
  )
  assert np.abs(means(0) - means(2)).max() > 0.3


def test_carried_strengths_are_those_of_the_other_candidates(model):
  one, other = candidates(0), candidates(1)
  pools = [pool_of(model, *each) for each in (one, other)]
  how = serving(model)
  everybody = how.profiles(np.zeros(U, int), jnp.zeros(U))

  def carried(pool, fresh):
    return how.carry(pool, fresh, everybody, BETA)

  same, matched = carried(pools[0], pools[0]), serve(model, pools[0], matching)
  np.testing.assert_allclose(same.axes, matched.axes, atol=1e-4)
  # By hand: the strength on one pool moves the policy on the other.
  log_policy = np.log(softmax(model, one[0][0]))
  reference = special.softmax(REFERENCE_BETA * one[0][0] @ MEAN, -1)
  target = (reference * one[1][..., 0]).sum(-1)
  _, strength = tilting.match(
    jnp.asarray(log_policy), jnp.asarray(one[1][..., 0]), target
  )
  moved = np.log(softmax(model, other[0][0]))
  moved += np.asarray(strength)[..., None] * other[1][..., 0]
  wanted = np.einsum('usk,ska->usa', special.softmax(moved, -1), other[1])
  np.testing.assert_allclose(carried(*pools).axes, wanted, atol=1e-3)


def test_leanings_are_to_the_side_that_a_person_is_weighted_to():
  tastes_alone = fitted(spread=(0, 1, 0, 0, 0))
  features, values = candidates(versions=3)
  stance = values[..., 0]

  def leanings(model):
    return np.asarray(served.leanings(model, model.encode(features), stance))

  # Who likes agreement leans to no side where nobody says theirs.
  np.testing.assert_allclose(leanings(tastes_alone), 0.0, atol=1e-5)
  model = fitted(spread=(1, 0, 0, 0, 0))
  own = np.asarray(model.contexts.mean[:, STANCE])
  np.testing.assert_array_equal(np.sign(leanings(model)), np.sign(own))


def test_bridging_is_of_both_groups_or_of_the_one_that_there_is():
  features, values = candidates()
  model = fitted(spread=(1, 0, 0, 0, 0))
  groups = np.sign(model.contexts.mean[:, STANCE])
  score = np.stack(
    [
      features[0] @ np.asarray(model.contexts.mean)[groups == side].mean(0)
      for side in (1, -1)
    ]
  )
  wanted = -0.5 * np.log(np.exp(-score / 0.5).mean(0))
  found = pool_of(model, features, values).measures['bridging']
  np.testing.assert_allclose(found[0], wanted, atol=1e-4)
  alike = model._replace(
    contexts=model.contexts._replace(
      mean=jnp.broadcast_to(jnp.asarray(MEAN), (U, J))
    )
  )
  found = pool_of(alike, features, values).measures['bridging']
  np.testing.assert_allclose(found[0], features[0] @ MEAN, atol=1e-4)


def test_some_prompts_and_the_menu_of_plain_ones(model):
  features, values = candidates(versions=3)
  pool = pool_of(model, features, values)
  chosen = np.arange(S) % 2 == 1
  some = pool.take(chosen)
  np.testing.assert_array_equal(some.encoded, features[:, chosen])
  np.testing.assert_array_equal(
    some.measures['stance'], pool.measures['stance'][:, chosen]
  )
  menu = pool.menu(stance=0)
  np.testing.assert_array_equal(menu.encoded, features[1])
  np.testing.assert_array_equal(menu.stance, pool.values[..., 0])
  assert menu.measures['bridging'].shape == (S, K)


def test_the_loop_leaves_the_safeguards_states(model):
  features, values = candidates()
  pool = pool_of(model, features, values)
  people = echo_chamber.People(
    number=jnp.arange(U),
    weights=jnp.zeros((U, 2)),
    love=jnp.zeros(U),
    opinion=jnp.linspace(-1, 1, U),
    innate=jnp.linspace(-1, 1, U),
    neighbours=jnp.zeros((U, 0), int),
  )
  answered = types.Pair(
    jnp.zeros((U, 2, 2, J)), jnp.ones((U, 2)), jnp.ones((U, 2))
  )
  beliefs = echo_chamber.believe(model.system, model.params['user'], answered)
  how = serving(model, floor, options=jnp.float32(0.9))
  trace, state = how.loop(
    jax.random.key(0),
    people,
    pool.menu(stance=0),
    (beliefs, jnp.zeros(U)),
    BETA,
    rounds=3,
    pool=4,
  )
  assert trace.opinion.shape == (3, U)
  np.testing.assert_array_equal(state.answers, 3.0)
  np.testing.assert_allclose(state.served, trace.stance.sum(0), atol=1e-6)
