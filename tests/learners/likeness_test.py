"""Policies of Gaussian texts: what the discriminator recovers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.learners import likeness, polar
from prm_jax.ops import discrimination
from prm_jax.runtime import train, trees
from prm_jax.users import references

F, P, EACH = 12, 40, 20


def world(seed=0):
  """Texts of policies that differ along two of twelve directions."""
  rng = np.random.default_rng(seed)
  mixing = rng.normal(size=(F, F)) / F**0.5 + np.eye(F)
  style = np.zeros((2 * P, F))
  style[:, :2] = 2 * rng.normal(size=(2 * P, 2))
  policy = np.repeat(np.arange(2 * P), EACH)
  texts = style[policy] + rng.normal(size=(len(policy), F))
  return (texts @ mixing + 3).astype(np.float32), policy


def triples(policy, chosen, n, seed):
  rng = np.random.default_rng(seed)
  own, other = (rng.choice(chosen, n) for _ in range(2))
  keep = own != other
  place = rng.integers(0, EACH, (3, n))
  items = np.stack(
    [own * EACH + place[0], other * EACH + place[1], own * EACH + place[2]], 1
  )[keep]
  ones = np.ones(len(items), np.float32)
  said = types.Judgements(
    policy[items[:, 0]].astype(np.int32),
    ones,
    ones,
    np.arange(len(items), dtype=np.int32),
  )
  return types.Batch(said, types.Inputs(None, items.astype(np.int32)))


def fit(learner, judged, table, seed=0, **options):
  spec = types.Spec(table.shape[-1], int(judged.rows.user.max()) + 1)
  return train.fit(
    learner, judged.over(table), key=jax.random.key(seed), spec=spec, **options
  )


def accuracy(learner, state, table, rows):
  reward, params = learner.system.reward, state.params['reward']
  encoded = reward.encode(params, jnp.asarray(table))[rows.inputs.index]
  known = references.References(encoded[:, 2:], jnp.ones((len(encoded), 1)))
  score = reward.score(params, encoded[:, :2], known).score
  return float((score[:, 0] > score[:, 1]).mean())


def same_prompt_world(seed=0):
  """Two answers of every policy to every prompt, which moves them all."""
  table, policy = world(seed)
  rng = np.random.default_rng(seed + 1)
  prompt = np.tile(np.repeat(np.arange(EACH // 2), 2), 2 * P)
  moved = 8 * rng.normal(size=(EACH // 2, F)).astype(np.float32)
  return table + moved[prompt], policy, prompt


def fitted(**options):
  table, policy = world()
  rows = triples(policy, np.arange(P), 4000, 1)
  test = triples(policy, np.arange(P, 2 * P), 4000, 2)
  learner = likeness.likeness(dim=2, **options)
  state = fit(learner, rows, table)
  return accuracy(learner, state, table, test), state


def best(n=100_000):
  """The accuracy of who knows the world, on policies never seen."""
  rng = np.random.default_rng(3)
  own, other = 2 * rng.normal(size=(2, n, 2))
  noise = rng.normal(size=(3, n, 2))
  between = jnp.full(2, 4.0)

  def score(z):
    return discrimination.likelihood_ratio(
      jnp.asarray(z),
      jnp.asarray(own + noise[2])[:, None],
      jnp.ones((n, 1)),
      between,
    )

  return float((score(own + noise[0]) > score(other + noise[1])).mean())


def test_closed_form_is_nearly_the_best_on_policies_never_seen():
  found, state = fitted(shrinkage=0.01)
  assert found == pytest.approx(best(), abs=0.03)
  between = np.exp(state.params['reward']['log_between'])
  np.testing.assert_allclose(between, 4.0, rtol=0.6)


def test_gradient_steps_find_it_too():
  found, _ = fitted(start='random', steps=400, learning_rate=0.03)
  assert found > best() - 0.08


def test_a_given_start_is_kept():
  _, state = fitted(shrinkage=0.01)
  table, policy = world()
  rows = triples(policy, np.arange(P), 100, 1)
  learner = likeness.likeness(dim=2, start='given')
  given = trees.flat(state.params['reward'], 'params/reward')
  again = fit(learner, rows, table, seed=5, given=given)
  jax.tree.map(np.testing.assert_array_equal, again.params, state.params)
  with pytest.raises(ValueError, match="start 'svd': discriminant, random"):
    likeness.likeness(start='svd')


@pytest.mark.slow
def test_decoder_learns_to_compare():
  rng = np.random.default_rng(0)
  policy = np.repeat(np.arange(4), EACH)
  table = np.eye(4, dtype=np.float32)[policy][:, None] + 0.05 * rng.normal(
    size=(len(policy), 2, 4)
  ).astype(np.float32)
  rows = triples(policy, np.arange(4), 256, 1)
  sizes = {
    'vocab_size': 1,
    'hidden_size': 16,
    'intermediate_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'num_key_value_heads': 2,
    'head_dim': 8,
  }
  learner = polar.polar(
    config=sizes,
    length=2,
    embedded=True,
    steps=150,
    learning_rate=1e-2,
    negatives=1,
  )
  state = fit(learner, rows, table)
  assert accuracy(learner, state, table, rows) > 0.9


def test_what_a_prompt_adds_does_not_tell():
  table, _, _ = same_prompt_world()
  rng = np.random.default_rng(0)
  prompts = EACH // 2

  def rows(chosen, n):
    own, other = (rng.choice(chosen, n) for _ in range(2))
    keep = own != other
    asked, one, two = rng.integers(0, prompts, n), *rng.integers(0, 2, (2, n))
    items = np.stack(
      [
        own * EACH + 2 * asked + one,
        other * EACH + 2 * asked + two,
        own * EACH + 2 * asked + 1 - one,
      ],
      1,
    )[keep]
    ones = np.ones(len(items), np.float32)
    user = (own * prompts + asked)[keep].astype(np.int32)
    said = types.Judgements(
      user, ones, ones, np.arange(len(items), dtype=np.int32)
    )
    return types.Batch(said, types.Inputs(None, items.astype(np.int32)))

  def told(**options):
    learner = likeness.likeness(dim=2, shrinkage=0.01, **options)
    judged = rows(np.arange(P), 4000)
    if 'prompts' not in options:
      policy = judged.rows.user // prompts
      judged = judged._replace(rows=judged.rows._replace(user=policy))
    state = fit(learner, judged, table)
    test = rows(np.arange(P, 2 * P), 4000)
    return accuracy(learner, state, table, test)

  known = told(prompts=prompts)
  assert known > best() - 0.05
  assert told() < known - 0.1
