"""Frozen features of texts: pooled hidden states of an encoder, cached."""

import functools
import hashlib
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from tokenizers import Tokenizer

from prm_jax import places, types
from prm_jax.models import encoder as encoders
from prm_jax.models import tokenizers
from prm_jax.models.weights import cache, huggingface

# What an encoder is read from; those that there are make its fingerprint.
ENCODER_FILES = (
  'config.json',
  'model.safetensors',
  'tokenizer.json',
  'vocab.txt',
)
UNITS = ('text', 'sentence', 'sentence_log')
_TOKENS = 2048  # a batch: enough for a processor, little enough to pad well
_SAVE_SECONDS = 20.0  # of work that an interruption may lose
_SENTENCE = re.compile(r'(?<=[.!?])["\')\]]*\s+|\n+')


class Encoder(NamedTuple):
  """A loaded text encoder.

  Attributes:
    config: sizes.
    params: weights.
    tokenizer: of the checkpoint, truncating.
    fingerprint: SHA-256 over weights, configuration and tokenizer.
  """

  config: encoders.BertConfig
  params: types.PyTree
  tokenizer: Tokenizer
  fingerprint: str

  @classmethod
  def load(cls, folder: Path | None = None) -> 'Encoder':
    """Returns the encoder in a folder; all-MiniLM-L6-v2 if None.

    Raises:
      ValueError: the folder holds no usable checkpoint, or a tokenizer of
        other weights.
    """
    folder = cls.folder(folder)
    config, params = huggingface.load_bert(folder)
    digest = hashlib.sha256()
    for name in ENCODER_FILES:
      if (folder / name).is_file():
        digest.update(cache.sha256(folder / name).encode())
    tokenizer = tokenizers.load(folder, config.max_position_embeddings)
    tokenizers.check_vocabulary(tokenizer, config.vocab_size, str(folder))
    tokenizer.encode_special_tokens = True  # a text that spells one is a text
    return cls(config, params, tokenizer, digest.hexdigest())

  def batches(
    self, units: Sequence[str]
  ) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields units with their layer means; see `encode_batches`."""
    return encode_batches(self, units)

  @staticmethod
  def folder(chosen: Path | None = None) -> Path:
    """Returns the folder of a checkpoint's files; the default's if None."""
    return huggingface.model_folder(chosen or cache.obtain())


def files(folder: Path) -> list[Path]:
  """Returns the files of an encoder's checkpoint."""
  known = {folder / name for name in (*ENCODER_FILES, 'tokenizer_config.json')}
  known |= set(huggingface.weight_files(folder))
  index = folder / 'model.safetensors.index.json'
  return sorted(path for path in {*known, index} if path.is_file())


def embed(
  texts: Sequence[str],
  encoder: Encoder,
  *,
  layers: Sequence[int],
  unit: str = 'text',
  cache_dir: Path | None = None,
) -> np.ndarray:
  """Returns features of every text, float32 `[M, len(layers) * D]`.

  A unit's feature is the mean of its tokens' hidden states in each layer, the
  layers side by side. With `unit='sentence'` every sentence is encoded alone
  and a text's feature is the sum over its sentences, so that it counts them;
  'sentence_log' is their mean times log(1 + their number), for long texts.

  Args:
    texts: M texts; equal ones are encoded once.
    encoder: frozen.
    layers: 0 for the embeddings, up to the number of layers.
    unit: 'text', 'sentence' or 'sentence_log'.
    cache_dir: of encoded units; the user's cache folder if None.

  Raises:
    ValueError: no such layer or unit.
  """
  deepest = encoder.config.num_hidden_layers
  if not layers or not all(0 <= layer <= deepest for layer in layers):
    raise ValueError(f'layers {tuple(layers)}: choose some of 0..{deepest}')
  store = Store(cache_dir or cache.cache_folder() / 'embeddings', encoder)

  def read(units):
    return store.get(units, layers).reshape(len(units), -1)

  return of_units(texts, unit, len(layers) * encoder.config.hidden_size, read)


