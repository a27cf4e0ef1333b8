"""What every registered safeguard promises; the registry adds its cases."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import registry, types
from prm_jax.rewards import factorized
from prm_jax.safeguards import composition
from prm_jax.users import gaussian

S, K, J, U, BETA = 4, 6, 3, 3, 0.8
LEVELS = {
  'context': ['projection'],
  'policy': ['bridging', 'floor', 'matching', 'trust_region'],
}
LEVEL = {kind: level for level, kinds in LEVELS.items() for kind in kinds}
KINDS = sorted(registry.SAFEGUARDS)
# With an aim of their own, whatever the aggregate serves.
OWN_AIM = {
  'agreement_penalty',
  'constitutional_floor',
  'exposure',
  'preference_shift',
}


def build(kind):
  options = registry.SAFEGUARDS[kind].small().options
  return registry.build('safeguard', {'kind': kind, **options})


def float32(tree):
  return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def world(seed=0):
  """Candidates, three people, the population, and what a guard is told."""
  rng = np.random.default_rng(seed)
  encoded = rng.normal(size=(S, K, J))
  mean, factor = 0.5 * rng.normal(size=J), np.eye(J)
  contexts = gaussian.Context(
    mean + rng.normal(size=(U, J)),
    0.5 * np.tril(rng.normal(size=(U, J, J))) + 0.5 * np.eye(J),
  )
  log_base = special.log_softmax(0.5 * rng.normal(size=(S, K)), -1)
  score = encoded @ mean
  guard = types.Guard(
    log_base=log_base,
    log_reference=special.log_softmax(log_base + BETA * score, -1),
    reference=score,
    measures={
      'stance': np.tile([1.0, -1.0, 0.0], (S, 2)),
      'truth': (rng.random((S, K)) < 0.5) * 1.0,
      'factual': np.broadcast_to([[1.0], [0.0]] * (S // 2), (S, K)),
      'anchor': rng.normal(size=(S, K)),
      'bridging': rng.normal(size=(S, K)),
      'quality': rng.normal(size=(S, K)),
    },
    leaning=0.7,
    beta=BETA,
  )
  population = gaussian.Context(mean, factor)
  return float32((encoded, contexts, population, guard))


def served(guard, pick):
  found = {name: m[0, pick] for name, m in guard.measures.items()}
  most = {f'most {name}': m[0].max() for name, m in guard.measures.items()}
  return {**found, **most}


def system(safeguard):
  return types.System(factorized.identity(), gaussian.online(dim=J), safeguard)


def everybody_served(safeguard, encoded, contexts, population, guard, states):
  def one(context, state):
    return composition.served_policy(
      system(safeguard),
      {'reward': {}},
      encoded,
      context,
      population,
      guard,
      state,
    )

  return jax.vmap(one)(contexts, states)


def person(tree, row):
  return jax.tree.map(lambda leaf: leaf[row : row + 1], tree)


@pytest.fixture(scope='module', params=KINDS)
def made(request):
  """A safeguard, its compiled policy, and states after two answers."""
  safeguard = build(request.param)
  run = jax.jit(functools.partial(everybody_served, safeguard))
  guard = world()[-1]
  states = composition.everybody(safeguard, U)
  for pick in (0, 3):
    seen = served(guard, pick)
    states = jax.vmap(
      lambda state, _, seen=seen: safeguard.observe(state, seen)
    )(states, jnp.arange(U))
  return request.param, safeguard, run, states


def test_the_card_says_what_it_bounds_costs_and_where_it_fails(made):
  card = made[1].card
  assert made[1].name
  assert all(isinstance(words, str) and len(words) > 10 for words in card)
  assert len(set(card)) == 3


def test_what_is_served_is_a_policy(made):
  _, _, run, states = made
  log_policy = run(*world(), states)
  assert log_policy.shape == (U, S, K)
  total = special.logsumexp(np.asarray(log_policy, float), -1)
  np.testing.assert_allclose(total, 0.0, atol=1e-5)


def test_a_population_of_one_is_served_as_among_others(made):
  _, safeguard, run, states = made
  encoded, contexts, population, guard = world()
  together = run(encoded, contexts, population, guard, states)
  alone = run(
    encoded, person(contexts, 2), population, guard, person(states, 2)
  )
  np.testing.assert_allclose(alone[0], together[2], atol=1e-5)
  blank = composition.everybody(safeguard, 1)
  jax.tree.map(
    lambda leaf, b: np.testing.assert_array_equal(leaf[0], b),
    blank,
    safeguard.init(),
  )


def test_nothing_personal_is_served_to_who_is_as_everybody(made):
  kind, _, run, states = made
  if kind in OWN_AIM:
    pytest.skip('has an aim of its own')
  encoded, _, population, guard = world()
  same = gaussian.Context(
    jnp.broadcast_to(population.mean, (U, J)), jnp.zeros((U, J, J))
  )
  log_policy = run(encoded, same, population, guard, states)
  for row in log_policy:
    np.testing.assert_allclose(row, guard.log_reference, atol=2e-5)


@pytest.mark.parametrize('constant', [0.0, 1.0])
def test_nothing_varies_and_nothing_is_nan(made, constant):
  _, _, run, states = made
  encoded, contexts, population, guard = world()
  flat = jax.tree.map(lambda m: jnp.full_like(m, constant), guard.measures)
  for features in (encoded, jnp.full_like(encoded, constant)):
    log_policy = run(
      features, contexts, population, guard._replace(measures=flat), states
    )
    assert np.isfinite(log_policy).all()


def test_measures_of_a_constant_do_not_change_rewards(made):
  _, _, run, states = made
  encoded, contexts, population, guard = world()
  flat = jax.tree.map(jnp.ones_like, guard.measures)
  log_policy = run(
    encoded, contexts, population, guard._replace(measures=flat), states
  )
  read = run(encoded, contexts, population, guard, states)
  if np.abs(np.exp(read) - np.exp(log_policy)).max() < 1e-6:
    pytest.skip('reads no measure')
  score = np.einsum('skj,uj->usk', encoded, contexts.mean)
  own = special.log_softmax(np.asarray(guard.log_base) + BETA * score, -1)
  np.testing.assert_allclose(log_policy, own, atol=2e-5)


def test_a_reset_person_is_blank_and_others_are_as_they_were(made):
  _, safeguard, _, states = made
  after = composition.reset(safeguard, states, jnp.array([1]))
  blank = composition.everybody(safeguard, U)

  def check(new, old, b):
    np.testing.assert_array_equal(new[1], b[1])
    np.testing.assert_array_equal(new[np.array([0, 2])], old[np.array([0, 2])])
    assert new.dtype == old.dtype

  jax.tree.map(check, after, states, blank)
  if jax.tree.leaves(states):  # two answers have left a trace
    changed = jax.tree.map(lambda s, b: bool(jnp.any(s != b)), states, blank)
    assert any(jax.tree.leaves(changed))


def test_what_is_kept_of_a_person_is_plain_data(made):
  _, safeguard, _, states = made
  found = composition.inspect(safeguard, states, 1)
  assert json.loads(json.dumps(found)) == found
  assert found['safeguard'] == safeguard.name
  assert found['bounds'] == safeguard.card.bounds
  values = np.concatenate(
    [np.ravel(v) for v in found['state'].values()] or [[]]
  )
  leaves = [np.ravel(leaf[1]) for leaf in jax.tree.leaves(states)]
  np.testing.assert_allclose(values, np.concatenate(leaves or [[]]))


def at_each_level(safeguard, state, seed=0):
  """What a safeguard makes of a context, rewards, a policy, and answers."""
  encoded, contexts, population, guard = world(seed)
  context = jax.tree.map(lambda leaf: leaf[0], contexts)
  rows = jax.tree.map(
    lambda leaf: jnp.broadcast_to(leaf, (S, *leaf.shape)), context
  )
  output = factorized.identity().score({}, encoded, rows)
  return (
    safeguard.context(state, context, population),
    safeguard.reward(state, output, guard),
    safeguard.policy(state, output.score, guard),
  )


def assert_same(one, other, atol=1e-6):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other
  )


def test_a_chain_of_one_is_the_safeguard(made):
  _, safeguard, _, states = made
  alone = composition.chain(safeguard)
  assert alone.name == safeguard.name
  assert alone.card == safeguard.card
  state = jax.tree.map(lambda leaf: leaf[0], states)
  assert_same(at_each_level(alone, (state,)), at_each_level(safeguard, state))
  assert_same(alone.init(), (safeguard.init(),))
  seen = served(world()[-1], 2)
  assert_same(alone.observe((state,), seen), (safeguard.observe(state, seen),))


# ------------------------------------------------------- orders in a chain


@pytest.fixture(scope='module')
def compiled():
  """Every safeguard with levels that are compiled once."""
  return {
    kind: made._replace(
      context=jax.jit(made.context),
      reward=jax.jit(made.reward),
      policy=jax.jit(made.policy),
    )
    for kind, made in ((kind, build(kind)) for kind in KINDS)
  }


def chained(*parts, seed=0):
  """The policy of a chain that has seen two answers."""
  encoded, contexts, population, guard = world(seed)
  safeguard = composition.chain(*parts)
  state = safeguard.init()
  for pick in (0, 3):
    state = safeguard.observe(state, served(guard, pick))
  context = jax.tree.map(lambda leaf: leaf[0], contexts)
  return composition.served_policy(
    system(safeguard),
    {'reward': {}},
    encoded,
    context,
    population,
    guard,
    state,
  )


@pytest.fixture(scope='module')
def gap(compiled):
  """By how much the order of two safeguards changes what is served."""
  return {
    (a, b): max(
      float(
        jnp.abs(
          jnp.exp(chained(compiled[a], compiled[b], seed=seed))
          - jnp.exp(chained(compiled[b], compiled[a], seed=seed))
        ).max()
      )
      for seed in range(3)
    )
    for a, b in itertools.combinations(KINDS, 2)
  }


def test_safeguards_of_different_levels_commute(gap):
  for (a, b), size in gap.items():
    if LEVEL.get(a, 'reward') != LEVEL.get(b, 'reward'):
      assert size < 2e-5, (a, b)


ADDED = ['constitutional_floor', 'exposure', 'preference_shift']  # state alone
LINEAR = ['empirical_shrinkage', 'residual', 'shrinkage']  # in r - r_pop
AT_ONE_LEVEL = {
  *itertools.combinations(ADDED, 2),
  *itertools.combinations(LINEAR, 2),
  *(tuple(sorted((kind, 'lower_bound'))) for kind in ADDED),
  # Both the deviation and its square root of a variance are scaled.
  ('lower_bound', 'shrinkage'),
  ('empirical_shrinkage', 'lower_bound'),
}


def test_what_commutes_at_one_level(gap):
  named = {kind for pair in AT_ONE_LEVEL for kind in pair}
  for (a, b), size in gap.items():
    if LEVEL.get(a, 'reward') == LEVEL.get(b, 'reward'):
      if (a, b) in AT_ONE_LEVEL:
        assert size < 2e-5, (a, b)
      elif {a, b} <= named:
        assert size > 1e-4, (a, b)


def test_matching_has_to_act_last(compiled):
  *_, guard = world()
  z = np.asarray(guard.measures['anchor'], float)
  wanted = np.sum(np.exp(np.asarray(guard.log_reference, float)) * z, -1)

  def missed(*kinds):
    log_policy = chained(*(compiled[kind] for kind in kinds))
    found = np.sum(np.exp(np.asarray(log_policy, float)) * z, -1)
    return np.abs(found - wanted).max()

  for before in set(KINDS) - {'matching'}:
    assert missed(before, 'matching') < 1e-5, before
  assert missed('matching', 'trust_region') > 0.01


def test_a_chain_of_nothing_does_nothing(compiled):
  empty, nothing = composition.chain(), composition.none()
  assert empty.name == nothing.name
  assert empty.card == nothing.card
  state = empty.init()
  assert empty.observe(state, served(world()[-1], 0)) == state
  assert_same(at_each_level(empty, state), at_each_level(nothing, ()))
  one = compiled['matching']
  assert_same(chained(one, nothing), chained(one))
  assert_same(chained(nothing, one), chained(one))


@pytest.mark.parametrize(
  'kinds',
  [
    ('agreement_penalty', 'residual', 'exposure'),
    ('matching', 'trust_region', 'floor'),
    ('projection', 'lower_bound', 'matching'),
  ],
)
def test_chains_are_associative(compiled, kinds):
  a, b, c = (compiled[kind] for kind in kinds)
  flat = chained(a, b, c)
  left = composition.chain(composition.chain(a, b), c)
  right = composition.chain(a, composition.chain(b, c))
  assert left.name == right.name == composition.chain(a, b, c).name
  assert left.card == right.card == composition.chain(a, b, c).card
  assert_same(chained(left), flat)
  assert_same(chained(right), flat)
