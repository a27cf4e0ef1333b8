"""Linear rewards as vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry, toys, types
from prm_jax.models import classifier
from prm_jax.models.weights import huggingface
from prm_jax.rewards import backbone, factorized
from prm_jax.systems import linear_scores
from prm_jax.users import gaussian

PEOPLE, J = 3, 2
D = toys.READER.hidden_size
SPEC = types.Spec(D, PEOPLE)


def drawn(tree, seed):
  """A tree's leaves, moved at random."""
  leaves, shape = jax.tree.flatten(tree)
  rng = np.random.default_rng(seed)
  return jax.tree.unflatten(
    shape,
    [
      leaf + 0.3 * rng.normal(size=np.shape(leaf)).astype('f4')
      for leaf in leaves
    ],
  )


def fitted(kind, **trunk):
  """A system on a decoder, its parameters, and what is believed of people."""
  node = {'config': toys.READER, **trunk}
  options = {} if kind == 'aggregate' else {'dim': J}
  learner = registry.build(
    'learner', {'kind': kind, 'backbone': node, 'steps': 1, **options}
  )
  system = learner.system
  reward = drawn(system.reward.init(jax.random.key(0), SPEC), 1)
  user = system.user.init(jax.random.key(1), types.Spec(J, PEOPLE))
  rng = np.random.default_rng(2)
  if kind == 'pref':
    mean = jnp.asarray(rng.normal(size=(PEOPLE, J)), jnp.float32)
    contexts = gaussian.Context(mean, jnp.zeros((PEOPLE, J, J)))
  elif kind == 'lore':
    contexts = jnp.asarray(rng.normal(size=(PEOPLE, J)), jnp.float32)
  else:
    prior = system.user.context(user, system.user.prior(user))
    contexts = prior
    assert not jax.tree.leaves(contexts)
  return system, {'reward': reward, 'user': user}, contexts


def texts():
  rng = np.random.default_rng(3)
  mask = (np.arange(9) < np.array([[9], [4], [1], [6]])).astype(np.int32)
  ids = rng.integers(1, toys.READER.vocab_size, mask.shape).astype(np.int32)
  return types.Tokens(ids, mask)


@pytest.mark.parametrize(
  ('kind', 'trunk'),
  [
    ('pref', {'trains': 'adapter', 'rank': 2}),
    ('lore', {'trains': 'frozen'}),
    ('aggregate', {'trains': 'whole'}),
  ],
)
def test_a_score_under_the_trunk_is_the_reward(kind, trunk, tmp_path):
  system, params, contexts = fitted(kind, **trunk)
  count = 1 if kind == 'aggregate' else PEOPLE
  weight = linear_scores.weights(system, params, contexts, D)
  whole = backbone.merged(params['reward'])
  labels = [f'p{at}' for at in range(count)]
  huggingface.save_classifier(
    toys.READER, whole, weight, tmp_path, labels=labels
  )
  own = classifier.Classifier.load(tmp_path)
  given = texts()
  found = classifier.scores(own, given.ids, given.mask)

  @jax.jit
  def score(reward, contexts):
    features = system.reward.features(reward, types.Inputs(given))
    encoded = system.reward.encode(reward, features)
    each = jnp.broadcast_to(encoded, (count, *encoded.shape))
    return system.reward.score(reward, each, contexts).score

  want = np.asarray(score(params['reward'], contexts)).T
  np.testing.assert_allclose(found, want, atol=1e-5 * np.abs(want).max())
  if count > 1:
    assert np.ptp(want, axis=1).min() > 0.01  # people differ


def test_rewards_that_are_no_vector_are_refused():
  reward = factorized.network(dim=J)
  params = drawn(reward.init(jax.random.key(0), SPEC), 4)
  system, known, contexts = fitted('pref', trains='frozen')
  with pytest.raises(ValueError, match='not linear in the features'):
    linear_scores.weights(
      system._replace(reward=reward), {**known, 'reward': params}, contexts, D
    )
  shifted = system.reward._replace(
    encode=lambda params, x: system.reward.encode(params, x) + 1
  )
  with pytest.raises(ValueError, match='have an offset'):
    linear_scores.weights(system._replace(reward=shifted), known, contexts, D)
  with pytest.raises(ValueError, match='a safeguard or a head'):
    linear_scores.weights(
      system._replace(safeguard=object()), known, contexts, D
    )


def test_a_top_stands_on_its_layers(tmp_path):
  """Adapters and whole tops, against the reward that has them apart."""
  config = toys.READER
  layers = config.num_hidden_layers
  for trains in ('adapter', 'whole') if layers > 1 else ():
    system, params, _ = fitted('aggregate', trains=trains, top=1, rank=2)
    whole = backbone.merged(params['reward'])
    plain = backbone.backbone(factorized.factorized(dim=J), config)
    given = types.Inputs(texts())
    found = plain.features({'backbone': whole}, given)
    want = system.reward.features(params['reward'], given)
    np.testing.assert_allclose(found, want, atol=1e-5)
  assert layers > 1


@pytest.mark.parametrize('kind', ['pref', 'lore', 'aggregate'])
def test_factors_are_what_is_shared_and_what_is_own(kind):
  system, params, contexts = fitted(kind, trains='frozen')
  found = linear_scores.factors(system, params, contexts, D)
  assert found.basis.shape == (1 if kind == 'aggregate' else J, D)
  want = linear_scores.weights(system, params, contexts, D)
  np.testing.assert_allclose(
    found.coefficients @ found.basis, want, atol=1e-5 * np.abs(want).max()
  )
  if kind == 'pref':
    mean = np.asarray(contexts.mean)
    np.testing.assert_allclose(found.coefficients, mean, rtol=1e-3)
