"""What a language model that nobody trained writes of real histories.

Kept of a summary is its embedding: no word of it.
"""

import functools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.summaries import real_people
from prm_jax import history_texts, types
from prm_jax.data.user_histories import Episode
from prm_jax.lab import units
from prm_jax.models import embeddings
from prm_jax.models.language_model import LanguageModel
from prm_jax.users import summaries


class Embedded(NamedTuple):
  """Texts as unit vectors.

  Attributes:
    row: text -> row.
    values: `[M, D]`.
  """

  row: dict[str, int]
  values: np.ndarray

  def of(self, some: Sequence[str]) -> np.ndarray:
    """Returns vectors of some texts, `[n, D]`."""
    return self.values[[self.row[text] for text in some]]

  def mean(self, some: Sequence[str]) -> np.ndarray:
    """Returns the mean of some texts, `[D]`; zeros of none."""
    if not some:
      return np.zeros(self.values.shape[1], np.float32)
    return self.of(some).mean(0)


@functools.lru_cache(maxsize=1)
def _encoder(folder: str) -> embeddings.Encoder:
  return embeddings.Encoder.load(Path(folder) if folder else None)


@functools.lru_cache(maxsize=1)
def _model(path: str) -> LanguageModel:
  return LanguageModel.load(Path(path) if path else None)


def embedded(config: Any, texts: Iterable[str]) -> Embedded:
  """Returns texts as unit vectors of the encoder's last layer."""
  known = sorted(set(texts))
  encoder = _encoder(config.real.encoder)
  values = embeddings.embed(
    known, encoder, layers=(encoder.config.num_hidden_layers,)
  )
  length = np.linalg.norm(values, axis=1, keepdims=True)
  row = {text: i for i, text in enumerate(known)}
  return Embedded(row, values / np.maximum(length, 1e-9))


def written(config: Any, name: str) -> units.Unit:
  """Returns summaries of all histories of a data set, as unit vectors.

  Arrays: `summary` `[H, n, D]` of n samples of each, in the order of
  `real_people.written_about`; `silent` `[H, n]`, without a letter; `finished`
  `[H, n]`, ended before the limit; `tokens` `[H, n]`.
  """
  node, model = config.real.data[name], _model(config.real.model)
  own = node.writes
  known = list(real_people.written_about(config, name))
  started = time.process_time()
  history, cut = _read(model, known, own)
  writer = history_texts.writer(
    model, max_new_tokens=own.tokens, ask=config.real.ask
  )
  said, drawn = _write(config, model, writer, history, own)
  n = own.samples
  vectors = embedded(config, said)
  record = {
    'data': name,
    'histories': len(known),
    'samples': n,
    'read_tokens': float(np.asarray(history.mask).sum(1).mean()),
    'cut': cut / len(known),
    'cpu_seconds': time.process_time() - started,
  }
  arrays = {
    'summary': vectors.of(said).reshape(len(known), n, -1),
    'silent': np.array([not any(map(str.isalnum, text)) for text in said]),
    'tokens': drawn.sum(1),
    'finished': drawn.sum(1) < own.tokens,
  }
  flat = {key: arrays[key].reshape(-1, n) for key in list(arrays)[1:]}
  return units.Unit(record, arrays | flat)


def _read(model, known, node) -> tuple[types.Tokens, int]:
  """Returns histories as the writer reads them, and how many are cut."""
  asked = real_people.AskedPair('', '', 0.0, '', '', '', 1.0)
  episodes = [
    Episode(
      user,
      tuple(real_people.short(event, node.words) for event in events),
      (asked,),
    )
    for user, events in enumerate(known)
  ]
  found = history_texts.contexts(
    model.tokenizer,
    episodes,
    limits=history_texts.Limits(node.history, 1, 1, 1),
  )
  return found.data.rows.history, found.cut


def _write(config, model, writer, history, node):
  """Returns texts of H n summaries, and `[H n, N]` which tokens are there."""
  size, count = node.batch, len(history.ids)
  said: list[str] = []
  masks = []
  for first in range(0, count, size):
    rows = np.arange(first, min(first + size, count))
    filled = np.concatenate([rows, np.full(size - len(rows), rows[0])])
    some = types.Tokens(history.ids[filled], history.mask[filled])
    drawn = summaries.write(
      jax.random.key(config.seeds[0]),
      writer,
      model.params,
      some,
      count=node.samples,
      row_ids=(
        filled[:, None] * node.samples + np.arange(node.samples)
      ).ravel(),
      temperature=node.temperature,
    )
    ids, mask = (
      np.asarray(leaf)[: len(rows) * node.samples] for leaf in drawn[:2]
    )
    said += [
      model.tokenizer.decode([int(i) for i in each[there > 0]])
      for each, there in zip(ids, mask, strict=True)
    ]
    masks.append(mask)
  return said, np.concatenate(masks)
