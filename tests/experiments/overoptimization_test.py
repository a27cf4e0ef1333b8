"""The study of over-optimisation: it runs, and tables say what runs hold."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import overoptimization
from experiments.overoptimization import arms, experiment, tables
from prm_jax.lab import study
from prm_jax.worlds import overdone


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('over')
  study.run(experiment.STUDY, overoptimization.get_config('smoke'), workdir)
  return workdir


@pytest.mark.slow
def test_the_study_runs(smoke):
  results = json.loads((smoke / 'results.json').read_text())
  kept = results['tables']['kept']
  assert {row['arm'] for row in kept} >= {'mean', 'WCO', 'UWO', 'gold'}
  gold = next(row for row in kept if row['arm'] == 'gold')
  assert gold['kept'] == pytest.approx(1.0)
  assert gold['accuracy'] == pytest.approx(1.0)
  best = [r for r in results['tables']['best_of_n'] if r['arm'] == 'mean']
  assert [row['n'] for row in best] == [1, 4, 16]
  assert best[0]['kl'] == 0.0
  page = (smoke / 'report' / 'index.html').read_text()
  assert 'A policy in training' in page


@pytest.fixture(scope='module')
def fitted():
  config = overoptimization.get_config('smoke')
  of = overdone.gold(0, dim=config.dim, **config.gold)
  rng = np.random.default_rng(0)
  batch = overdone.judged(of, rng, pairs=200, flipped=0.25)
  node = {**config, 'ridges': (1.0,)}
  return arms.arms(of, batch, 0, node)[0], batch


def test_penalties_are_below_the_mean(fitted):
  made, batch = fitted
  texts = jnp.asarray(batch.inputs.value[:50])
  score = {name: np.asarray(arm.score(texts)) for name, arm in made.items()}
  for name in ('WCO', 'UWO', 'lower bound'):
    assert (score[name] <= score['mean'] + 1e-5).all()
    assert made[name].penalized
  assert (score['Laplace lower bound'] < score['linear mean']).all()
  # Far away less is known.
  far = {
    name: np.asarray(made[name].score(5 * texts))
    for name in ('linear mean', 'Laplace lower bound')
  }
  near = score['linear mean'] - score['Laplace lower bound']
  assert (far['linear mean'] - far['Laplace lower bound'] > near).mean() > 0.9


def test_members_are_taken_against_their_own_mean(fitted):
  made, batch = fitted
  texts = jnp.asarray(batch.inputs.value)
  assert float(jnp.mean(made['one network'].score(texts))) == pytest.approx(
    0.0, abs=1e-4
  )
  assert float(jnp.mean(made['mean'].score(texts))) == pytest.approx(
    0.0, abs=1e-4
  )


def test_a_policy_climbs_what_it_is_given():
  config = overoptimization.get_config('smoke')
  of = overdone.gold(0, dim=config.dim, **config.gold)
  run = experiment.policy(config, of, lambda x: x[..., 0], 0)
  divergence, _, own = np.array(run).T
  assert divergence[0] == pytest.approx(0.0, abs=1e-6)
  assert (np.diff(divergence) > 0).all()
  assert (np.diff(own) > 0).all()
  # Of a mean alone: the other features stay where they were.
  np.testing.assert_allclose(divergence[-1], 0.5 * own[-1] ** 2, rtol=0.3)


def record(seed, gold, policy):
  arm = {
    'fit': 'f',
    'arm': 'a',
    'penalized': True,
    'accuracy': 0.7,
    'best': [[n, value] for n, value in zip((1, 4, 16), gold, strict=True)],
    'policy': policy,
  }
  return {'seed': seed, 'arms': [arm]}


def test_what_is_kept_of_the_peak():
  made = tables.tables(
    [
      record(0, [0.0, 2.0, 1.0], [[0.0, 0.0, 0], [2.0, 4.0, 1], [8.0, 1.0, 2]]),
      record(1, [0.0, 2.0, 2.0], [[0.0, 0.0, 0], [2.0, 2.0, 1], [6.0, 2.0, 2]]),
    ]
  )
  (row,) = made['kept']
  assert row['kept'] == pytest.approx(0.75)
  assert row['policy_peak'] == pytest.approx(3.0)
  assert row['policy_end'] == pytest.approx(1.5)
  levels = {r['kl']: r['gold'] for r in made['policy']}
  assert levels[1.0] == pytest.approx(1.5)
  assert levels[4.0] == pytest.approx((3.0 + 2.0) / 2)
  assert 8.0 not in levels  # one of them does not go so far
  assert 'keeps 75.0 %' in tables.answer(made)[0]


def test_hinges():
  found = arms.hinges(jnp.array([[2.0, -1.5]]))
  np.testing.assert_allclose(found, [[2.0, -1.5, 1.0, 0.0, 0.0, 0.5]])
  assert jax.eval_shape(arms.hinges, jnp.zeros((3, 4))).shape == (3, 12)


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    overoptimization.get_config('huge')
