"""A tiny model whose words are lines and verdicts, and a judge of a rule."""

import dataclasses
import functools

import jax
import numpy as np
import tokenizers

from prm_jax.models import decoder, language_model, sampling

END = '<|im_end|>'
SAYS = [  # whole texts, so that a random model says them at times
  *['<answer>[[A]]</answer>', '<answer>[[B]]</answer>'],
  *[r'\boxed{Assistant 1}', r'\boxed{Assistant 2}'],
  *[r'Scores: \boxed{3, 9}', r'Scores: \boxed{9, 3}', 'Scores: none'],
  *(f'<score> {score} </score>' for score in (0, 2.5, 4, 6, 8.5, 10)),
  *['<answer>', ' [[A]] </answer>', ' [[B]] </answer>'],
]
WORDS = ['<unk>', END, '<|im_start|>assistant', *SAYS, 'good', 'bad', 'odd']
CONFIG = decoder.DecoderConfig(len(WORDS), 16, 32, 1, 2, 1, 8)


def tokenizer():
  """Every line is a token."""
  vocabulary = {word: i for i, word in enumerate(WORDS)}
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, '<unk>'))
  line = tokenizers.pre_tokenizers.Split('\n', 'removed')
  found.pre_tokenizer = line
  found.add_special_tokens([END])
  return found


@functools.cache
def _params():
  ids = np.zeros((1, 2), np.int32)
  seen = decoder.attended(ids + 1)
  init = jax.jit(decoder.Decoder(CONFIG).init)
  return init(jax.random.key(0), ids, ids, seen)


def model(context=64):
  """A random decoder: nearly every word is as likely as another."""
  config = dataclasses.replace(CONFIG, max_position_embeddings=context)
  return language_model.LanguageModel(config, _params(), tokenizer(), '')


class Scripted:
  """Writes what `says` makes of each prompt, in place of a model."""

  def __init__(self, says):
    self.says, self.calls = says, []

  def write(self, key, model, prompts, *, row_ids, **settings):
    del key, model
    self.calls.append((list(prompts), row_ids, settings))
    texts = [self.says(*each) for each in zip(prompts, row_ids, strict=True)]
    tokens = np.array([len(text.split()) for text in texts], np.int32)
    return sampling.Written(texts, np.ones(len(texts), bool), tokens)
