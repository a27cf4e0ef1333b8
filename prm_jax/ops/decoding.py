"""Reward-guided decoding: next-token logits, and what best-of-n does.

All rules change the logits of a frozen policy; `[..., V]` is the vocabulary.
With rewards r and inverse temperature beta, the target of all of them is

    pi(y) proportional to pi_0(y) exp(beta r(y))
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision


def args(
  logits: types.Array, reward: types.Array, *, weight: float, top_k: int
) -> types.Array:
  """Returns ARGS's scores `[..., V]`: log-probability plus weighted reward.

  Only the `top_k` likeliest tokens are kept; the others get -inf. The next
  token is the argmax, or a draw from the softmax.

  Args:
    logits: `[..., V]` of the frozen policy.
    reward: `[..., V]` of the text with each token appended.
    weight: of the reward.
    top_k: candidates.

  References:
    Khanov et al. 2024 (ARGS), arXiv:2402.01694.

  Notes:
    The released code adds the reward to raw logits, which the softmax does
    not see as different; as published, a reward of whole texts scores parts
    of them, which is not the tilted policy: `value_augmented` is.
  """
  chex.assert_equal_shape([logits, reward])
  score = jax.nn.log_softmax(logits, -1) + weight * reward
  return jnp.where(_top(logits, top_k), score, -jnp.inf)


def value_augmented(
  logits: types.Array,
  value: types.Array,
  *,
  beta: float | types.Array,
  top_k: int | None = None,
) -> types.Array:
  """Returns logits of value-augmented sampling, `[..., V]`.

      log pi_0(v) + beta (V(y v) - mean over candidates)

  Exact where V(y) = log E_pi_0[exp(beta r) | y] / beta, the soft value, and
  for small beta with the plain expected reward, which TD learns.

  Args:
    logits: `[..., V]` of the frozen policy.
    value: `[..., V]` of the text with each token appended.
    beta: inverse temperature.
    top_k: change the likeliest tokens only, as published; all if None.

  References:
    Han et al. 2024 (VAS), arXiv:2405.06639.
  """
  chex.assert_equal_shape([logits, value])
  top = jnp.ones(logits.shape, bool) if top_k is None else _top(logits, top_k)
  count = jnp.sum(top, -1, keepdims=True)
  mean = jnp.sum(jnp.where(top, value, 0.0), -1, keepdims=True) / count
  return logits + jnp.where(top, beta * (value - mean), 0.0)


@precision.highest
def multi_objective(
  log_policies: types.Array, weights: types.Array
) -> types.Array:
  """Returns MOD's logits `[..., V]`: the weighted sum of log-policies.

  With pi_i proportional to pi_0 exp(r_i) and weights that sum to 1, the
  result is proportional to pi_0 exp(sum_i w_i r_i) for one token, and for
  texts up to their normalisers.

  Args:
    log_policies: `[I, ..., V]` log-probabilities.
    weights: `[I]`.

  References:
    Shi et al. 2024 (MOD), arXiv:2406.18853.
  """
  chex.assert_equal(log_policies.shape[0], weights.shape[0])
  return jnp.tensordot(weights, log_policies, 1)


@precision.highest
def autoregressive_reward(
  logits: types.Array,
  log_reward: types.Array,
  *,
  weights: types.Array,
  beta: float | types.Array = 1.0,
) -> types.Array:
  """Returns GenARM's logits `[..., V]`.

      log pi_0(v) + beta sum_i w_i log pi_i(v)

  Args:
    logits: `[..., V]` of the frozen policy.
    log_reward: `[I, ..., V]` log-probabilities of the autoregressive reward
      models, whose reward of a text is the sum over its tokens.
    weights: `[I]` of the reward models: a person's coefficients.
    beta: inverse temperature.

  References:
    Xu et al. 2024 (GenARM), arXiv:2410.08193.
  """
  return logits + beta * jnp.tensordot(weights, log_reward, 1)


def td_lambda(
  values: types.Array,
  rewards: types.Array,
  mask: types.Array,
  *,
  discount: float = 1.0,
  decay: float = 0.95,
) -> types.Array:
  """Returns the lambda-returns `[..., T]` that a value model is trained on.

      G_t = r_t + gamma ((1 - lambda) V_{t+1} + lambda G_{t+1}),

  and G_t = r_t at the last step.

  Args:
    values: `[..., T]` of the states before each token; no gradient is taken.
    rewards: `[..., T]` after each token.
    mask: `[..., T]` 1 for a token, 0 for padding after it.
    discount: gamma.
    decay: lambda.

  References:
    Sutton and Barto 2018, chapter 12.
  """
  chex.assert_equal_shape([values, rewards, mask])
  values = jax.lax.stop_gradient(values)
  later = jnp.concatenate([values[..., 1:], values[..., :1] * 0.0], -1)
  alive = jnp.concatenate([mask[..., 1:], mask[..., :1] * 0.0], -1)

  def step(after, now):
    reward, value, goes_on = now
    mixed = (1.0 - decay) * value + decay * after
    target = reward + discount * goes_on * mixed
    return target, target

  def first(leaf):
    return jnp.moveaxis(leaf, -1, 0)

  start = jnp.zeros_like(values[..., 0])
  columns = first(rewards), first(later), first(alive)
  _, targets = jax.lax.scan(step, start, columns, reverse=True)
  return jnp.moveaxis(targets, 0, -1)


def tilted(
  log_policy: types.Array, reward: types.Array, beta: float | types.Array
) -> types.Array:
  """Returns log pi with pi proportional to pi_0 exp(beta r), over axis -1."""
  return jax.nn.log_softmax(log_policy + beta * reward, -1)


def best_of_n(
  probability: types.Array, reward: types.Array, n: int
) -> types.Array:
  """Returns the distribution `[Y]` of the best of n independent draws.

  P(y) = pi_0(y) (F(r)^n - F(r-)^n) / (F(r) - F(r-)), with F the distribution
  function of the reward; draws of equal reward are equally likely.

  Args:
    probability: `[Y]` of each text under the frozen policy.
    reward: `[Y]`.
    n: draws.
  """
  chex.assert_equal_shape([probability, reward])
  same = reward[:, None] == reward[None]
  below = reward[:, None] > reward[None]
  mass = jnp.sum(jnp.where(same, probability[None], 0.0), 1)
  under = jnp.sum(jnp.where(below, probability[None], 0.0), 1)
  level = (under + mass) ** n - under**n
  return level * probability / jnp.maximum(mass, jnp.finfo(mass.dtype).tiny)


def soft_best_of_n(
  key: types.Key, reward: types.Array, beta: float | types.Array
) -> types.Array:
  """Returns which of n draws `[...]` soft best-of-n takes.

  One is drawn with weights exp(beta r); beta 0 takes any, infinity the best.

  Args:
    key: of the choice.
    reward: `[..., n]` of the draws.
    beta: inverse temperature.

  References:
    Verdun et al. 2025 (soft best-of-n), arXiv:2505.03156.
  """
  return jax.random.categorical(key, beta * reward, axis=-1)


def divergence(probability: types.Array, reference: types.Array) -> types.Array:
  """Returns KL(probability | reference) in nats, over axis -1."""
  ratio = jnp.where(probability > 0, probability / reference, 1.0)
  return jnp.sum(probability * jnp.log(ratio), -1)


def value_of_best(
  score: np.ndarray, value: np.ndarray, counts: Sequence[int]
) -> dict[int, float]:
  """Returns the mean value of the best of n by a score, without bias.

  Over all subsets of n of the N answers to each prompt: the i-th worst of them
  is the best of a subset in C(i - 1, n - 1) of C(N, n).

  Args:
    score: `[S, N]` that selects.
    value: `[S, N]` that is measured.
    counts: n.

  References:
    Gao et al. 2022, Scaling laws for reward model overoptimization,
    arXiv:2210.10760, equation of appendix I; Nakano et al. 2021.
  """
  order = np.argsort(score, 1)
  ranked = np.take_along_axis(value, order, 1).mean(0)
  N = len(ranked)
  made = {}
  for n in counts:
    # C(i - 1, n - 1) / C(N, n), from the last one down.
    ratio = np.ones(N)
    i = np.arange(N, n, -1)
    ratio[1 : len(i) + 1] = np.cumprod((i - n) / (i - 1))
    ratio[len(i) + 1 :] = 0.0
    chance = (n / N * ratio)[::-1]
    made[n] = float(chance @ ranked)
  return made


def best_of_n_bound(n: int) -> float:
  """Returns log n - (n - 1) / n, the most KL that best-of-n can have.

  It is attained where no single text has weight; ties and atoms have less.

  References:
    Beirami et al. 2024, arXiv:2401.01879.
  """
  return float(jnp.log(n) - (n - 1) / n)


def _top(logits, k):
  """Whether a token is among the k likeliest."""
  least = jax.lax.top_k(logits, min(k, logits.shape[-1]))[0][..., -1:]
  return logits >= least
