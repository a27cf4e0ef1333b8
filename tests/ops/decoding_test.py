import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.ops import decoding
from prm_jax.worlds import language as languages

V, T = 4, 3


def world(seed=0):
  language = languages.draw(jax.random.key(seed), words=V, length=T)
  return language, languages.log_probability(language)


def chances(language, rule):
  """Log-probability of every text when `rule(prefix, logits)` writes it."""
  total = np.zeros(len(language.texts))
  for y, text in enumerate(language.texts):
    prefix = 0
    for t, word in enumerate(text):
      before = language.logits[text[t - 1] if t else V]
      logits = np.asarray(rule(t, prefix, before))
      total[y] += special.log_softmax(logits)[word]
      prefix = prefix * V + word
  return total


def soft_values(reward, log_policy, beta):
  means = languages.prefix_values(jnp.exp(beta * reward), log_policy, V, T)
  return [np.log(np.asarray(m)) / beta for m in means]


@pytest.mark.parametrize('beta', [0.3, 1.0, 3.0])
def test_soft_values_give_exactly_the_tabular_optimum(beta):
  language, log_policy = world()
  reward = language.reward[:, 0]
  values = soft_values(reward, log_policy, beta)

  def rule(t, prefix, logits):
    after = jnp.asarray(values[t + 1][prefix * V : prefix * V + V])
    return decoding.value_augmented(logits, after, beta=beta)

  expected = log_policy + beta * np.asarray(reward)
  expected = expected - special.logsumexp(expected)
  np.testing.assert_allclose(chances(language, rule), expected, atol=1e-4)
  np.testing.assert_allclose(
    decoding.tilted(log_policy, reward, beta), expected, atol=1e-5
  )


def test_plain_values_are_right_to_first_order():
  language, log_policy = world()
  reward = language.reward[:, 0]
  values = languages.prefix_values(reward, log_policy, V, T)
  gaps = []
  for beta in (0.2, 0.1, 0.05):

    def rule(t, prefix, logits, beta=beta):
      after = values[t + 1][prefix * V : prefix * V + V]
      return decoding.value_augmented(logits, after, beta=beta)

    found = chances(language, rule)
    gaps.append(np.abs(found - decoding.tilted(log_policy, reward, beta)).max())
  # Half the temperature, a quarter of the gap.
  assert gaps[0] / gaps[1] > 3.2
  assert gaps[1] / gaps[2] > 3.4


def test_autoregressive_rewards_add_up_for_a_person():
  language, log_policy = world()
  weights, beta = jnp.array([0.5, -1.0, 2.0]), 0.7
  reward = language.reward @ weights
  # A reward model of the optimum, as training on pairs would find it.
  values = soft_values(reward, log_policy, beta)

  def rule(t, prefix, logits):
    after = jnp.asarray(values[t + 1][prefix * V : prefix * V + V])
    model = jax.nn.log_softmax(after)[None]
    return decoding.autoregressive_reward(
      logits, model, weights=jnp.ones(1), beta=beta
    )

  expected = decoding.tilted(log_policy, reward, beta)
  np.testing.assert_allclose(chances(language, rule), expected, atol=1e-4)


def test_multi_objective_is_the_tilt_of_the_weighted_reward():
  language, log_policy = world()
  weights = jnp.array([0.2, 0.5, 0.3])
  policies = jnp.stack(
    [decoding.tilted(log_policy, language.reward[:, j], 1.0) for j in range(3)]
  )
  found = jax.nn.log_softmax(decoding.multi_objective(policies, weights))
  expected = decoding.tilted(log_policy, language.reward @ weights, 1.0)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_args_is_brute_force_and_not_the_optimum():
  rng = np.random.default_rng(0)
  logits, reward = rng.normal(size=(2, 6))
  found = np.asarray(
    decoding.args(jnp.asarray(logits), jnp.asarray(reward), weight=2.0, top_k=3)
  )
  kept = np.argsort(-logits)[:3]
  expected = np.full(6, -np.inf)
  expected[kept] = special.log_softmax(logits)[kept] + 2 * reward[kept]
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  # The published flaw: a reward of parts of texts misses the target.
  language, log_policy = world()
  reward = np.asarray(language.reward[:, 0])
  part = [np.zeros(V**t) for t in range(T)] + [reward]

  def rule(t, prefix, logits):
    after = jnp.asarray(part[t + 1][prefix * V : prefix * V + V])
    return decoding.args(logits, after, weight=1.0, top_k=V)

  found = chances(language, rule)
  expected = decoding.tilted(log_policy, jnp.asarray(reward), 1.0)
  assert np.abs(found - expected).max() > 0.1


