"""Policies that differ, over texts few enough to enumerate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types


class Population(NamedTuple):
  """P first-order policies over all texts of T tokens from V words.

  Attributes:
    texts: `[Y, T]` every text, Y = V^T, in lexicographic order.
    base: `[V + 1, V]` next-word logits that all share, after each word; the
      last row at the beginning.
    logits: `[P, V + 1, V]` the base's, each with its own deviation.
  """

  texts: np.ndarray
  base: types.Array
  logits: types.Array


def draw(
  key: types.Key,
  *,
  policies: int,
  words: int = 3,
  length: int = 6,
  deviation: float = 1.0,
) -> Population:
  """Returns a population with logits N(base, deviation^2), base N(0, 1).

  Args:
    key: of the draw.
    policies: P.
    words: V.
    length: T.
    deviation: standard deviation of a policy's logits around the base's.
  """
  grid = every_text(words, length)
  keys = jax.random.split(key)
  base = jax.random.normal(keys[0], (words + 1, words))
  own = jax.random.normal(keys[1], (policies, words + 1, words))
  return Population(grid, base, base + deviation * own)


def every_text(words: int, length: int) -> np.ndarray:
  """Returns all texts `[words^length, length]`, in lexicographic order."""
  return np.indices((words,) * length).reshape(length, -1).T


def log_probability(logits: types.Array, texts: types.ArrayLike) -> types.Array:
  """Returns log-probabilities `[N]` of texts, exactly.

  Args:
    logits: `[V + 1, V]` of one policy.
    texts: `[N, T]`.
  """
  texts = jnp.asarray(texts)
  start = jnp.full_like(texts[:, :1], logits.shape[-1])
  before = jnp.concatenate([start, texts[:, :-1]], 1)
  return jax.nn.log_softmax(logits, -1)[before, texts].sum(1)


def sample(key: types.Key, logits: types.Array, *, length: int) -> types.Array:
  """Returns one text of each policy, `[..., T]`.

  Args:
    key: of the draws.
    logits: `[..., V + 1, V]`; broadcast them for more texts of a policy.
    length: T.
  """

  def step(before, key):
    index = before[..., None, None]
    now = jnp.take_along_axis(logits, index, axis=-2)[..., 0, :]
    word = jax.random.categorical(key, now)
    return word, word

  words = logits.shape[-1]
  start = jnp.full(logits.shape[:-2], words)
  _, texts = jax.lax.scan(step, start, jax.random.split(key, length))
  return jnp.moveaxis(texts, 0, -1)


def index(texts: types.ArrayLike, words: int) -> types.Array:
  """Returns the rows `[...]` of `Population.texts` that hold texts `[..., T]`.

  Args:
    texts: `[..., T]`.
    words: V.
  """
  place = words ** np.arange(texts.shape[-1])[::-1]
  return jnp.sum(jnp.asarray(texts) * place, -1)


def divergence(
  log_policy: types.Array, log_reference: types.Array
) -> types.Array:
  """Returns KL(policy | reference) `[...]` in nats, exactly.

  Args:
    log_policy: `[..., Y]` log-probabilities of every text.
    log_reference: `[..., Y]`.
  """
  return jnp.sum(jnp.exp(log_policy) * (log_policy - log_reference), -1)


def predictive_ratio(
  log_policies: types.Array, references: types.ArrayLike
) -> types.Array:
  """Returns what the best discriminator says, `[R, Y]`.

      r(ref, y) = log E[pi(y) | pi wrote ref] - log E[pi(y)]

  over a uniform choice among the policies: no function of a reference and a
  candidate has a smaller triple loss, where the other policy is any.

  Args:
    log_policies: `[P, Y]` of every text under the policies.
    references: `[R]` rows of the references.
  """
  posterior = jax.nn.log_softmax(log_policies[:, references].T, -1)
  prior = -jnp.log(log_policies.shape[0])
  # exp is safe: log-probabilities of whole, short texts.
  mixed = jnp.exp(posterior) @ jnp.exp(log_policies)
  return jnp.log(mixed) - jax.nn.logsumexp(log_policies + prior, 0)
