import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import types
from prm_jax.rewards import factorized
from prm_jax.safeguards import adaptive, composition, policy_level, reward_level
from prm_jax.users import gaussian

S, K, J, BETA = 3, 4, 2, 1.5


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def world(seed=0, prompts=S, candidates=K):
  rng = np.random.default_rng(seed)
  shape = prompts, candidates
  guard = types.Guard(
    log_base=jnp.asarray(special.log_softmax(rng.normal(size=shape), -1)),
    log_reference=jnp.full(shape, -np.log(candidates)),
    reference=jnp.full(shape, np.nan),  # is filled in
    measures={'anchor': jnp.asarray(rng.normal(size=shape))},
    leaning=jnp.zeros(()),
    beta=jnp.asarray(BETA),
  )
  encoded = jnp.asarray(rng.normal(size=(*shape, J)))
  own, everybody = (
    gaussian.Context(jnp.asarray(mean), jnp.eye(J))
    for mean in rng.normal(size=(2, J))
  )
  return encoded, own, everybody, guard


def serve(safeguard, **options):
  encoded, own, everybody, guard = world()
  system = types.System(
    factorized.identity(), gaussian.online(dim=J), safeguard
  )
  return composition.served_policy(
    system, {'reward': {}}, encoded, own, everybody, guard, **options
  )


def test_without_a_safeguard_the_own_reward_tilts_the_base():
  encoded, own, _, guard = world()
  plain = special.log_softmax(
    guard.log_base + BETA * np.asarray(encoded) @ np.asarray(own.mean), -1
  )
  for safeguard in (None, composition.none()):
    np.testing.assert_allclose(serve(safeguard), plain, atol=1e-12)


def test_the_reference_is_the_population_s_score_of_the_same_candidates():
  encoded, own, everybody, guard = world()
  mixed = 0.75 * np.asarray(everybody.mean) + 0.25 * np.asarray(own.mean)
  plain = special.log_softmax(
    guard.log_base + BETA * np.asarray(encoded) @ mixed, -1
  )
  np.testing.assert_allclose(
    serve(reward_level.shrinkage(share=0.25)), plain, atol=1e-12
  )


def test_a_chain_is_served_like_its_parts_where_no_state_is_given():
  alone = reward_level.shrinkage(share=0.25)
  np.testing.assert_allclose(
    serve(composition.chain(alone)), serve(alone), atol=1e-12
  )


def test_a_chain_runs_its_parts_in_turn():
  """Doubling and adding one, at every level, in both orders."""

  def part(name, change):
    return composition.make(
      name,
      types.Card(f'{name} bounds', f'{name} cost', f'{name} fails'),
      init=lambda: jnp.asarray(1.0),
      context=lambda state, context, population: change(context, state),
      reward=lambda state, output, guard: output._replace(
        score=change(output.score, state)
      ),
      policy=lambda state, log_policy, guard: change(log_policy, state),
      observe=lambda state, served: change(state, served['x']),
    )

  double = part('double', lambda value, _: 2 * value)
  add = part('add', lambda value, more: value + more)
  for parts, wanted in (((double, add), 7.0), ((add, double), 8.0)):
    safeguard = composition.chain(*parts)
    state = safeguard.init()
    assert safeguard.name == ' + '.join(part.name for part in parts)
    assert safeguard.card.cost == '; '.join(part.card.cost for part in parts)
    assert safeguard.context(state, 3.0, None) == wanted
    output = types.RewardOutput(jnp.asarray(3.0))
    assert safeguard.reward(state, output, None).score == wanted
    assert safeguard.policy(state, 3.0, None) == wanted
    seen = safeguard.observe(state, {'x': 5.0})
    by_name = dict(zip((part.name for part in parts), seen, strict=True))
    assert by_name == {'double': 2.0, 'add': 6.0}


@pytest.mark.parametrize('n', [1, 2, 3])
def test_best_of_n_counts_every_draw(n):
  _, _, _, guard = world(prompts=2)
  score = jnp.asarray([[0.1, 2.0, -1.0, 0.3], [1.0, 1.0, 0.0, 2.0]])
  wanted = np.zeros((2, K))
  base = np.exp(np.asarray(guard.log_base))
  for row in range(2):
    for draws in itertools.product(range(K), repeat=n):
      best = max(score[row, y] for y in draws)
      winners = [y for y in draws if score[row, y] == best]
      for y in winners:
        wanted[row, y] += np.prod(base[row, list(draws)]) / len(winners)
  found = composition.best_of(n)(score, guard)
  np.testing.assert_allclose(np.exp(found), wanted, atol=1e-12)


def test_best_of_n_is_a_way_to_serve():
  found = serve(policy_level.matching(), serve=composition.best_of(4))
  *_, guard = world()
  z = guard.measures['anchor']
  np.testing.assert_allclose(
    np.sum(np.exp(found) * z, -1), np.mean(z, -1), atol=1e-9
  )


def test_a_measure_that_nobody_took_is_named():
  with pytest.raises(KeyError, match=r"no measure 'bridging'.*\['anchor'\]"):
    serve(policy_level.bridging())


def test_everybody_starts_blank_and_reset_takes_several_at_once():
  safeguard = composition.chain(
    adaptive.constitutional_floor(measure='truth', least=0.5),
    reward_level.shrinkage(),
    adaptive.exposure(),
  )
  states = composition.everybody(safeguard, 4)
  seen = {'truth': 0.0, 'most truth': 1.0, 'stance': 1.0}
  moved = jax.vmap(safeguard.observe, (0, None))(states, seen)
  assert moved[0].multiplier.shape == (4,)
  np.testing.assert_allclose(moved[0].multiplier, 0.15)
  np.testing.assert_allclose(moved[2], [[0.45, 1.45]] * 4)
  after = composition.reset(safeguard, moved, np.array([0, 3]))
  np.testing.assert_allclose(after[0].multiplier, [0, 0.15, 0.15, 0])
  np.testing.assert_allclose(after[0].answers, [0, 1, 1, 0])
  np.testing.assert_allclose(after[2][:, 1], [0.5, 1.45, 1.45, 0.5])


def test_inspection_of_a_chain_tells_its_parts_apart():
  floors = [
    adaptive.constitutional_floor(measure=name, least=0.5)
    for name in ('truth', 'civility')
  ]
  safeguard = composition.chain(*floors)
  states = composition.everybody(safeguard, 2)
  seen = {
    'truth': 0.0,
    'most truth': 1.0,
    'civility': 1.0,
    'most civility': 1.0,
  }
  states = jax.vmap(safeguard.observe, (0, None))(states, seen)
  found = composition.inspect(safeguard, states, 1)
  prices = {k: v for k, v in found['state'].items() if 'multiplier' in k}
  assert len(found['state']) == 8
  np.testing.assert_allclose(sorted(prices.values()), [0.0, 0.15])
