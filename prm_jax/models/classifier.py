"""Decoders that score texts, or every token of them, as they are published."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import chat as chats
from prm_jax.models import decoder, sharding, tokenizers
from prm_jax.models.chat import Chat
from prm_jax.models.weights import huggingface


class Classifier(NamedTuple):
  """A loaded reward model, of `*ForSequenceClassification` or `*ForToken...`.

  Attributes:
    config: sizes and options of the trunk; its tokens have no head.
    params: of a `decoder.Decoder`, float32; on a mesh they are split, and texts
      with them.
    score: kernel `[D, C]` and bias `[C]`.
    labels: C.
    every: whether every token has scores (process rewards); else the last.
    chat: how the checkpoint reads texts; None where it has no tokenizer.
  """

  config: decoder.DecoderConfig
  params: types.PyTree
  score: types.PyTree
  labels: tuple[str, ...]
  every: bool
  chat: Chat | None = None

  @classmethod
  def load(cls, folder: Path) -> 'Classifier':
    """Returns the classifier in a folder of Hugging Face's layout.

    A folder without tokenizer.json gives a classifier of token ids.

    Args:
      folder: with config.json, model.safetensors or its shards and index.

    Raises:
      ValueError: it holds no usable classifier, or its tokenizer has ids that
        the weights do not know; the option, tensor or file is named.
    """
    read = huggingface.load_classifier(folder)
    chat = None
    if (folder / 'tokenizer.json').is_file():
      chat = Chat.load(folder)
      tokenizers.check_vocabulary(
        chat.tokenizer, read.config.vocab_size, str(folder)
      )
    params, score = jax.tree.map(jnp.asarray, (read.params, read.score))
    return cls(read.config, params, score, read.labels, read.every, chat)


def scores(
  model: Classifier,
  ids: types.ArrayLike,
  mask: types.ArrayLike,
  *,
  dtype: Any = jnp.float32,
) -> types.Array:
  """Returns scores `[B, C]` of texts, or `[B, T, C]` of every token.

  The score of a text is read at its last real token, whatever the padding: a
  text that ends with EOS is read there, though EOS pads it. (transformers
  looks for the last token that is not the pad, and finds the one before.)

  Args:
    model: which was loaded.
    ids: `[B, T]` int32.
    mask: `[B, T]` 0 for padding, on either side; every row has a token.
    dtype: of the layers' computation; scores are float32.

  Raises:
    ValueError: an id is not in the vocabulary, or a row has no token.
  """
  ids, mask = np.asarray(ids, np.int32), np.asarray(mask) != 0
  if not mask.any(-1).all():
    raise ValueError(f'row {np.argmin(mask.any(-1))} has no token')
  V, real = model.config.vocab_size, ids[mask]
  if real.size and not 0 <= real.min() <= real.max() < V:
    raise ValueError(
      f'token ids are from {real.min()} to {real.max()}, and the weights know '
      f'{V}: the tokenizer does not match them'
    )
  run = program(model.config, model.every, jnp.dtype(dtype))
  with sharding.traced_on(sharding.mesh_of(model.params)):
    return run(model.params, model.score, ids, mask)


class Scored(NamedTuple):
  """Scores of N texts.

  Attributes:
    scores: `[N, C]` float32.
    cut: `[N]` bool, which texts were truncated; see `chat.encode`.
    read: `[N]` int64, the same number where the same tokens were read.
  """

  scores: np.ndarray
  cut: np.ndarray
  read: np.ndarray


def score_texts(
  model: Classifier,
  prompts: Sequence[chats.Turn],
  responses: Sequence[chats.Turn],
  *,
  total: int | None = None,
  batch: int = 16,
  dtype: Any = jnp.float32,
) -> Scored:
  """Returns scores of N responses to N prompts, in the checkpoint's own words.

  Args:
    model: of texts, with a tokenizer.
    prompts: each a text or a list of messages.
    responses: each a text or a list of messages.
    total: tokens of a text that are read; what the model was trained on, at
      most, and if None.
    batch: texts at once, on each device that shares them.
    dtype: of the layers' computation; scores are float32.

  Raises:
    ValueError: the model has no tokenizer, scores every token, or was not
      trained on so long texts; and what `chat.encode` raises.
  """
  chat, total = _reads(model, total)
  texts = chats.encode(chat, prompts, responses, total=total)
  return _scored(model, texts, batch, dtype)


def score_spelled(
  model: Classifier,
  prompts: Sequence[str],
  responses: Sequence[str],
  *,
  total: int | None = None,
  batch: int = 16,
  dtype: Any = jnp.float32,
) -> Scored:
  """Returns scores of texts that are in the template; see `score_texts`.

  Args:
    model: of texts, with a tokenizer.
    prompts: N texts, see `chat.encode_spelled`.
    responses: N texts.
    total: tokens of a text that are read.
    batch: texts at once, on each device that shares them.
    dtype: of the layers' computation; scores are float32.

  Raises:
    ValueError: as of `score_texts`; and what `chat.encode_spelled` raises.
  """
  chat, total = _reads(model, total)
  texts = chats.encode_spelled(chat, prompts, responses, total=total)
  return _scored(model, texts, batch, dtype)


def _reads(model: Classifier, total: int | None) -> tuple[Chat, int]:
  """Returns how texts are read, and how many tokens of them."""
  longest = model.config.max_position_embeddings
  if model.chat is None:
    raise ValueError('the checkpoint has no tokenizer.json: `scores` reads ids')
  if model.every:
    raise ValueError('the model scores every token: `scores` returns them')
  if total is not None and total > longest:
    raise ValueError(
      f'total {total}: max_position_embeddings of the checkpoint is {longest}'
    )
  return model.chat, longest if total is None else total


def _scored(model: Classifier, texts: chats.Texts, batch, dtype) -> Scored:
  """Returns the scores of texts."""
  if empty := [row for row, ids in enumerate(texts.ids) if not ids]:
    raise ValueError(f'text {empty[0]} has no token')
  found = np.zeros((len(texts.ids), len(model.labels)), np.float32)
  batch *= sharding.rows_of(sharding.mesh_of(model.params))
  # Those of similar length together; a batch is filled up, so that few shapes
  # are compiled.
  order = np.argsort([len(ids) for ids in texts.ids], kind='stable')[::-1]
  for first in range(0, len(order), batch):
    rows = order[first : first + batch].tolist()
    filled = [*rows, *rows[:1] * (batch - len(rows))]
    chosen = chats.Texts([texts.ids[row] for row in filled], texts.cut)
    block = chosen.tokens()
    told = scores(model, block.ids, block.mask, dtype=dtype)
    found[rows] = np.asarray(told)[: len(rows)]
  read = np.array([hash(tuple(ids)) for ids in texts.ids], np.int64)
  return Scored(found, texts.cut, read)


@functools.lru_cache(maxsize=8)
def program(config: decoder.DecoderConfig, every: bool, dtype: Any):
  """Returns what runs: (params, score, ids [B, T], mask [B, T]) -> scores.

  Args:
    config: of the trunk.
    every: whether every token is scored, and not the last alone.
    dtype: of the layers' computation.
  """
  network: Any = decoder.Decoder(config, dtype)

  @jax.jit
  def run(params, score, ids, mask):
    seen = decoder.attended(mask.astype(jnp.int32))
    hidden = network.apply(params, ids, decoder.counted(mask), seen).hidden
    if not every:
      last = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], 1)
      hidden = jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0]
    return hidden.astype(jnp.float32) @ score['kernel'] + score['bias']

  return run