def test_only_the_top_tokens_change():
  logits = jnp.array([3.0, 2.0, 1.0, 0.0])
  value = jnp.array([0.0, 1.0, 50.0, 50.0])
  found = decoding.value_augmented(logits, value, beta=1.0, top_k=2)
  np.testing.assert_allclose(found, [2.5, 2.5, 1.0, 0.0])


def test_returns_are_the_definition():
  rng = np.random.default_rng(0)
  values, rewards = rng.normal(size=(2, 5))
  mask = np.array([1, 1, 1, 1, 0.0])
  lam, gamma = 0.8, 0.9
  expected = np.zeros(5)
  for t in reversed(range(4)):
    nxt = (1 - lam) * values[t + 1] + lam * expected[t + 1] if t < 3 else 0
    expected[t] = rewards[t] + gamma * nxt
  found = decoding.td_lambda(
    jnp.asarray(values),
    jnp.asarray(rewards),
    jnp.asarray(mask),
    discount=gamma,
    decay=lam,
  )
  np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-5)


def test_best_of_n_is_what_sampling_finds_and_its_divergence_bounded():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.ones(12))
  reward = rng.normal(size=12).round(1)
  reward[3] = reward[5]  # a tie
  for n in (1, 4, 16):
    found = np.asarray(
      decoding.best_of_n(jnp.asarray(p), jnp.asarray(reward), n)
    )
    draws = rng.choice(12, (200_000, n), p=p)
    best = draws[np.arange(len(draws)), reward[draws].argmax(1)]
    share = np.bincount(best, minlength=12) / len(draws)
    np.testing.assert_allclose(found, share, atol=6e-3)
    assert abs(found.sum() - 1) < 1e-5
    kl = float(decoding.divergence(jnp.asarray(found), jnp.asarray(p)))
    assert kl <= decoding.best_of_n_bound(n) + 1e-5


def test_the_bound_is_attained_by_many_texts():
  p = jnp.full(20_00, 1 / 2000)
  found = decoding.best_of_n(p, jnp.arange(2000.0), 8)
  kl = float(decoding.divergence(found, p))
  assert abs(kl - decoding.best_of_n_bound(8)) < 5e-3


def test_soft_best_of_n_between_any_and_the_best():
  reward = jnp.array([0.0, 1.0, 3.0])
  keys = jax.random.split(jax.random.key(0), 20_000)
  for beta in (0.0, 1.0):
    taken = jax.vmap(lambda k, b=beta: decoding.soft_best_of_n(k, reward, b))(
      keys
    )
    share = np.bincount(np.asarray(taken), minlength=3) / len(keys)
    np.testing.assert_allclose(
      share, special.softmax(beta * np.asarray(reward)), atol=0.01
    )
  assert int(decoding.soft_best_of_n(keys[0], reward, 1e4)) == 2


def test_value_of_the_best_is_that_over_all_subsets():
  rng = np.random.default_rng(0)
  score, value = rng.normal(size=(2, 3, 7))
  found = decoding.value_of_best(score, value, (1, 2, 4, 7))
  for n, mean in found.items():
    want = np.mean(
      [
        values[max(chosen, key=lambda i, s=scores: s[i])]
        for scores, values in zip(score, value, strict=True)
        for chosen in itertools.combinations(range(7), n)
      ]
    )
    assert mean == pytest.approx(want, abs=1e-12)


def test_value_of_the_best_of_many_does_not_overflow():
  score = np.random.default_rng(0).normal(size=(2, 5000))
  found = decoding.value_of_best(score, score, (1, 1024, 5000))
  assert found[1] == pytest.approx(score.mean())
  assert found[5000] == pytest.approx(score.max(1).mean())
  assert found[1] < found[1024] < found[5000]
