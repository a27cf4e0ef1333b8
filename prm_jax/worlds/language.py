"""A language small enough to enumerate: every text, its chance, its reward."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.worlds import first_order


class Language(NamedTuple):
  """Texts of T tokens from V words, under a first-order policy.

  Attributes:
    texts: `[Y, T]` every text, Y = V^T, in lexicographic order.
    logits: `[V + 1, V]` next-token logits after each word; the last row at
      the beginning.
    reward: `[Y, J]` base rewards of every text.
  """

  texts: np.ndarray
  logits: types.Array
  reward: types.Array


def draw(
  key: types.Key, *, words: int = 4, length: int = 4, bases: int = 3
) -> Language:
  """Returns a random language with rewards of words and of pairs of words."""
  grid = first_order.every_text(words, length)
  keys = jax.random.split(key, 3)
  logits = jax.random.normal(keys[0], (words + 1, words))
  unigram = jax.random.normal(keys[1], (words, bases))
  bigram = jax.random.normal(keys[2], (words, words, bases))
  reward = unigram[grid].sum(1) + bigram[grid[:, :-1], grid[:, 1:]].sum(1)
  return Language(grid, logits, reward / np.sqrt(length))


def log_probability(language: Language) -> types.Array:
  """Returns log pi_0 of every text, `[Y]`."""
  return first_order.log_probability(language.logits, language.texts)


def prefix_values(
  values: types.Array, log_policy: types.Array, words: int, length: int
) -> list[types.Array]:
  """Returns the mean of `values` over completions, for every prefix.

  Args:
    values: `[Y, ...]` of whole texts.
    log_policy: `[Y]`.
    words: V.
    length: T.

  Returns:
    T + 1 arrays, `[V^t, ...]` for prefixes of t words.
  """
  weight = jnp.exp(log_policy)
  found = []
  for t in range(length + 1):
    shape = (words**t, -1)
    mass = weight.reshape(shape)
    inner = values.reshape(*shape, *values.shape[1:])
    wide = mass.reshape(*mass.shape, *(1,) * (values.ndim - 1))
    found.append((inner * wide).sum(1) / wide.sum(1))
  return found
