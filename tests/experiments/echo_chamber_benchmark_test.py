"""The benchmark's loops do what ours does; no time is asserted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import echo_chamber as benchmark
from prm_jax import types
from prm_jax.ops import bayes, opinions

FIELDS = {
  'method',
  'update',
  'people',
  'rounds',
  'seconds',
  'fastest',
  'slowest',
  'microseconds_per_person_round',
  'microseconds_of_fastest',
  'compile_seconds',
  'mean_utility',
  'times_ours',
  'times_ours_of_fastest',
}
METHODS = [
  (update, name)
  for update, beliefs in benchmark.BELIEFS.items()
  for name in beliefs
]


def learnt(belief_of, x, labels):
  """Means `[N, U, J]` after each answer."""
  belief, after = belief_of(x.shape[1]), []
  for one, label in zip(x, labels, strict=True):
    belief.learn(one, label)
    after.append(np.array(belief.mean))
  return np.stack(after)


@functools.partial(jax.jit, static_argnums=0)
def truth(update, x, labels):
  """Means `[N, U, J]` of our belief after each answer."""
  user = benchmark.user_of(update)
  params = bayes.isotropic_prior(jnp.zeros(benchmark.J), 1.0)

  def learn(belief, answer):
    x, label = answer
    # The pair is the difference and nothing.
    both = jnp.stack([x, jnp.zeros_like(x)])[None]
    pair = types.Pair(both, label[None], jnp.ones(1))
    belief, _ = user.update(jax.random.key(0), params, belief, pair)
    return belief, user.context(params, belief).mean

  def person(x, labels):
    return jax.lax.scan(learn, user.prior(params), (x, labels))[1]

  return jax.vmap(person, in_axes=1, out_axes=1)(x, labels)


@pytest.mark.parametrize(('update', 'name'), METHODS)
def test_updates_are_ours(update, name):
  belief_of, people, answers = benchmark.BELIEFS[update][name], 6, 23
  # More answers than are kept, so that the oldest give way.
  assert answers > benchmark.CAPACITY
  rng = np.random.default_rng(3)
  x = rng.standard_normal((answers, people, benchmark.J), np.float32)
  labels = (rng.random((answers, people)) < 0.5).astype(np.float32)
  if name == 'Python loop':
    each = [
      learnt(belief_of, x[:, [u]], labels[:, u].tolist()) for u in range(people)
    ]
    means = np.concatenate(each, 1)
  else:
    means = learnt(belief_of, x, labels)
  np.testing.assert_allclose(means, truth(update, x, labels), atol=5e-6)


def test_opinions_move_as_ours():
  x, stance, innate = np.random.default_rng(0).uniform(-1, 1, (3, 20))
  rules = benchmark.RULES
  ours = opinions.served(
    x, stance, innate, rate=rules.rate, anchor=rules.anchor
  )
  np.testing.assert_allclose(
    benchmark.moved(x, stance, innate), ours, atol=1e-6
  )


@pytest.mark.slow
def test_rows_of_every_loop():
  sizes = benchmark.Sizes(
    people=200, fewer=200, rounds=4, loop_people=40, loop_rounds=4
  )
  runs = benchmark.runs_of(sizes, 1)
  rows = benchmark.rows_of(runs, 2)
  assert len(rows) == len(runs) == 12
  for row in rows:
    assert set(row) == FIELDS
    assert row['fastest'] <= row['seconds'] <= row['slowest']
    assert np.isfinite(row['mean_utility'])
  for update, beliefs in benchmark.BELIEFS.items():
    ours, one, few, *loops = [row for row in rows if row['update'] == update]
    assert ours['compile_seconds'] > 0
    assert ours['times_ours'] == 1.0
    # Blocks, devices and repetitions change nothing.
    assert one['mean_utility'] == few['mean_utility'] == ours['mean_utility']
    for row, name in zip(loops, beliefs, strict=False):
      assert row['method'] == name
      assert row['compile_seconds'] is None
      # Up to 800 answers served, of a standard deviation near 3.
      limit = 0.6 if name.startswith('NumPy') else 1.2
      assert abs(row['mean_utility'] - ours['mean_utility']) < limit
