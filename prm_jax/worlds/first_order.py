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
  """Returns log-probabilities `[...]` of texts, exactly.

  Args:
    logits: `[V + 1, V]` of one policy.
    texts: `[..., T]`.
  """
  texts = jnp.asarray(texts)
  before = _before(texts, logits.shape[-1])
  return jax.nn.log_softmax(logits, -1)[before, texts].sum(-1)


def _before(texts: types.Array, words: int) -> types.Array:
  """Returns what stands before every word, V at the beginning, `[..., T]`."""
  start = jnp.full_like(texts[..., :1], words)
  return jnp.concatenate([start, texts[..., :-1]], -1)


def sample(
  key: types.Key,
  logits: types.Array,
  *,
  length: int,
  shape: tuple[int, ...] = (),
) -> types.Array:
  """Returns texts of each policy, `[*shape, ..., T]`.

  Args:
    key: of the draws.
    logits: `[..., V + 1, V]`.
    length: T.
    shape: how many of each; one if empty.
  """
  logits = jnp.broadcast_to(logits, (*shape, *logits.shape))

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


def least_loss(log_policies: types.Array, most: int = 64) -> types.Array:
  """Returns the least triple loss, in nats, averaged over some policies.

  That of `predictive_ratio`, with a reference that each of them wrote.

  Args:
    log_policies: `[P, Y]` of every text under the policies.
    most: policies that are averaged over, the first.
  """
  prior = jnp.exp(log_policies).mean(0)
  chosen = log_policies[:most]

  def one(log_p, reference):
    score = predictive_ratio(log_policies, reference[None])[0]
    margin = score[:, None] - score[None]
    chance = jnp.exp(log_p)[:, None] * prior
    return jnp.sum(chance * jax.nn.softplus(-margin))

  keys = jax.random.split(jax.random.key(0), len(chosen))
  references = jax.vmap(jax.random.categorical)(keys, chosen)
  return jax.lax.map(lambda pair: one(*pair), (chosen, references)).mean()


def triples(
  key: types.Key, logits: types.Array, *, batch: int, pairs: int, length: int
) -> tuple[types.Array, types.Array, types.Array]:
  """Returns texts of a policy, others of the same one, and of other policies.

  Args:
    key: of the draw.
    logits: `[P, V + 1, V]` of P policies, at least two.
    batch: B references.
    pairs: K positives, and K negatives, for each reference.
    length: T.

  Returns:
    References `[B, T]`, positives and negatives `[B, K, T]`.
  """
  B, K, P = batch, pairs, len(logits)
  keys = jax.random.split(key)
  most = jnp.array([P] + [P - 1] * K)  # another is one of the others
  drawn = jax.random.randint(keys[0], (B, K + 1), 0, most)
  own, other = drawn[:, :1], (drawn[:, :1] + 1 + drawn[:, 1:]) % P
  who = jnp.concatenate([jnp.tile(own, (1, K + 1)), other], 1)
  texts = sample(keys[1], logits[who], length=length)
  return texts[:, 0], texts[:, 1 : K + 1], texts[:, K + 1 :]


def likeliest(
  log_policy: types.Array,
  texts: types.ArrayLike,
  references: types.Array,
  added: types.Array,
  *,
  words: int,
) -> types.Array:
  """Returns log-probabilities `[M, N, Y]` of the likeliest policies of R texts.

  In closed form: the share of each word after each, in R texts and in `added`
  texts of the policy that was there before.

  Args:
    log_policy: `[Y]` of every text under that policy.
    texts: `[Y, T]` every text.
    references: `[N, R]` rows of texts, of N policies.
    added: `[M]` how many texts.
    words: V.
  """
  texts = jnp.asarray(texts)
  before = _before(texts, words)

  def one(added, mine):
    weight = (added * jnp.exp(log_policy)).at[mine].add(1.0)
    count = jnp.zeros((words + 1, words)).at[before, texts]
    return log_probability(jnp.log(count.add(weight[:, None])), texts)

  return jax.vmap(lambda m: jax.vmap(lambda mine: one(m, mine))(references))(
    added
  )
