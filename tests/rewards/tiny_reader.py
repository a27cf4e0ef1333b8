"""A decoder of a few words that reads summaries."""

import functools

import jax
import numpy as np
import tokenizers

from prm_jax.models import decoder, language_model
from prm_jax.rewards import summary_texts

WORDS = ['<unk>', 'she', 'likes', ':', 'short', 'long', 'tables', 'ok']
END = '<end>'  # no word, but the number after theirs
CONFIG = decoder.DecoderConfig(len(WORDS) + 1, 8, 16, 1, 2, 1, 4)
WORDING = summary_texts.Wording('she likes {summary} : ', 4, 3, 12)


def tokenizer():
  """A word is a token."""
  vocabulary = {word: i for i, word in enumerate(WORDS)}
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, '<unk>'))
  found.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  found.add_special_tokens([END])
  return found


@functools.cache
def model():
  """A random language model."""
  ids = np.zeros((1, 2), np.int32)
  seen = decoder.attended(ids + 1)
  params = jax.jit(decoder.Decoder(CONFIG).init)(
    jax.random.key(0), ids, ids, seen
  )
  return language_model.LanguageModel(CONFIG, params, tokenizer(), '')
