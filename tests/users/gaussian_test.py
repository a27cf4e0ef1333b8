import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.ops import bayes
from prm_jax.users import gaussian, ring

J, N = 3, 8
KEY = jax.random.key(0)


def evidence(seed, n=N, mask=None):
  rng = np.random.default_rng(seed)
  return types.Pair(
    jnp.asarray(rng.normal(size=(n, 2, J)), jnp.float32),
    jnp.asarray(rng.integers(0, 2, n), jnp.float32),
    jnp.ones(n) if mask is None else jnp.asarray(mask, jnp.float32),
  )


def part(pair, rows):
  return jax.tree.map(lambda leaf: leaf[jnp.asarray(rows)], pair)


@pytest.fixture
def user():
  return gaussian.gaussian(dim=J, capacity=N)


def wide():
  factor = jnp.tril(jnp.ones((J, J)))
  return bayes.GaussianPrior(jnp.arange(J, dtype=jnp.float32), factor)


@pytest.fixture
def prior():
  return wide()


def believe(user, prior, *pieces):
  state = user.prior(prior)
  update = jax.jit(user.update)
  for piece in pieces:
    state, _ = update(KEY, prior, state, piece)
  return state


def same(one, other):
  np.testing.assert_allclose(one.mode, other.mode, atol=1e-5)
  factors = (
    bayes.at_mode(
      wide(), state.mode, state.answers.value, state.answers.mask
    ).factor
    for state in (one, other)
  )
  np.testing.assert_allclose(*factors, atol=1e-5)


def test_order_and_batching_agree(user, prior):
  pair = evidence(0)
  together = believe(user, prior, pair)
  single = [part(pair, [i]) for i in range(N)]
  same(believe(user, prior, *single), together)
  same(believe(user, prior, *single[::-1]), together)
  same(
    believe(user, prior, part(pair, [0, 1, 2]), part(pair, range(3, N))),
    together,
  )


def test_undo_and_deletion_agree_with_never_having_answered(user, prior):
  pair = evidence(1)
  state = believe(user, prior, pair)
  undone = gaussian.delete(prior, state, ring.last_slot(state.answers))
  same(undone, believe(user, prior, part(pair, range(N - 1))))
  deleted = gaussian.delete(prior, state, 2)
  kept = [i for i in range(N) if i != 2]
  same(deleted, believe(user, prior, part(pair, kept)))


def test_the_oldest_answers_give_way(user, prior):
  pair = evidence(2, n=N + 5)
  last = part(pair, range(5, N + 5))
  same(believe(user, prior, pair), believe(user, prior, last))
  pieces = [part(pair, [i]) for i in range(N + 5)]
  same(believe(user, prior, *pieces), believe(user, prior, last))


def test_masked_answers_are_not_kept(user, prior):
  mask = [1, 0, 1, 1, 0, 0, 1, 0]
  pair = evidence(3, mask=mask)
  poisoned = types.Pair(
    jnp.where(pair.mask[:, None, None] > 0, pair.encoded, jnp.nan),
    pair.label,
    pair.mask,
  )
  state = believe(user, prior, poisoned)
  assert int(state.answers.kept) == 4
  same(state, believe(user, prior, part(pair, np.flatnonzero(mask))))


def test_nobody_is_the_prior(user, prior):
  context = user.context(prior, user.prior(prior))
  np.testing.assert_allclose(context.mean, prior.mean)
  np.testing.assert_allclose(
    context.factor @ context.factor.T, prior.factor @ prior.factor.T, atol=1e-5
  )


def test_infer_is_update_and_context(user, prior):
  pair = evidence(4)
  context = user.context(prior, believe(user, prior, pair))
  inferred = user.infer(KEY, prior, pair)
  np.testing.assert_allclose(inferred.mean, context.mean, atol=1e-5)
  np.testing.assert_allclose(inferred.factor, context.factor, atol=1e-5)


def test_two_warm_steps_are_enough_for_one_more_answer(prior):
  few = gaussian.gaussian(dim=J, capacity=N, iterations=2)
  many = gaussian.gaussian(dim=J, capacity=N, iterations=30)
  pieces = [part(evidence(6), [i]) for i in range(N)]
  one, other = believe(few, prior, *pieces), believe(many, prior, *pieces)
  np.testing.assert_allclose(one.mode, other.mode, atol=1e-3)
  # One step from the prior's mean is not the mode: the option is read.
  single = gaussian.gaussian(dim=J, capacity=N, iterations=1)
  far = believe(single, prior, evidence(6))
  gap = jnp.abs(far.mode - other.mode).max()
  assert float(gap) > 1e-3


@pytest.fixture
def online():
  return gaussian.online(dim=J)


def test_online_belief_of_one_answer_is_the_kept_one_s(online, user, prior):
  pair = part(evidence(7), [0])
  kept = user.context(prior, believe(user, prior, pair))
  found = online.context(prior, believe(online, prior, pair))
  np.testing.assert_allclose(found.mean, kept.mean, atol=1e-4)
  np.testing.assert_allclose(
    found.factor @ found.factor.T, kept.factor @ kept.factor.T, atol=1e-4
  )


def test_online_learns_in_order_and_in_one_go(online, prior):
  pair = evidence(8)
  single = [part(pair, [i]) for i in range(N)]
  together = believe(online, prior, pair)
  for one, other in (
    (believe(online, prior, *single), together),
    (online.infer(KEY, prior, pair), together),
  ):
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)
    np.testing.assert_allclose(one.factor, other.factor, atol=1e-6)


def test_online_skips_masked_answers_whatever_they_hold(online, prior):
  mask = np.array([1, 0, 1, 1, 0, 0, 1, 0])
  pair = evidence(9, mask=mask)
  poisoned = types.Pair(
    jnp.where(pair.mask[:, None, None] > 0, pair.encoded, jnp.nan),
    pair.label,
    pair.mask,
  )
  found = believe(online, prior, poisoned)
  wanted = believe(online, prior, part(pair, np.flatnonzero(mask)))
  np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-6)
  np.testing.assert_allclose(found.factor, wanted.factor, atol=1e-6)


def test_online_nobody_is_the_prior(online, prior):
  state = online.prior(prior)
  context = online.context(prior, state)
  np.testing.assert_allclose(context.mean, prior.mean)
  np.testing.assert_allclose(
    context.factor @ context.factor.T, prior.factor @ prior.factor.T
  )
  start = online.init(KEY, types.Spec(J, 1))
  np.testing.assert_allclose(start.factor, np.eye(J))


def test_online_learns_many_people_as_one_alone(online, prior):
  pairs = [evidence(seed) for seed in range(3)]
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)
  together = jax.vmap(online.infer, (None, None, 0))(KEY, prior, stacked)
  for i, pair in enumerate(pairs):
    alone = online.infer(KEY, prior, pair)
    np.testing.assert_allclose(together.mean[i], alone.mean, atol=1e-5)
    np.testing.assert_allclose(together.factor[i], alone.factor, atol=1e-5)
