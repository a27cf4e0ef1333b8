"""Simulated people with known truth, in six features."""

import jax
import numpy as np
import pytest
from scipy import linalg

from prm_jax import types
from prm_jax.learners import aggregate, amortized, hierarchical, lore, pref
from prm_jax.runtime import train
from prm_jax.systems import amortization, inference

U, D, TEXTS = 80, 6, 300


def simulate(people, seed=0, answers=150):
  """Judgements; the last 30 of each person are held out."""
  rng = np.random.default_rng(seed)
  table = rng.normal(size=(TEXTS, D)).astype(np.float32)
  pool = np.stack([rng.permutation(TEXTS)[:2] for _ in range(600)])
  user = np.repeat(np.arange(U), answers)
  items = pool[rng.integers(0, 600, len(user))]
  margin = np.sum((table[items[:, 0]] - table[items[:, 1]]) * people[user], 1)
  truth = 1 / (1 + np.exp(-margin))
  label = (rng.random(len(user)) < truth).astype(np.float32)
  held = np.tile(np.arange(answers) >= answers - 30, U)
  said = types.Judgements(
    user.astype(np.int32),
    label,
    (~held).astype(np.float32),
    np.arange(len(user), dtype=np.int32),
  )
  inputs = types.Inputs(table, items.astype(np.int32))
  return types.Batch(said, inputs), held, truth


def ratio(probability, truth):
  right = np.where(probability > 0.5, truth, 1 - truth).mean()
  best = np.maximum(truth, 1 - truth).mean()
  return (right - 0.5) / (best - 0.5)


def fit(learner, batch, seen):
  return train.fit(
    learner,
    batch.masked(batch.rows.mask * seen[batch.rows.user]),
    key=jax.random.key(0),
    spec=types.Spec(D, U),
  )


def score(learner, state, batch, held, truth, people, limit=None):
  contexts = inference.infer(
    learner.system, state.params, batch, key=state.key, people=U, limit=limit
  )
  p = inference.predict(learner.system, state.params, contexts, batch)
  chosen = held & people[batch.rows.user]
  return ratio(p[chosen], truth[chosen])


@pytest.fixture(scope='module')
def low_rank():
  """People whose weights vary in three directions around a common one."""
  rng = np.random.default_rng(5)
  bases = rng.normal(size=(3, D))
  return simulate(0.5 * bases[0] + 1.2 * rng.normal(size=(U, 3)) @ bases)


SEEN = np.arange(U) < 60
AGGREGATE = aggregate.linear()


@pytest.mark.parametrize(
  'learner',
  [
    pref.pref(dim=4, basis_ridge=1.0, capacity=0),
    hierarchical.hierarchical(spread=1.0),
  ],
  ids=['pref', 'hierarchical'],
)
def test_coefficients_are_recovered(learner, low_rank):
  state = fit(learner, low_rank[0], SEEN)
  found = score(learner, state, *low_rank, SEEN)
  assert found > 0.9
  plain = fit(AGGREGATE, low_rank[0], SEEN)
  assert found > score(AGGREGATE, plain, *low_rank, SEEN) + 0.3
  few, many = (
    score(learner, state, *low_rank, ~SEEN, limit=n) for n in (5, 50)
  )
  assert score(learner, state, *low_rank, ~SEEN, limit=0) < few < many
  assert many > 0.8


def test_mixtures_are_recovered():
  rng = np.random.default_rng(6)
  bases = 3 * rng.normal(size=(3, D))
  data = simulate(rng.dirichlet([0.3] * 3, U) @ bases)
  learner = lore.lore(
    dim=3, basis_ridge=0.1, strength=0.3, steps=400, capacity=0
  )
  state = fit(learner, data[0], SEEN)
  found = score(learner, state, *data, SEEN)
  plain = fit(AGGREGATE, data[0], SEEN)
  assert found > 0.9
  assert found > score(AGGREGATE, plain, *data, SEEN) + 0.1


@pytest.mark.slow
def test_mixture_weights_are_recovered_up_to_what_is_identifiable():
  # A simplex can be replaced by another around the same people, so that
  # weights and bases are known up to an invertible map: their column spaces.
  rng = np.random.default_rng(6)
  bases = 3 * rng.normal(size=(3, D))
  weights = rng.dirichlet([0.3] * 3, U)
  batch, _, _ = simulate(weights @ bases, answers=1000)
  learner = lore.lore(
    dim=3, basis_ridge=0.01, strength=0.1, steps=2000, capacity=0
  )
  state = fit(learner, batch, np.ones(U, bool))
  found = inference.infer(
    learner.system, state.params, batch, key=state.key, people=U
  )
  basis = state.params['reward']['basis']
  for mine, theirs in ((np.exp(found), weights), (basis, bases.T)):
    angles = np.degrees(linalg.subspace_angles(mine, theirs))
    assert angles.max() < 5


@pytest.mark.slow
@pytest.mark.parametrize(('kl_weight', 'used'), [(1e-4, True), (1.0, False)])
def test_vpl_collapses_under_a_heavy_divergence(kl_weight, used):
  rng = np.random.default_rng(7)
  taste = 2 * rng.normal(size=(2, D))
  batch, _, _ = simulate(taste[rng.integers(0, 2, U)], answers=80)
  learner = amortized.vpl(
    dim=4, latent=4, width=16, kl_weight=kl_weight, steps=400, capacity=20
  )
  state = fit(learner, batch, SEEN)
  contexts = inference.infer(
    learner.system, state.params, batch, key=state.key, people=U, limit=20
  )
  found = amortization.collapse(contexts)
  assert (found.active_units > 0) == used
  assert (found.kl > 0.5) == used
