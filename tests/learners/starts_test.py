"""Starts, penalties and priors of learners, against NumPy and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from prm_jax import registry, types
from prm_jax.learners import polar
from prm_jax.ops import bayes
from prm_jax.runtime import train
from prm_jax.systems import base_rewards, inference, priors, states

U, M, D, N = 5, 12, 4, 80
KEY = jax.random.key(0)
SPEC = types.Spec(D, U)


def identity(leaf):
  return leaf


def problem(seed=0, people=U):
  """Texts, judgements of everybody, and the texts of each."""
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(M, D)).astype(np.float32)
  index = rng.integers(0, M, (N, 2)).astype(np.int32)
  said = types.Judgements(
    rng.integers(0, people, N).astype(np.int32),
    rng.integers(0, 2, N).astype(np.float32),
    np.ones(N, np.float32),
    np.arange(N, dtype=np.int32),
  )
  return features, said, index


# -------------------------------------------------------------------- starts


def test_people_who_are_the_aggregate_have_no_bases_of_their_own():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(M, D)).astype(np.float32)
  weight = np.array([1.0, -2.0, 0.5, 1.5], np.float32)
  pair = np.array([[a, b] for a in range(M) for b in range(a)], np.int32)
  index = np.tile(pair, (U, 1))
  margin = (features[index[:, 0]] - features[index[:, 1]]) @ weight
  near = np.abs(margin) < 3  # whose answers are not all alike
  index, margin = index[near], margin[near]
  count = len(index)
  said = types.Judgements(
    np.repeat(np.arange(U), len(pair))[near].astype(np.int32),
    (1 / (1 + np.exp(-margin))).astype(np.float32),
    np.full(count, 1000.0, np.float32),  # so many answers each
    np.arange(count, dtype=np.int32),
  )

  def personal(aggregate):
    bases, own = base_rewards.svd_bases(
      KEY, features, said, index, aggregate, 1.0, people=U, rank=2
    )
    difference = features[index[:, 0]] - features[index[:, 1]]
    return np.sum((difference @ bases) * np.asarray(own)[said.user], 1)

  assert np.abs(personal(weight)).max() < 0.05
  assert np.abs(personal(np.zeros(D, np.float32))).max() > 1


@pytest.mark.slow
def test_a_ridge_without_end_leaves_the_aggregate():
  features, said, index = problem()
  data = types.Batch(said, types.Inputs(features, index))
  node = {'kind': 'pref', 'dim': 3, 'steps': 200, 'learning_rate': 0.003}
  learner = registry.build('learner', node)

  def fit(hyper):
    return train.fit(learner, data, key=KEY, spec=SPEC, hyper=hyper)

  want = base_rewards.aggregate_weight(features, said, index, jnp.float32(2.0))
  # The aggregate has its own ridge; after its start only the pull remains.
  state = learner.phases[0].begin(
    learner.init(KEY, SPEC)._replace(
      hyper={'ridge': jnp.float32(2.0), 'basis_ridge': jnp.float32(1.0)}
    ),
    types.Data(said, index, U, lambda _: jnp.asarray(features), None),
  )
  np.testing.assert_allclose(state.constants.aggregate, want, atol=1e-6)
  np.testing.assert_allclose(
    state.params['reward']['basis'][:, 0], want, atol=1e-6
  )
  free = fit({'ridge': 1e-3, 'basis_ridge': 1.0})
  held = fit({'ridge': 1e6, 'basis_ridge': 1.0})

  def moved(state):
    first = state.params['reward']['basis'][:, 0]
    return float(jnp.abs(first - state.constants.aggregate).max())

  assert moved(held) < 0.01
  assert moved(free) > 0.05


# ----------------------------------------------------------------- penalties


def loss(name, options, change):
  """Terms and penalties of a learner's steps at a state that `change` makes."""
  features, said, index = problem()
  learner = registry.build('learner', {'kind': name, **options})
  state = learner.init(KEY, SPEC)
  phase = next(p for p in learner.phases if p.objective is not None)
  data = types.Data(said, index, U, lambda _: jnp.asarray(features), None)
  for before in learner.phases[: learner.phases.index(phase) + 1]:
    state = before.begin(state, data) if before.begin else state
  state = change(state)
  weight = np.bincount(said.user, minlength=U).astype(np.float32)
  people = types.Present(state.people.free, jnp.asarray(weight))
  batch = types.Batch(said, types.Inputs(jnp.asarray(features), index))
  terms, penalties, _ = phase.objective(
    state.params, people, state, batch, identity
  )
  means = {k: float(jnp.sum(t) / jnp.sum(c)) for k, (t, c) in terms.items()}
  return state, means, {k: float(v) for k, v in penalties.items()}


