import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.alignment import selection, values
from prm_jax.ops import decoding
from prm_jax.rewards import factorized
from prm_jax.users import gaussian
from prm_jax.worlds import language as languages

J, K = 3, 6
SYSTEM = types.System(factorized.identity(), gaussian.gaussian(dim=J))


def candidates(seed=0, people=4):
  rng = np.random.default_rng(seed)
  encoded = jnp.asarray(rng.normal(size=(people, K, J)), jnp.float32)
  mean = jnp.asarray(rng.normal(size=(people, J)), jnp.float32)
  factor = jnp.asarray(rng.normal(size=(people, J, J)), jnp.float32)
  return encoded, gaussian.Context(mean, factor)


def test_best_of_n_is_everybodys_argmax():
  encoded, context = candidates()
  found = selection.best_of_n(SYSTEM, {'reward': {}}, encoded, context)
  scores = np.einsum('bkj,bj->bk', encoded, context.mean)
  np.testing.assert_array_equal(found.pick, scores.argmax(1))
  mask = np.ones((4, K), np.float32)
  mask[np.arange(4), scores.argmax(1)] = 0
  second = selection.best_of_n(
    SYSTEM, {'reward': {}}, encoded, context, mask=jnp.asarray(mask)
  )
  np.testing.assert_array_equal(second.pick, np.argsort(scores, 1)[:, -2])


def test_caution_lowers_by_the_deviation_from_the_mean_candidate():
  encoded, context = candidates()
  found = selection.lowered(SYSTEM, {'reward': {}}, encoded, context, 2.0)
  for b in range(4):
    centred = np.asarray(encoded[b] - encoded[b].mean(0))
    sd = np.linalg.norm(centred @ np.asarray(context.factor[b]), axis=1)
    expected = np.asarray(encoded[b] @ context.mean[b]) - 2 * sd
    np.testing.assert_allclose(found[b], expected, rtol=1e-4, atol=1e-4)


def test_soft_choice_is_between():
  encoded, context = candidates()
  soft = selection.soft_best_of_n(
    jax.random.key(0), SYSTEM, {'reward': {}}, encoded, context, beta=1e5
  )
  best = selection.best_of_n(SYSTEM, {'reward': {}}, encoded, context)
  np.testing.assert_array_equal(soft.pick, best.pick)


def test_values_learned_by_td_steer_each_person():
  """A value model of base rewards steers everybody without new training."""
  V, T = 3, 3
  language = languages.draw(jax.random.key(1), words=V, length=T, bases=2)
  log_policy = languages.log_probability(language)
  rng = np.random.default_rng(0)
  drawn = rng.choice(len(log_policy), 4000, p=np.exp(log_policy))
  texts = language.texts[drawn]
  # States are the prefixes themselves; the end of a text is one more state.
  offsets = [sum(V**s for s in range(t)) for t in range(T + 1)]
  number = np.zeros((len(texts), T), int)
  prefix = np.zeros(len(texts), int)
  for t in range(T):
    number[:, t] = offsets[t] + prefix
    prefix = prefix * V + texts[:, t]
  count = offsets[T]
  states = jnp.eye(count)[number]
  rewards = jnp.zeros((len(texts), T, 2))
  rewards = rewards.at[:, -1].set(language.reward[drawn])
  params = values.fit(
    jax.random.key(0),
    states,
    rewards,
    jnp.ones((len(texts), T)),
    hidden=(),
    learning_rate=0.05,
    steps=800,
  )
  learned = values.apply(params, jnp.eye(count), hidden=(), bases=2)
  exact = languages.prefix_values(language.reward, log_policy, V, T)
  common = np.concatenate([np.asarray(exact[t]) for t in range(T)])
  # Sampling noise of 4,000 texts, larger for rare prefixes.
  assert np.abs(np.asarray(learned) - common)[:4].max() < 0.1
  people = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
  after = learned[1 : 1 + V]
  logits = selection.personal_tilt(
    jnp.tile(language.logits[V], (2, 1)),
    jnp.tile(after, (2, 1, 1)),
    people,
    beta=0.5,
  )
  for person, logit in zip(people, logits, strict=True):
    optimum = decoding.tilted(log_policy, language.reward @ person, 0.5)
    first = np.exp(optimum).reshape(V, -1).sum(1)
    plain = np.exp(log_policy).reshape(V, -1).sum(1)
    steered = np.asarray(jax.nn.softmax(logit))
    # To first order the optimum's; well beyond the frozen policy.
    assert np.abs(steered - first).sum() < 0.35 * np.abs(plain - first).sum()
