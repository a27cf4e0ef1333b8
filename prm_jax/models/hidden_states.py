"""Frozen lower layers: a text's hidden states, computed once and kept."""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from prm_jax import places
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel

_TOKENS = 4096  # of a batch
_CHUNK = 512  # texts of a file on disk: what an interruption may lose


def encode(
  model: LanguageModel,
  ids: np.ndarray,
  *,
  layers: int,
  stride: int = 1,
  folder: Path | None = None,
) -> np.ndarray:
  """Returns the hidden states after some layers, float16 `[M, T/stride, D]`.

  Every text is read alone. With a stride, a window of tokens becomes the mean
  of its hidden states; the last window of a text may be shorter. Windows
  without a token are zero.

  Args:
    model: frozen.
    ids: `[M, T]` int32 token ids, padded on the right with negative ids.
    layers: 0 for the embeddings, up to the model's number of layers.
    stride: tokens of a window; divides T.
    folder: where finished chunks are kept, so that a second call reads them.

  Raises:
    ValueError: no such layer, the stride does not divide T, an id is not in
      the vocabulary, or a kept chunk is damaged.
  """
  config = model.config
  if not 0 <= layers <= config.num_hidden_layers:
    raise ValueError(
      f'layers={layers}: the model has {config.num_hidden_layers}'
    )
  if ids.shape[1] % stride:
    raise ValueError(f'stride {stride} does not divide {ids.shape[1]} tokens')
  if ids.size and ids.max() >= config.vocab_size:
    raise ValueError(
      f'token id {ids.max()} is not in the vocabulary of {config.vocab_size}: '
      'the tokenizer does not match the weights'
    )
  found = np.zeros(
    (len(ids), ids.shape[1] // stride, config.hidden_size), np.float16
  )
  run = _program(config, layers, stride)
  with tqdm.tqdm(total=len(ids), desc='hidden states', leave=False) as bar:
    for first in range(0, len(ids), _CHUNK):
      chunk = ids[first : first + _CHUNK]
      name = f'{model.fingerprint} {layers} {stride} {chunk.shape}'
      digest = hashlib.sha256(name.encode() + chunk.tobytes()).hexdigest()
      path = folder / f'{digest[:32]}.npy' if folder else None
      if path is not None and path.exists():
        states = _read(path, found[first : first + _CHUNK].shape)
      else:
        states = np.zeros(found[first : first + _CHUNK].shape, np.float16)
        for rows, values in _batches(run, model.params, chunk):
          states[rows, : values.shape[1]] = values
        if path is not None:
          with places.whole_file(path) as file:
            np.save(file, states)
      found[first : first + _CHUNK] = states
      bar.update(len(chunk))
  return found


def pool(states: np.ndarray) -> np.ndarray:
  """Returns one vector a text, float32 `[M, D]`: the mean of its windows.

  Windows are brought to the same length first, for a few tokens have states
  a hundred times as long as the others'. A text without a token is zero.

  Args:
    states: `[M, T, D]` as `encode` left them.
  """
  found = np.zeros((len(states), states.shape[2]), np.float32)
  for row, text in enumerate(states):  # float32 of all at once is large
    windows = text[(text != 0).any(-1)].astype(np.float32)
    if len(windows):
      square = np.mean(windows**2, -1, keepdims=True)
      found[row] = (windows / np.sqrt(square + 1e-6)).mean(0)
  return found


def _batches(run, params, ids) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields rows of similar length, and their states."""
  lengths = (ids >= 0).sum(1)
  order = np.argsort(lengths, kind='stable')[::-1]
  while order.size:  # the longest first, which sets the batch's length
    longest = _padded(lengths[order[0]], ids.shape[1])
    size = max(1, _TOKENS // longest)
    rows, order = order[:size], order[size:]
    batch = np.full((size, longest), -1, np.int32)
    batch[: len(rows)] = ids[rows, :longest]
    yield rows, np.asarray(run(params, batch))[: len(rows)]


def _padded(length: int, most: int) -> int:
  """Returns the next of few lengths."""
  step = 64 if length <= 256 else 256
  return min(max(-(-int(length) // step) * step, step), most)


@functools.lru_cache(maxsize=8)
def _program(config: decoder.DecoderConfig, layers: int, stride: int):
  stack = decoder.Stack(config, layers)

  @jax.jit
  def run(params, ids):
    B, T = ids.shape
    real = ids >= 0
    hidden = decoder.embedded(config, params, ids)
    if layers:
      positions = jnp.broadcast_to(jnp.arange(T), (B, T))
      mask = decoder.attended(real.astype(jnp.int32))
      below = decoder.take_layers(params, 0, layers)
      output: Any = stack.apply(below, hidden, positions, mask)
      hidden = output[0]
      hidden = jnp.where(real[..., None], hidden, 0.0)
    windows = -(-T // stride)
    pad = windows * stride - T
    hidden = jnp.pad(hidden, ((0, 0), (0, pad), (0, 0)))
    count = jnp.pad(real, ((0, 0), (0, pad))).reshape(B, windows, stride)
    total = hidden.reshape(B, windows, stride, -1).sum(2)
    return total / jnp.maximum(count.sum(-1), 1)[..., None]

  return run


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
  try:
    states = np.load(path, allow_pickle=False)
  except (ValueError, OSError, EOFError) as error:
    raise ValueError(
      f'{path} is damaged ({error}): delete it, it is computed anew'
    ) from error
  if states.shape != shape:
    raise ValueError(
      f'{path} holds {states.shape}, expected {shape}: delete it'
    )
  return states
