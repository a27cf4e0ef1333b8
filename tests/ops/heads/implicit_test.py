import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.ops.heads import choices, implicit


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def log_sigma(x):
  return -np.logaddexp(0, -x)


def test_rewards_of_answers_and_of_their_steps(rng):
  pi, ref = rng.normal(-2, 1, size=(2, 3, 6))
  mask = np.array([[0, 1, 1, 1, 0, 0], [1] * 6, [0] * 6])
  dirty = np.where(mask > 0, pi, np.nan)
  args = (jnp.asarray(dirty), jnp.asarray(ref), jnp.asarray(mask))
  want = 0.1 * ((pi - ref) * mask).sum(1)
  found = implicit.reward(*args, beta=0.1)
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-7)
  step = np.tile([0, 0, 1, 1, 1, 2], (3, 1))
  parts = implicit.step_reward(*args, jnp.asarray(step), steps=3, beta=0.1)
  for s in range(3):
    own = 0.1 * ((pi - ref) * mask * (step == s)).sum(1)
    np.testing.assert_allclose(parts[:, s], own, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(parts.sum(1), found, rtol=1e-4, atol=1e-7)


def test_simpo(rng):
  pi = rng.normal(-2, 1, size=(2, 6))
  mask = np.array([[1, 1, 1, 0, 0, 0], [1] * 6])
  found = implicit.average(jnp.asarray(pi), jnp.asarray(mask), beta=2.0)
  want = 2.0 * np.array([pi[0, :3].mean(), pi[1].mean()])
  np.testing.assert_allclose(found, want, rtol=1e-5)
  loss = choices.bradley_terry(found[:1] - found[1:], jnp.ones(1), margin=1.6)
  np.testing.assert_allclose(
    loss, -log_sigma(want[0] - want[1] - 1.6), rtol=1e-5
  )


def test_hybrid(rng):
  d, logprob = rng.normal(size=4), rng.normal(-20, 5, size=(4, 2))
  y = np.array([1.0, 0.0, 0.5, 0.8])
  first = {
    'sft': -log_sigma(0.1 * logprob),
    'nll': -logprob,
    'dpo': -log_sigma(0.1 * (logprob - logprob[:, ::-1])),
  }
  choice = -y * log_sigma(d) - (1 - y) * log_sigma(-d)
  for kind, each in first.items():
    rest = y * each[:, 0] + (1 - y) * each[:, 1]
    found = implicit.hybrid(
      jnp.asarray(d),
      jnp.asarray(logprob),
      jnp.asarray(y),
      weight=0.2,
      regularizer=kind,
    )
    np.testing.assert_allclose(found, 0.8 * choice + 0.2 * rest, rtol=1e-5)
  with pytest.raises(ValueError, match='one of'):
    implicit.hybrid(
      jnp.asarray(d), jnp.asarray(logprob), jnp.asarray(y), regularizer='kl'
    )


def test_verdicts_as_tokens(rng):
  logits = rng.normal(size=(3, 8))
  found = implicit.yes_logit(jnp.asarray(logits), yes=2, no=5)
  p = special.softmax(logits[:, [2, 5]], 1)[:, 0]
  np.testing.assert_allclose(special.expit(np.asarray(found)), p, rtol=1e-5)
  score = implicit.token_score(
    jnp.asarray(logits), tokens=(1, 3, 4), values=[1, 2, 3]
  )
  want = special.softmax(logits[:, [1, 3, 4]], 1) @ [1, 2, 3]
  np.testing.assert_allclose(score, want, rtol=1e-5)
  with pytest.raises(ValueError, match='one token'):
    implicit.yes_logit(jnp.asarray(logits), yes=2, no=2)
  with pytest.raises(ValueError, match='of 8'):
    implicit.yes_logit(jnp.asarray(logits), yes=2, no=8)
  with pytest.raises(ValueError, match='values'):
    implicit.token_score(jnp.asarray(logits), tokens=(1, 3), values=[1])
