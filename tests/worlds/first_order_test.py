import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.worlds import first_order
from prm_jax.worlds import language as languages

V, T = 3, 4


@pytest.fixture(scope='module')
def population():
  return first_order.draw(
    jax.random.key(0), policies=5, words=V, length=T, deviation=0.5
  )


def exact(population):
  return jax.vmap(first_order.log_probability, (0, None))(
    population.logits, population.texts
  )


def test_log_probability_is_the_product_of_words(population):
  found = np.asarray(exact(population))
  assert found.shape == (5, V**T)
  np.testing.assert_allclose(np.exp(found).sum(1), 1.0, rtol=1e-5)
  step = special.log_softmax(np.asarray(population.logits), -1)
  text = population.texts[17]
  by_hand = step[2, V, text[0]]
  for before, word in itertools.pairwise(text):
    by_hand += step[2, before, word]
  np.testing.assert_allclose(found[2, 17], by_hand, rtol=1e-5)


def test_a_policy_is_a_language(population):
  language = languages.Language(
    population.texts, population.logits[1], jnp.zeros((V**T, 1))
  )
  np.testing.assert_allclose(
    exact(population)[1], languages.log_probability(language), rtol=1e-5
  )


def test_samples_have_the_policys_frequencies(population):
  n = 40_000
  logits = jnp.broadcast_to(population.logits[:2, None], (2, n, V + 1, V))
  texts = first_order.sample(jax.random.key(1), logits, length=T)
  assert texts.shape == (2, n, T)
  many = first_order.sample(
    jax.random.key(1), population.logits[0], length=T, shape=(2, n)
  )
  assert many.shape == (2, n, T)
  np.testing.assert_array_equal(many[0], texts[0])
  rows = np.asarray(first_order.index(texts, V))
  for p in range(2):
    share = np.bincount(rows[p], minlength=V**T) / n
    expected = np.exp(exact(population)[p])
    np.testing.assert_allclose(share, expected, atol=0.01)


def test_index_finds_every_text(population):
  found = first_order.index(population.texts, V)
  np.testing.assert_array_equal(found, np.arange(V**T))


def test_divergence_is_exact_and_grows_with_the_deviation(population):
  log_p = np.asarray(exact(population), float)
  by_hand = (np.exp(log_p[0]) * (log_p[0] - log_p[1])).sum()
  found = first_order.divergence(jnp.asarray(log_p[0]), jnp.asarray(log_p[1]))
  np.testing.assert_allclose(found, by_hand, rtol=1e-4)
  assert (
    float(first_order.divergence(exact(population)[0], exact(population)[0]))
    == 0.0
  )
  means = []
  for deviation in (0.25, 1.0):
    world = first_order.draw(
      jax.random.key(0), policies=20, words=V, length=T, deviation=deviation
    )
    base = first_order.log_probability(world.base, world.texts)
    means.append(float(first_order.divergence(base, exact(world)).mean()))
  assert means[0] < 0.2 * means[1]


def test_no_score_beats_the_predictive_ratio(population):
  log_p = exact(population)
  p = np.exp(np.asarray(log_p, float))
  found = np.asarray(first_order.predictive_ratio(log_p, np.arange(V**T)))
  # By hand, for one reference and one candidate.
  weight = p[:, 7] / p[:, 7].sum()
  expected = np.log((weight * p[:, 11]).sum() / p[:, 11].mean())
  np.testing.assert_allclose(found[7, 11], expected, atol=1e-4)

  joint = np.einsum('pa,pb->ab', p, p) / len(p)  # reference and positive
  other = p.mean(0)

  def loss(score):
    margin = score[:, :, None] - score[:, None, :]
    chance = joint[:, :, None] * other[None, None]
    return (chance * np.logaddexp(0, -margin)).sum()

  best = loss(found)
  rng = np.random.default_rng(0)
  for size in (0.01, 0.3):
    assert loss(found + size * rng.normal(size=found.shape)) > best
  assert loss(1.2 * found) > best
  assert loss(0.8 * found) > best


def test_the_least_loss_is_that_of_the_predictive_ratio(population):
  log_p = exact(population)
  p = np.exp(np.asarray(log_p, float))
  # Policies that are all alike cannot be told apart.
  alike = jnp.broadcast_to(log_p[:1], log_p.shape)
  assert float(first_order.least_loss(alike)) == pytest.approx(
    np.log(2), abs=1e-5
  )
  # By hand, for the references that were drawn.
  drawn = [
    int(jax.random.categorical(key, log_p[i]))
    for i, key in enumerate(jax.random.split(jax.random.key(0), 5))
  ]
  losses = []
  for i, reference in enumerate(drawn):
    weight = p[:, reference] / p[:, reference].sum()
    score = np.log(weight @ p / p.mean(0))
    margin = score[:, None] - score[None]
    chance = p[i][:, None] * p.mean(0)
    losses.append((chance * np.logaddexp(0, -margin)).sum())
  found = float(first_order.least_loss(log_p))
  assert found == pytest.approx(np.mean(losses), abs=1e-5)
  assert float(first_order.least_loss(log_p, 2)) == pytest.approx(
    np.mean(losses[:2]), abs=1e-5
  )
  assert found < np.log(2)


def test_triples_are_two_texts_of_a_policy_and_one_of_another():
  # Policies that write one word only, each its own.
  logits = 40.0 * jnp.broadcast_to(jnp.eye(3)[:, None], (3, 4, 3))
  reference, positive, negative = first_order.triples(
    jax.random.key(1), logits, batch=200, pairs=2, length=T
  )
  assert reference.shape == (200, T)
  assert positive.shape == negative.shape == (200, 2, T)
  np.testing.assert_array_equal(
    positive, np.broadcast_to(reference[:, None], positive.shape)
  )
  own, other = np.asarray(reference)[:, 0], np.asarray(negative)[..., 0]
  assert (other != own[:, None]).all()
  # Each policy, and each of its two others, about equally often.
  assert np.bincount(own).min() > 40
  assert np.bincount(((other - own[:, None]) % 3).ravel()).min() == 0
  assert np.bincount(((other - own[:, None]) % 3).ravel())[1:].min() > 150


def test_the_likeliest_policy_by_hand_and_of_many_texts():
  world = first_order.draw(jax.random.key(0), policies=1, words=2, length=4)
  log_start = first_order.log_probability(world.base, world.texts)

  def likeliest(references, added):
    return first_order.likeliest(
      log_start, world.texts, references, jnp.array([added]), words=2
    )[0, 0]

  found = likeliest(jnp.array([[0b0110]]), 1e-6)
  # 0 first; after 0 comes 1; after 1 comes 1 or 0, equally often.
  expected = {0b0110: 1 / 4, 0b0111: 1 / 4, 0b0101: 1 / 4 * 2}
  assert np.exp(found[0b0110]) == pytest.approx(expected[0b0110], abs=1e-3)
  assert np.exp(found[0b0111]) == pytest.approx(expected[0b0111], abs=1e-3)
  assert np.exp(found[0b0101]) == pytest.approx(expected[0b0101], abs=1e-3)
  # Nothing but the start's texts: the start.
  kept = likeliest(jnp.zeros((1, 0), int), 3.0)
  np.testing.assert_allclose(kept, log_start, atol=1e-4)