def of_units(
  texts: Sequence[str],
  unit: str,
  width: int,
  read: Callable[[list[str]], np.ndarray],
) -> np.ndarray:
  """Returns features of every text `[M, D]` from those of its units.

  Args:
    texts: M texts.
    unit: what is read at once; see `embed`.
    width: D.
    read: features `[m, D]` of m units, each of which it is given once.

  Raises:
    ValueError: no such unit.
  """
  if unit not in UNITS:
    raise ValueError(f'unit {unit!r}: choose one of {UNITS}')
  if not len(texts):
    return np.zeros((0, width), np.float32)
  parts = [[t] if unit == 'text' else sentences(t) for t in texts]
  units = sorted({part for text in parts for part in text})
  known = read(units)
  number = {part: row for row, part in enumerate(units)}
  rows = np.array([number[part] for text in parts for part in text], int)
  counts = [len(text) for text in parts]
  starts = np.cumsum([0, *counts[:-1]]).astype(int)
  total = known[rows]
  if len(rows) > len(texts):
    total = np.add.reduceat(total, starts, axis=0)
  if unit != 'sentence_log':
    return total
  number_of = np.array(counts, np.float32)[:, None]
  return total * (np.log1p(number_of) / number_of)


def sentences(text: str) -> list[str]:
  """Returns a text's sentences; at least one, the text itself if empty."""
  found = [part.strip() for part in _SENTENCE.split(text)]
  return [part for part in found if part] or [text]


def text_length_features(texts: Sequence[str]) -> np.ndarray:
  """Returns log(1 + words) of every text, `[M, 1]`."""
  words = np.array([len(text.split()) for text in texts], np.float32)
  return np.log1p(words)[:, None]


def embed_from_file(texts: Sequence[str], path: Path) -> np.ndarray:
  """Returns features computed elsewhere, `[M, D]`.

  Args:
    texts: M texts.
    path: .npz with `sha256` (hexadecimal, of each UTF-8 text) and `features`
      `[n, D]`.

  Raises:
    ValueError: an array is missing or of the wrong shape, a feature is not
      finite, or a text is not in the file.
  """
  try:
    with path.open('rb') as raw, np.load(raw, allow_pickle=False) as file:
      keys, features = file['sha256'], file['features']
  except (KeyError, zipfile.BadZipFile, ValueError) as error:
    raise ValueError(
      f'{path}: expected an .npz with the arrays sha256 and features: {error}'
    ) from error
  if features.ndim != 2 or keys.shape != features.shape[:1]:
    raise ValueError(
      f'{path}: sha256 {keys.shape} and features {features.shape} do not '
      'match [n] and [n, D]'
    )
  bad = np.flatnonzero(~np.isfinite(features).all(1))
  if bad.size:
    raise ValueError(f'{path}: features of row {bad[0]} are not finite')
  row = {str(key): i for i, key in enumerate(keys.astype('U64'))}
  wanted = [_digest(text) for text in texts]
  missing = [key for key in wanted if key not in row]
  if missing:
    raise ValueError(
      f'{path}: {len(missing)} of {len(texts)} texts are missing, the first '
      f'has SHA-256 {missing[0]}'
    )
  return features[[row[key] for key in wanted]].astype(np.float32)


