"""What a frozen decoder says of a sentence: the state of its last token.

A decoder's states are made to tell the next token, so that the last one of a
sentence has read all of it and the mean of all has not. Which unit, token and
layers are read is said beforehand and never searched: a search inside training
rows prefers what fits their wording to what carries to other words.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from prm_jax.models import decoder, embeddings
from prm_jax.models.language_model import LanguageModel
from prm_jax.models.weights import cache

LAST, MEAN = 'last', 'mean'
TOKENS = (LAST, MEAN)
# Of all layers, side by side: 16 and 26 of 30.
DEPTHS = (0.53, 0.87)
_BATCH = 2048  # tokens
_FORM = 'UNIT:TOKEN or UNIT:TOKEN:LAYER,LAYER, as sentence:last:16,26'


class Reading(NamedTuple):
  """How a decoder's states become features of a text.

  Attributes:
    unit: what is read alone: 'text', or 'sentence', over which is summed; see
      `embeddings.embed`.
    token: 'last', or 'mean' over a unit's tokens.
    layers: after which states are taken, side by side; 0 for the embeddings.
      `DEPTHS` of all if empty.
  """

  unit: str = 'sentence'
  token: str = LAST
  layers: tuple[int, ...] = ()

  @classmethod
  def parse(cls, text: str) -> 'Reading':
    """Returns the reading that a command line names.

    >>> Reading.parse('sentence:last:16,26')
    Reading(unit='sentence', token='last', layers=(16, 26))

    Raises:
      ValueError: it is none.
    """
    unit, _, rest = text.partition(':')
    token, colon, layers = rest.partition(':')
    numbers = layers.split(',') if colon else []
    if not token or not all(number.isdecimal() for number in numbers):
      raise ValueError(f'{text!r} is no reading: write {_FORM}')
    return cls(unit, token, tuple(map(int, numbers))).checked()

  def checked(self) -> 'Reading':
    """Returns it.

    Raises:
      ValueError: there is no such unit or token.
    """
    if self.unit not in embeddings.UNITS:
      raise ValueError(f'unit {self.unit!r}: choose one of {embeddings.UNITS}')
    if self.token not in TOKENS:
      raise ValueError(f'token {self.token!r}: choose one of {TOKENS}')
    return self

  def __str__(self) -> str:
    """Returns what `parse` reads."""
    layers = ','.join(map(str, self.layers))
    return ':'.join([self.unit, self.token, *([layers] if layers else [])])


class States(NamedTuple):
  """A decoder, and which of its states are features.

  Attributes:
    model: frozen.
    reading: with layers.
    opening: a special token before every unit, or -1: the first token's states
      are a hundred times as long as others' whatever it is, so that it is none
      of the unit's.
    fingerprint: SHA-256 over model, opening, token and layers.
  """

  model: LanguageModel
  reading: Reading
  opening: int
  fingerprint: str

  @classmethod
  def of(cls, model: LanguageModel, reading: Reading) -> 'States':
    """Returns it, with the layers that a reading leaves open.

    The token before a unit is the special one of the smallest id, which begins
    texts in Llama's, Qwen's and SmolLM2's training.

    Args:
      model: frozen.
      reading: what is a text's.

    Raises:
      ValueError: the model has no such layer, or there is no such token.
    """
    reading.checked()
    deepest = model.config.num_hidden_layers
    layers = reading.layers or tuple(
      sorted({max(round(depth * deepest), 1) for depth in DEPTHS})
    )
    if not all(0 <= layer <= deepest for layer in layers):
      raise ValueError(f'layers {layers}: choose some of 0..{deepest}')
    added = model.tokenizer.get_added_tokens_decoder()
    special = [number for number, token in added.items() if token.special]
    opening = min(special, default=-1)
    named = f'{model.fingerprint} {opening} {reading.token} {layers}'
    return cls(
      model,
      reading._replace(layers=layers),
      opening,
      hashlib.sha256(named.encode()).hexdigest(),
    )

  @property
  def width(self) -> int:
    """Returns how many features a text has."""
    return len(self.reading.layers) * self.model.config.hidden_size

  def ids(self, units: Sequence[str]) -> list[list[int]]:
    """Returns the token ids of units, the token before them first.

    Those beyond the model's length are left out.
    """
    found = self.model.tokenizer.encode_batch(
      list(units), add_special_tokens=False
    )
    first = [self.opening] if self.opening >= 0 else []
    most = self.model.config.max_position_embeddings
    return [[*first, *encoding.ids][:most] for encoding in found]

  def batches(
    self, units: Sequence[str]
  ) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields units of similar length with features of each `[b, layers, D]`.

    A unit without a token is zero.
    """
    ids = self.ids(units)
    order = sorted(range(len(units)), key=lambda i: len(ids[i]))
    run = _program(self.model.config, self.reading, self.opening >= 0)
    with tqdm.tqdm(total=len(units), desc='states', leave=False) as bar:
      while order:
        length = _padded(len(ids[order[0]]))
        size = max(1, _BATCH // length)
        chosen = [i for i in order[:size] if len(ids[i]) <= length]
        order = order[len(chosen) :]
        padded = np.full((size, length), -1, np.int32)
        for row, i in enumerate(chosen):
          padded[row, : len(ids[i])] = ids[i]
        found = np.asarray(run(self.model.params, padded))
        yield [units[i] for i in chosen], found[: len(chosen)]
        bar.update(len(chosen))

  def __call__(
    self, texts: Sequence[str], *, cache_dir: Path | None = None
  ) -> np.ndarray:
    """Returns features of texts, float32 `[M, len(layers) * D]`.

    Args:
      texts: M texts; equal units are read once.
      cache_dir: of units; the user's cache folder if None.
    """
    store = embeddings.Store(
      cache_dir or cache.cache_folder() / 'embeddings', self
    )

    def read(units):
      layers = range(len(self.reading.layers))
      return store.get(units, layers).reshape(len(units), -1)

    return embeddings.of_units(texts, self.reading.unit, self.width, read)


def _padded(length: int) -> int:
  """Returns the next of few lengths."""
  step = 4 if length <= 16 else 8 if length <= 64 else 32
  return max(-(-length // step) * step, step)


@functools.lru_cache(maxsize=16)
def _program(config: decoder.DecoderConfig, reading: Reading, opened: bool):
  """Returns what makes features `[B, layers, D]` of ids `[B, T]`.

  Every token's state has root mean square 1; no scale is applied.
  """
  deepest = max(reading.layers)
  stack = decoder.Stack(config, deepest)
  layers = jnp.array(reading.layers)

  @jax.jit
  def run(params, ids):
    B, T = ids.shape
    real = ids >= 0
    hidden = decoder.embedded(config, params, ids)[None]
    if deepest:
      positions = jnp.broadcast_to(jnp.arange(T), (B, T))
      mask = decoder.attended(real.astype(jnp.int32))
      below = decoder.take_layers(params, 0, deepest)
      output: Any = stack.apply(below, hidden[0], positions, mask, collect=True)
      hidden = jnp.concatenate([hidden, output[2]])
    states = hidden[layers].astype(jnp.float32)  # [layers, B, T, D]
    square = jnp.mean(states**2, -1, keepdims=True)
    states = states * jax.lax.rsqrt(square + 1e-6)
    own = real.at[:, 0].set(real[:, 0] & (not opened))
    if reading.token == LAST:
      last = jnp.max(jnp.where(own, jnp.arange(T), -1), -1)
      own = own & (jnp.arange(T) == last[:, None])
    weight = own / jnp.maximum(own.sum(-1, keepdims=True), 1)
    return jnp.einsum('lbtd,bt->bld', states, weight)

  return run
