"""`worlds.histories` as learners of summaries take it: rows and starts."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tokenizers

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import padding, summarizing, tasks
from prm_jax.users import summaries
from prm_jax.worlds import histories

SIZES = decoder.DecoderConfig(
  vocab_size=len(histories.TOKENS),
  hidden_size=48,
  intermediate_size=128,
  num_hidden_layers=2,
  num_attention_heads=2,
  num_key_value_heads=2,
  head_dim=24,
  rope_theta=100.0,
  attention_bias=True,
  query_key_norm=True,
  embedding_std=0.5,
)


def writer(
  sizes: decoder.DecoderConfig = SIZES, *, own_words: bool = False
) -> summaries.Writer:
  """Returns what writes summaries of three statements, none of them twice.

  Args:
    sizes: of the decoder; its vocabulary becomes the world's.
    own_words: whether statements are words of the history's topic.
  """
  return summaries.Writer(
    dataclasses.replace(sizes, vocab_size=len(histories.TOKENS)),
    histories.STATEMENTS,
    (histories.END,),
    (histories.ASK,),
    histories.statements(own_words=own_words),
    histories.fields(),
  )


def contexts(given: histories.Contexts) -> types.Batch:
  """Returns histories and choices as rows that learners take."""
  B, N = given.pairs.label.shape
  return types.Batch(
    summarizing.Contexts(
      given.user.astype(np.int32),
      padding.full(histories.events(given.histories)),
      padding.full(histories.responses(given.pairs)),
      given.pairs.label,
      np.ones((B, N), np.float32),
      np.ones(B, np.float32),
      np.arange(B, dtype=np.int32),
    )
  )


def told(ids: np.ndarray) -> types.Tokens:
  """Returns summaries `[B, S]` without what stands behind their ends."""
  mask = (ids != histories.PAD).astype(np.int32)
  return types.Tokens(ids.astype(np.int32), mask)


def language(
  batch: int = 48, *, own_words: bool = False
) -> Callable[..., tuple]:
  """Returns the demonstrations of a step, for `plus`.

  Args:
    batch: B.
    own_words: see `writer`.
  """

  def shown(key, state):
    del state
    rng = tasks.generator(key)
    given = histories.shown(rng, batch, own_words=own_words)
    events = histories.events(given.histories)
    prompts = np.concatenate([events, given.asked[:, None]], 1)
    return padding.full(prompts), told(given.summaries)

  return shown


def strangers(
  batch: int = 32, pairs: int = 8, *, own_words: bool = False
) -> Callable[[types.Key], tuple]:
  """Returns the summaries and choices of a step, for `plus`.

  Args:
    batch: B.
    pairs: N of each.
    own_words: see `writer`.
  """

  def drawn(key):
    rng = tasks.generator(key)
    given = histories.strangers(rng, batch, pairs, own_words=own_words)
    texts = padding.full(histories.responses(given.pairs))
    return told(given.summaries), texts, given.pairs.label

  return drawn


def tokenizer() -> tokenizers.Tokenizer:
  """Returns what reads and writes the world's tokens, a word for each.

  A word that the world does not have is `PAD`, which is in no text.
  """
  words = {word: i for i, word in enumerate(histories.TOKENS)}
  unknown = histories.TOKENS[histories.PAD]
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unknown))
  found.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  return found