class Encodes(Protocol):
  """What `Store` keeps the features of."""

  @property
  def fingerprint(self) -> str:
    """What it is, so that features of another are never read."""

  def batches(
    self, units: Sequence[str]
  ) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields units with features of each, `[b, layers, D]`."""


class Store:
  """Encoded units on disk, in shards that appear whole or not at all."""

  def __init__(self, folder: Path, encoder: Encodes):
    self.folder = Path(folder)
    self._folder = folder / encoder.fingerprint[:16]
    self._encoder = encoder

  def get(self, units: Sequence[str], layers: Sequence[int]) -> np.ndarray:
    """Returns every unit's means `[M, len(layers), D]`, encoding new ones.

    Args:
      units: M texts.
      layers: those that are returned; all of them are kept on disk.
    """
    chosen = list(layers)
    known = self._read(set(map(_digest, units)), chosen)
    missing = [unit for unit in units if _digest(unit) not in known]
    fresh: dict[str, np.ndarray] = {}
    saved = time.monotonic()
    try:
      for batch, means in self._encoder.batches(missing):
        fresh.update(zip(map(_digest, batch), means, strict=True))
        if time.monotonic() - saved > _SAVE_SECONDS:
          self._write(fresh)
          known |= {key: mean[chosen] for key, mean in fresh.items()}
          fresh, saved = {}, time.monotonic()
    finally:
      self._write(fresh)
    known |= {key: mean[chosen] for key, mean in fresh.items()}
    return np.stack([known[_digest(unit)] for unit in units])

  def missing(self, units: Sequence[str]) -> list[str]:
    """Returns the units that are not on the disk."""
    known = set[str]()
    for path in self._shards():
      known |= set(map(str, _read_shard(path)[0]))
    return [unit for unit in units if _digest(unit) not in known]

  def forget(self, units: Sequence[str]) -> int:
    """Deletes units from the disk; returns how many were there."""
    return _forget(self._shards(), units)

  def _shards(self) -> list[Path]:
    return sorted(self._folder.glob('*.npz'))

  def _read(self, wanted: set[str], layers: list[int]) -> dict[str, np.ndarray]:
    known = {}
    for path in self._shards():
      keys, means = _read_shard(path)
      for key, mean in zip(keys, means, strict=True):
        if key in wanted:
          known[str(key)] = mean[layers]
    return known

  def _write(self, fresh: dict[str, np.ndarray]) -> None:
    if fresh:
      keys = np.array(sorted(fresh), 'U64')
      name = hashlib.sha256(''.join(keys).encode()).hexdigest()[:16]
      means = np.stack([fresh[key] for key in keys])
      _save_shard(self._folder / f'{name}.npz', keys, means)


class Kept:
  """What stores of any encoder have left in a folder: to be forgotten there."""

  def __init__(self, folder: Path):
    """Names it.

    Args:
      folder: of `Store`.
    """
    self.folder = Path(folder)

  def forget(self, units: Sequence[str]) -> int:
    """Deletes units from the disk; returns how many were there."""
    return _forget(sorted(self.folder.glob('*/*.npz')), units)


def _forget(shards: Sequence[Path], units: Sequence[str]) -> int:
  gone, count = set(map(_digest, units)), 0
  for path in shards:
    keys, means = _read_shard(path)
    keep = np.array([key not in gone for key in keys], bool)
    count += int((~keep).sum())
    if keep.all():
      continue
    if keep.any():
      _save_shard(path, keys[keep], means[keep])
    else:
      path.unlink()
  return count


def _save_shard(path: Path, keys: np.ndarray, means: np.ndarray) -> None:
  with places.whole_file(path) as file:
    np.savez(file, sha256=keys, means=means)


def _read_shard(path: Path) -> tuple[np.ndarray, np.ndarray]:
  try:
    with path.open('rb') as raw, np.load(raw, allow_pickle=False) as file:
      return file['sha256'], file['means']
  except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f'{path} is damaged ({error}): delete it, its texts are encoded anew'
    ) from error


def encode_batches(
  encoder: Encoder, texts: Sequence[str]
) -> Iterator[tuple[list[str], np.ndarray]]:
  """Yields texts of similar length with their layer means `[b, L + 1, D]`.

  Texts beyond the model's length are truncated, and counted in a line.

  Args:
    encoder: frozen.
    texts: to encode.
  """
  if not texts:
    return
  ids, truncated = tokenizers.encode(encoder.tokenizer, texts)
  if truncated:
    print(f'{truncated} of {len(texts)} texts truncated to the encoder')
  order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
  with tqdm.tqdm(total=len(texts), desc='encoding', leave=False) as bar:
    while order:
      length = _padded(len(ids[order[0]]), encoder.config)
      size = max(1, _TOKENS // length)
      chosen = [i for i in order[:size] if len(ids[i]) <= length]
      order = order[len(chosen) :]
      padded = np.zeros((size, length), np.int32)
      mask = np.zeros((size, length), np.int32)
      mask[:, 0] = 1  # rows of padding attend to something
      for row, i in enumerate(chosen):
        padded[row, : len(ids[i])] = ids[i]
        mask[row, : len(ids[i])] = 1
      means = _layer_means(encoder.config)(encoder.params, padded, mask)
      yield [texts[i] for i in chosen], np.asarray(means)[: len(chosen)]
      bar.update(len(chosen))


def _padded(length: int, config: encoders.BertConfig) -> int:
  """Returns the next of few lengths: multiples of 8, 32 and 128."""
  step = 8 if length <= 32 else 32 if length <= 128 else 128
  return min(-(-length // step) * step, config.max_position_embeddings)


@functools.lru_cache(maxsize=4)
def _layer_means(config: encoders.BertConfig):
  model = encoders.Bert(config)

  @jax.jit
  def means(params, ids, mask):
    hidden = jnp.asarray(model.apply(params, ids, mask))
    return jnp.moveaxis(encoders.mean_pool(hidden, mask), 0, 1)

  return means


def _digest(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()
