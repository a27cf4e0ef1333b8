"""Tokenizers of checkpoints in Hugging Face's layout."""

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers.implementations import BertWordPieceTokenizer

from prm_jax.models.weights import pointers


def load(folder: Path, max_length: int | None) -> tokenizers.Tokenizer:
  """Returns a checkpoint's tokenizer, which never pads.

  Args:
    folder: with tokenizer.json, or with vocab.txt (WordPiece).
    max_length: tokens, special ones included; no truncation if None.

  Raises:
    ValueError: neither file is there, or it cannot be read.
  """
  path, vocabulary = folder / 'tokenizer.json', folder / 'vocab.txt'
  if path.is_file():
    pointers.refuse(path)
    try:
      tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
      raise ValueError(f'{path} is not a tokenizer: {error}') from error
  elif vocabulary.is_file():
    settings = folder / 'tokenizer_config.json'
    pointers.refuse(vocabulary)
    pointers.refuse(settings)
    known = json.loads(settings.read_text()) if settings.is_file() else {}
    wordpiece = BertWordPieceTokenizer(
      str(vocabulary), lowercase=known.get('do_lower_case', True)
    )
    tokenizer = tokenizers.Tokenizer.from_str(wordpiece.to_str())
  else:
    raise ValueError(f'{folder} holds neither tokenizer.json nor vocab.txt')
  tokenizer.no_padding()
  if max_length is None:
    tokenizer.no_truncation()
  else:
    tokenizer.enable_truncation(max_length)
  return tokenizer


def check_vocabulary(
  tokenizer: tokenizers.Tokenizer, vocab_size: int, where: str
) -> None:
  """Raises ValueError if a tokenizer has ids that the weights do not know.

  Args:
    tokenizer: of the checkpoint.
    vocab_size: of the weights.
    where: the checkpoint, for the error.
  """
  largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
  if largest >= vocab_size:
    raise ValueError(
      f'{where}: the tokenizer does not match the weights: it has ids up to '
      f'{largest}, they know {vocab_size} tokens'
    )


def encode(
  tokenizer: tokenizers.Tokenizer, texts: Sequence[str]
) -> tuple[list[list[int]], int]:
  """Returns the ids of every text, and how many texts were truncated."""
  encodings = tokenizer.encode_batch(list(texts))
  truncated = sum(bool(encoding.overflowing) for encoding in encodings)
  return [encoding.ids for encoding in encodings], truncated
