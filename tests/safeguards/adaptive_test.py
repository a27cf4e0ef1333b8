"""Safeguards that remember, in a loop of 64 people who are served answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from prm_jax import types
from prm_jax.safeguards import adaptive, composition, policy_level

U, K, T, LEAST = 64, 8, 300, 0.6


def candidates(key, most):
  """What can be served to one person in one round."""
  other, noise = jax.random.split(key)
  stance = jnp.tile(jnp.array([-1.0, 1.0]), K // 2)
  truth = most * jax.random.uniform(other, (K,))
  taste = jax.random.normal(noise, (K,))
  # Everybody loves one side, and what is not true.
  return taste + 1.5 * stance - 3.0 * truth, {'stance': stance, 'truth': truth}


@functools.cache
def compiled(kind):
  """`(strength or floor, most) -> measures served [T, U], final states`."""

  def one(safeguard, most, person, key, state):
    draw, choose = jax.random.split(jax.random.fold_in(key, person))
    score, measures = candidates(draw, most)
    guard = types.Guard(
      log_base=jnp.full((1, K), -jnp.log(K)),
      log_reference=jnp.full((1, K), -jnp.log(K)),
      reference=jnp.zeros((1, K)),
      measures={name: m[None] for name, m in measures.items()},
      leaning=jnp.zeros(()),
      beta=jnp.ones(()),
    )
    output = safeguard.reward(state, types.RewardOutput(score[None]), guard)
    log_policy = safeguard.policy(
      state, composition.tilt(output.score, guard), guard
    )[0]
    pick = jax.random.categorical(choose, log_policy)
    seen = adaptive.served_measures(measures, pick)
    return safeguard.observe(state, seen), seen

  @jax.jit
  def run(value, most):
    step = functools.partial(one, KINDS[kind](value), most)

    def turn(states, key):
      return jax.vmap(step, (0, None, 0))(jnp.arange(U), key, states)

    states = composition.everybody(KINDS[kind](value), U)
    keys = jax.random.split(jax.random.key(0), T)
    return jax.lax.scan(turn, states, keys)

  return run


KINDS = {
  'none': lambda _: composition.none(),
  'floor': lambda d: adaptive.constitutional_floor(measure='truth', least=d),
  'exposure': lambda strength: adaptive.exposure(strength=strength),
  'shift': lambda strength: adaptive.preference_shift(strength=strength),
}


def loop(kind='none', value=0.0, most=1.0):
  states, seen = compiled(kind)(value, most)
  return jax.tree.map(np.asarray, (seen, states))


def test_constitutional_floor_is_reached_by_everybody_over_time():
  plain, _ = loop()
  assert plain['truth'].mean() < LEAST - 0.15
  seen, states = loop('floor', LEAST)
  late = seen['truth'][T // 2 :].mean(0)
  np.testing.assert_allclose(late, LEAST, atol=0.05)
  assert late.mean() == pytest.approx(LEAST, abs=0.02)
  # What the ascent promises: mean >= d - nu_T / (step T).
  promised = LEAST - states.multiplier / (0.3 * T)
  assert (seen['truth'].mean(0) >= promised - 1e-4).all()
  assert (promised > LEAST - 0.1).all()


def test_constitutional_floor_keeps_its_books():
  seen, states = loop('floor', LEAST)
  np.testing.assert_allclose(states.served, seen['truth'].sum(0), rtol=1e-5)
  np.testing.assert_allclose(states.most, seen['most truth'].sum(0), rtol=1e-5)
  np.testing.assert_array_equal(states.answers, T)
  price = np.zeros(U)
  for value in seen['truth']:
    price = np.clip(price + 0.3 * (LEAST - value), 0, 20)
  np.testing.assert_allclose(states.multiplier, price, atol=1e-3)


def test_constitutional_floor_costs_nothing_where_it_is_kept_anyway():
  seen, states = loop('floor', 0.0)
  plain, _ = loop()
  np.testing.assert_array_equal(states.multiplier, 0.0)
  np.testing.assert_array_equal(seen['truth'], plain['truth'])


def test_an_unreachable_floor_is_named_and_drives_to_the_limit():
  seen, states = loop('floor', 0.9, most=0.5)
  np.testing.assert_array_equal(states.multiplier, 20.0)
  report = adaptive.audit_floor(states, measure='truth', least=0.9)
  assert report['constraint'] == 'truth'
  assert report['feasible'] is False
  assert report['people_infeasible'] == report['people_below'] == U
  assert report['served'] == pytest.approx(seen['truth'].mean(), rel=1e-5)
  # Nearly the best that there is.
  assert report['served'] > 0.8 * seen['most truth'].mean()
  with pytest.raises(ValueError, match=r"infeasible.*'truth'"):
    policy_level.check_reachable(
      {'truth': 0.9}, {'truth': seen['most truth'].T}
    )


def test_audit_of_a_floor_that_was_kept():
  _, states = loop('floor', LEAST)
  report = adaptive.audit_floor(states, measure='truth', least=0.3)
  assert report['feasible'] is True
  assert report['people_below'] == report['people_infeasible'] == 0
  assert report['floor'] == 0.3


def test_audit_counts_people_one_by_one_and_skips_who_was_not_served():
  states = adaptive.Dual(
    multiplier=np.zeros(4),
    served=np.array([1.0, 4.0, 0.5, 0.0]),
    most=np.array([2.0, 8.0, 0.8, 0.0]),
    answers=np.array([2.0, 10.0, 1.0, 0.0]),
  )
  report = adaptive.audit_floor(states, measure='c', least=0.6)
  assert report == {
    'constraint': 'c',
    'floor': 0.6,
    'served': pytest.approx((0.5 + 0.4 + 0.5) / 3),
    'people_below': 3,
    'people_infeasible': 0,
    'feasible': True,
  }
  one = adaptive.audit_floor(states, measure='c', least=0.81)
  assert one['people_infeasible'] == 2  # best 1.0, 0.8, 0.8
  assert not one['feasible']
  nobody = adaptive.audit_floor(
    adaptive.Dual(*(np.zeros(2),) * 4), measure='c', least=0.5
  )
  assert np.isnan(nobody['served'])
  assert nobody['feasible']


def one_sidedness(seen):
  """|mean stance| of each person over the last hundred answers."""
  return np.abs(seen['stance'][-100:].mean(0))


@pytest.mark.parametrize('kind', ['exposure', 'shift'])
def test_stances_are_evened_out(kind):
  plain = one_sidedness(loop()[0])
  evened = one_sidedness(loop(kind, 40.0)[0])
  assert plain.mean() > 0.7
  assert evened.mean() < 0.5 * plain.mean()
  assert (evened < plain).mean() > 0.95
  some = one_sidedness(loop(kind, 10.0)[0])
  assert evened.mean() < some.mean() < plain.mean()
  off = loop(kind, 0.0)[0]
  np.testing.assert_array_equal(off['stance'], loop()[0]['stance'])


def guard_of(stance):
  z = jnp.asarray(stance)[None]
  flat = jnp.zeros_like(z)
  return types.Guard(flat, flat, flat, {'stance': z}, jnp.zeros(()), 1.0)


def test_exposure_pays_for_bits_by_hand():
  made = adaptive.exposure(strength=2.0, decay=0.5)
  state = made.init()
  for stance in (1.0, 1.0, 0.0, -0.3):
    state = made.observe(state, {'stance': stance})
  counts = np.array([0.5 / 16 + 1, 0.5 / 16 + 1 / 8 + 1 / 4])
  np.testing.assert_allclose(state, counts, rtol=1e-6)
  output = types.RewardOutput(jnp.array([[1.0, 2.0, 3.0]]))
  after = made.reward(state, output, guard_of([-1.0, 0.0, 0.2])).score[0]

  def bits(counts):
    return stats.entropy(counts, base=2)

  wanted = [
    1 + 2 * (bits(counts + np.array([1, 0])) - bits(counts)),
    2.0,
    3 + 2 * (bits(counts + np.array([0, 1])) - bits(counts)),
  ]
  np.testing.assert_allclose(after, wanted, atol=1e-6)
  assert wanted[0] < 1 < 3 < wanted[2]


def test_preference_shift_penalises_movement_by_hand():
  made = adaptive.preference_shift(strength=10.0, rate=0.1, anchor=0.05)

  def move(x, t):
    return x + 0.1 * (1 + x * t) / 2 * (t - x) + 0.05 * (0 - x)

  x, state = 0.0, made.init()
  for stance in (1.0, 0.5, 1.0, -1.0):
    x, state = move(x, stance), made.observe(state, {'stance': stance})
  np.testing.assert_allclose(state, x, rtol=1e-6)
  output = types.RewardOutput(jnp.array([[1.0, 2.0, 3.0]]))
  stances = np.array([-1.0, 0.0, 1.0])
  after = made.reward(state, output, guard_of(stances)).score[0]
  wanted = [1, 2, 3] - 10 * (move(x, stances) ** 2 - x**2)
  np.testing.assert_allclose(after, wanted, atol=1e-5)


def test_what_is_observed_of_an_answer():
  measures = {'truth': jnp.array([0.2, 0.9, 0.4]), 'stance': -jnp.arange(3.0)}
  found = adaptive.served_measures(measures, jnp.int32(2))
  plain = {name: float(value) for name, value in found.items()}
  assert plain == pytest.approx(
    {'truth': 0.4, 'most truth': 0.9, 'stance': -2.0, 'most stance': 0.0}
  )