def noisy(state):
  """Every parameter and everybody moved at random: nothing is 0 or at rest."""
  leaves, structure = jax.tree.flatten((state.params['reward'], state.people))
  rng = np.random.default_rng(3)
  moved = [
    leaf + rng.normal(size=leaf.shape).astype(np.float32)
    if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)
    else leaf
    for leaf in leaves
  ]
  reward, people = jax.tree.unflatten(structure, moved)
  people = state.people._replace(free=people.free)
  return states.with_reward(state, reward)._replace(people=people)


def nll(margin, label):
  return np.mean(np.logaddexp(0, margin) - label * margin)


def test_pref_by_hand():
  options = {'dim': 3, 'ridge': 2.0, 'basis_ridge': 5.0}
  state, terms, penalties = loss('pref', options, noisy)
  features, said, index = problem()
  W = np.asarray(state.params['reward']['basis'], float)
  own = np.asarray(state.people.free['coefficients'], float)
  aggregate = np.asarray(state.constants.aggregate, float)
  margin = np.sum(
    ((features[index[:, 0]] - features[index[:, 1]]) @ W) * own[said.user], 1
  )
  np.testing.assert_allclose(terms['nll'], nll(margin, said.label), rtol=1e-4)
  apart = np.sum((own - np.eye(3)[0]) ** 2, 1)
  there = np.unique(said.user)
  np.testing.assert_allclose(
    terms['coefficients'], 0.5 * apart[there].sum() / N, rtol=1e-4
  )
  np.testing.assert_allclose(
    penalties['aggregate'], np.sum((W[:, 0] - aggregate) ** 2) / N, rtol=1e-4
  )
  np.testing.assert_allclose(
    penalties['basis'], 2.5 * np.sum(W[:, 1:] ** 2) / N, rtol=1e-4
  )


def test_lore_by_hand():
  state, terms, penalties = loss('lore', {'dim': 3, 'basis_ridge': 4.0}, noisy)
  features, said, index = problem()
  W = np.asarray(state.params['reward']['basis'], float)
  own = np.asarray(jax.nn.softmax(state.people.free['log_weight'], -1), float)
  aggregate = np.asarray(state.constants.aggregate, float)
  margin = np.sum(
    ((features[index[:, 0]] - features[index[:, 1]]) @ W) * own[said.user], 1
  )
  np.testing.assert_allclose(terms['nll'], nll(margin, said.label), rtol=1e-4)
  pull = 2.0 * np.sum((W - aggregate[:, None]) ** 2) / N
  np.testing.assert_allclose(penalties['basis'], pull, rtol=1e-4)


@pytest.mark.parametrize('name', ['rfm', 'pal'])
def test_networks_pay_for_themselves_and_not_for_the_aggregate(name):
  state, terms, penalties = loss(name, {'dim': 3, 'decay': 3.0}, noisy)
  reward = state.params['reward']
  parts = {
    'rfm': lambda: reward['network'],
    'pal': lambda: (reward['item'], reward['prototypes']),
  }
  squares = sum(
    float(np.sum(np.asarray(leaf, float) ** 2))
    for leaf in jax.tree.leaves(parts[name]())
  )
  np.testing.assert_allclose(penalties['decay'], 1.5 * squares / N, rtol=1e-4)
  if name == 'rfm':
    own = np.asarray(state.people.free['coefficients'], float)
    apart = np.sum((own - np.eye(own.shape[1])[0]) ** 2, 1)
    charge = 0.5 * apart[np.unique(problem()[1].user)].sum() / N
    np.testing.assert_allclose(terms['coefficients'], charge, rtol=1e-4)


