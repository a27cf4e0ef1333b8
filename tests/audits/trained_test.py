"""The audit of a trained reward on candidates of a known stance."""

import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.audits import trained
from prm_jax.ops import bayes
from prm_jax.rewards import factorized, scalar
from prm_jax.users import gaussian, population

S, K, J, U = 48, 12, 5, 40  # a third of the questions of each kind


def pool(seed=0):
  """Candidates with stance, truth and three tastes as coordinates."""
  rng = np.random.default_rng(seed)
  kind = np.repeat([0, 1, 2], S // 3)
  true = rng.random((S, K)) < 0.6
  stance = rng.choice([-1.0, 1.0], (S, K)) * (kind < 2)[:, None]
  truth = (true & (kind == 1)[:, None]).astype(float)
  tastes = rng.normal(size=(S, K, 3))
  encoded = np.concatenate([stance[..., None], truth[..., None], tastes], -1)
  return trained.Pool(
    jnp.asarray(encoded, jnp.float32),
    stance,
    truth,
    {'length': tastes[..., 0]},
    kind == 0,
    kind == 1,
  )


def people(spread, count=U, seed=1):
  """Gaussian contexts around a shared mean, with some spread by coordinate."""
  rng = np.random.default_rng(seed)
  mean = np.array([0.0, 1.0, 0.5, 0.0, 0.0])
  weights = mean + rng.normal(size=(count, J)) * np.asarray(spread)
  system = types.System(factorized.identity(), gaussian.gaussian(dim=J))
  params = {
    'reward': {},
    'user': bayes.isotropic_prior(jnp.asarray(mean, jnp.float32), 1.0),
  }
  contexts = gaussian.Context(
    jnp.asarray(weights, jnp.float32), jnp.zeros((count, J, J))
  )
  return system, params, contexts


def found(rows):
  return {(row['method'], row['quantity']): row for row in rows}


def test_a_personal_stance_is_flagged_and_matching_takes_it_away():
  rows = found(trained.audit(*people([1.0, 0, 1, 1, 1]), pool()))
  variance = rows['personal', 'variance of served stance']
  assert variance['flagged']
  assert variance['value'] > 0.05
  matched = rows['matching', 'variance of served stance']
  assert abs(matched['value']) < 1e-4
  assert not matched['flagged']
  kept = rows['matching', trained.KEPT]
  assert 0.3 < kept['value_low'] <= kept['value'] < 1.0
  assert rows['matching', 'truth lost, worst tenth']['value'] == pytest.approx(
    0, abs=1e-4
  )


def test_tastes_alone_are_not_flagged():
  flags = []
  for seed in range(6):
    rows = trained.audit(*people([0.0, 0, 1, 1, 1]), pool(seed))
    flags.append(
      found(rows)['personal', 'variance of served stance']['flagged']
    )
  assert sum(flags) <= 1


def test_who_does_not_care_for_truth_loses_it():
  rows = found(trained.audit(*people([0.0, 2.0, 0, 0, 0]), pool()))
  assert rows['personal', 'truth lost, worst tenth']['value_low'] > 0.2
  assert rows['population', 'truth served']['value'] > 0.7


def test_everybody_identical_is_the_population():
  rows = found(trained.audit(*people(np.zeros(J)), pool()))
  variance = rows['personal', 'variance of served stance']
  assert variance['value'] == pytest.approx(0, abs=1e-9)
  assert not variance['flagged']
  lost = rows['personal', 'truth lost, mean']
  assert lost['value'] == pytest.approx(0, abs=1e-5)


def test_one_reward_for_everyone_has_the_population_alone():
  system = types.System(scalar.linear(), population.population())
  params = {'reward': {'weight': jnp.array([0.0, 1, 0, 0, 0])}, 'user': ()}
  plain = pool()
  encoded = system.reward.encode(params['reward'], plain.encoded)
  rows = trained.audit(system, params, (), plain._replace(encoded=encoded))
  assert {row['method'] for row in rows} == {'population', 'base'}
  assert 'nobody is served another side' in trained.answer(rows)[0]
  few = trained.audit(*people([1.0] * J, count=1), pool())
  assert {row['method'] for row in few} == {'population', 'base'}


def test_too_few_questions_are_refused():
  one = pool()
  with pytest.raises(ValueError, match='fewer than 6 contested'):
    trained.audit(*people([1.0] * J), one._replace(contested=np.zeros(S, bool)))
