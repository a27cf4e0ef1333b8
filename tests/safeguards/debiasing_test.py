"""A bias is planted in one feature, and PReF is trained with and without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.learners import aggregate, pref
from prm_jax.ops import tilting
from prm_jax.runtime import train
from prm_jax.safeguards import debiasing

D, U, M, N = 4, 10, 40, 600


@pytest.fixture(scope='module')
def planted():
  """Everybody likes feature 0, which is the bias, and some other feature."""
  rng = np.random.default_rng(0)
  table = rng.normal(size=(M, D)).astype(np.float32)
  taste = np.array([1.5, 0, 0, 0]) + rng.normal(size=(U, D)) * [0.7, 1, 1, 1]
  user = rng.integers(0, U, N).astype(np.int32)
  items = np.stack([rng.permutation(M)[:2] for _ in range(N)]).astype(np.int32)
  margin = np.sum((table[items[:, 0]] - table[items[:, 1]]) * taste[user], 1)
  label = (rng.random(N) < 1 / (1 + np.exp(-margin))).astype(np.float32)
  said = types.Judgements(
    user, label, np.ones(N, np.float32), np.arange(N, dtype=np.int32)
  )
  return types.Batch(said, types.Inputs(table, items))


def bias_of(batch):
  return batch.inputs.value[:, 0]


@pytest.fixture(scope='module')
def fit(planted):
  def run(learner):
    return train.fit(
      learner, planted, key=jax.random.key(0), spec=types.Spec(D, U)
    )

  return run


def left(batch, learner, state):
  """R^2 of the bias given the encoded answers, by least squares."""
  encode = learner.system.reward.encode
  encoded = np.asarray(
    encode(state.params['reward'], batch.inputs.value), float
  )
  a, b = batch.inputs.index.T
  x, y = encoded[a] - encoded[b], bias_of(batch)[a] - bias_of(batch)[b]
  fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
  return 1 - np.sum((y - fitted) ** 2) / np.sum(y**2)


@pytest.fixture(scope='module')
def plain(fit):
  learner = pref.pref(dim=2, steps=80)
  return learner, fit(learner)


def test_training_leaves_less_of_a_planted_bias(planted, fit, plain):
  learner, before = plain
  assert left(planted, learner, before) > 0.5
  made = debiasing.debiased(learner, bias_of(planted), strength=3.0)
  after = fit(made)
  assert left(planted, made, after) < 0.5 * left(planted, learner, before)
  assert made.system is learner.system
  assert [p.name for p in made.phases] == [p.name for p in learner.phases]


def test_the_penalty_is_the_information_in_nats(planted, plain):
  learner, state = plain
  made = debiasing.debiased(learner, bias_of(planted), strength=2.0)
  index = next(i for i, p in enumerate(learner.phases) if p.objective)
  people = types.Present(state.people.free, state.people.weight)
  arguments = state.params, people, state, planted, lambda leaf: leaf
  terms, penalties, _ = made.phases[index].objective(*arguments)
  old_terms, old, _ = learner.phases[index].objective(*arguments)
  jax.tree.map(np.testing.assert_array_equal, terms, old_terms)
  share = left(planted, learner, state)
  assert float(penalties.pop('bias')) == pytest.approx(
    -np.log(1 - share), rel=0.02
  )
  assert penalties.keys() == old.keys()


def test_a_learner_without_gradient_steps_is_returned_as_it_was():
  learner = aggregate.linear()
  assert not any(phase.objective for phase in learner.phases)
  assert debiasing.debiased(learner, jnp.ones(M)).phases == learner.phases
  assert all(debiasing.CARD)


def test_information_of_what_does_not_vary_has_a_gradient():
  def nats(vector, scalar):
    return tilting.information(vector, scalar, jnp.ones(8))

  rng = np.random.default_rng(1)
  vector = jnp.asarray(rng.normal(size=(8, 2)), jnp.float32)
  gradient = jax.jit(jax.grad(nats))
  for scalar in (jnp.zeros(8), vector[:, 0]):
    for given in (vector, jnp.zeros((8, 2))):
      assert np.isfinite(gradient(given, scalar)).all()