def test_ridges_of_networks_are_of_the_whole_head():
  state, _, penalties = loss('aggregate_mlp', {'ridge': 4.0}, noisy)
  squares = sum(
    float(np.sum(np.asarray(leaf, float) ** 2))
    for leaf in jax.tree.leaves(state.params['reward'])
  )
  np.testing.assert_allclose(penalties['ridge'], 2.0 * squares / N, rtol=1e-4)


# -------------------------------------------------------------------- priors


def laplace(mean, covariance, x, y):
  """Mode and covariance of one person, in float64."""
  precision = np.linalg.inv(covariance)

  def value(w):
    margin, apart = x @ w, w - mean
    fit = np.sum(np.logaddexp(0, margin) - y * margin)
    return fit + 0.5 * apart @ precision @ apart

  w = optimize.minimize(value, mean, options={'gtol': 1e-8}).x
  p = special.expit(x @ w)
  return w, np.linalg.inv(precision + (x.T * (p * (1 - p))) @ x)


@pytest.mark.parametrize(('people', 'padded'), [(1, 1), (3, 4), (5, 8)])
def test_the_population_s_prior_is_that_of_a_plain_em(people, padded):
  rng = np.random.default_rng(people)
  encoded = rng.normal(size=(M, 2))
  _, said, index = problem(people, people)
  mask = (rng.random(N) < 0.6).astype(np.float32)
  mask[15 * people :] = 0  # everybody has as many, and so they share a group
  said = said._replace(mask=mask, user=(np.arange(N) % people).astype(np.int32))
  (group,) = inference.group_people(said, width=2)
  assert len(group.people) == padded
  mean, covariance = np.array([0.5, -0.5]), 0.5 * np.eye(2)
  for _ in range(3):
    fits = []
    for person in range(people):
      mine = (said.user == person) & (mask > 0)
      x = encoded[index[mine, 0]] - encoded[index[mine, 1]]
      fits.append(laplace(mean, covariance, x, said.label[mine]))
    modes = np.stack([mode for mode, _ in fits])
    mean = modes.mean(0)
    apart = modes - mean
    spread = sum(s for _, s in fits) + apart.T @ apart + covariance
    covariance = spread / (people + 1)  # one pseudo-person has the old one
  prior = priors.estimate_prior(
    bayes.isotropic_prior(jnp.array([0.5, -0.5]), 0.5**0.5),
    jnp.asarray(encoded, jnp.float32),
    said,
    index,
    steps=3,
  )
  np.testing.assert_allclose(prior.mean, mean, atol=1e-3)
  found = np.asarray(prior.factor @ prior.factor.T)
  np.testing.assert_allclose(found, covariance, rtol=2e-3, atol=1e-3)


# ----------------------------------------------------------------- negatives


def test_negatives_are_other_policies_answers_of_rows_that_count():
  policy = np.array([0, 0, 1, 7, 2, 2], np.int32)
  mask = np.array([1, 1, 1, 0, 1, 1], np.float32)
  rows = types.Judgements(
    policy, np.ones(6, np.float32), mask, np.arange(6, dtype=np.int32)
  )
  encoded = jnp.arange(6 * 2, dtype=jnp.float32).reshape(6, 2, 1, 1)
  candidates, there = polar._with_negatives(encoded, rows, 3, identity)
  chosen = np.asarray(candidates)[:, :, 0, 0]
  np.testing.assert_array_equal(chosen[:, :2], encoded[..., 0, 0])
  real = [0, 1, 2, 4, 5]
  for place, row in enumerate(real):
    assert there[row, 0] == 1  # the row's own second answer
    for shift in (1, 2, 3):
      other = real[(place - shift) % 5]
      assert chosen[row, 1 + shift] == 2 * other + 1
      assert there[row, shift] == (policy[other] != policy[row])
