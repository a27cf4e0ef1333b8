"""Tiny language models in Hugging Face's layout."""

import json
from pathlib import Path

import jax
import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from prm_jax.models import decoder
from prm_jax.models.weights import huggingface

SPECIAL = ('<unk>', '<|im_start|>', '<|im_end|>')
TEMPLATE = (
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
  "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SIZES = {
  'hidden_size': 16,
  'intermediate_size': 24,
  'num_hidden_layers': 2,
  'num_attention_heads': 2,
  'num_key_value_heads': 1,
  'head_dim': 8,
  'max_position_embeddings': 128,
}


def write(folder: Path, words, *, template=TEMPLATE, seed=0, **sizes) -> Path:
  """Writes a decoder that knows words, and returns its folder."""
  known = [*SPECIAL, 'user', 'assistant', *dict.fromkeys(words)]
  config = decoder.DecoderConfig(
    vocab_size=len(known), rope_theta=100.0, **{**SIZES, **sizes}
  )
  ids = np.zeros((1, 2), np.int32)
  params = jax.jit(decoder.Decoder(config).init)(
    jax.random.key(seed), ids, ids, decoder.attended(ids + 1)
  )
  # Drawn as large as trained ones are, so that words can be told apart.
  params = jax.tree.map(
    lambda leaf: 4 * leaf if leaf.ndim > 1 else leaf, params
  )
  huggingface.save_decoder(config, params, folder)
  found = tokenizers.Tokenizer(
    models.WordLevel({word: i for i, word in enumerate(known)}, '<unk>')
  )
  found.pre_tokenizer = pre_tokenizers.Whitespace()
  found.add_special_tokens(list(SPECIAL[1:]))
  found.save(str(folder / 'tokenizer.json'))
  names = {'eos_token': '<|im_end|>', 'chat_template': template}
  (folder / 'tokenizer_config.json').write_text(
    json.dumps({name: value for name, value in names.items() if value})
  )
  return folder
