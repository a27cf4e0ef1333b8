"""What a decoder says of a text: its state at the last real token.

A trunk is the lower layers of a checkpoint and a normalisation without a scale,
so that a reward that is linear in its features is a classifier on fewer layers.
"""

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import (
  adapted,
  chat_rendering,
  classifier,
  decoder,
  embeddings,
  sharding,
  tokenizers,
)
from prm_jax.models import chat as chats
from prm_jax.models.weights import cache, huggingface, shards

# Of all layers: fixed before any text is seen. A search inside the training
# rows prefers what fits the trained wording to what carries to new words.
DEPTH = 0.87
TOTAL = 1024  # tokens of a text that are read
_CHUNK = 64  # texts between two times that something is kept
_NAMES = ('config.json', *huggingface.TEXTS)


class Trunk(NamedTuple):
  """The lower layers of a decoder, and how it reads texts.

  Attributes:
    folder: of the checkpoint.
    model: a classifier whose D labels are the D features of a text.
    layers: of the checkpoint that are run.
    fingerprint: SHA-256 over weights, configuration, tokenizer, template and
      layers; and over what training changed.
    changes: of the highest layers that are run; none if None.
  """

  folder: Path
  model: classifier.Classifier
  layers: int
  fingerprint: str
  changes: adapted.Changes | None = None

  @property
  def base(self) -> str:
    """Returns the fingerprint of the checkpoint's files, without changes."""
    return self.fingerprint if self.changes is None else self.changes.base

  @property
  def total(self) -> int:
    """Returns how many tokens of a text are read."""
    return min(TOTAL, self.model.config.max_position_embeddings)

  @property
  def dtype(self) -> str:
    """Returns that of the checkpoint's files, 'BF16'; of the first tensor."""
    first = shards.read(huggingface.weight_files(self.folder)[0])
    return next(iter(first.values())).dtype

  def changed(self, changes: adapted.Changes) -> 'Trunk':
    """Returns the trunk whose highest layers are those that were trained.

    Args:
      changes: of this trunk.

    Raises:
      ValueError: they are of another one.
    """
    if changes.base != self.fingerprint:
      raise ValueError(
        f'{self.folder}: what was trained changes another checkpoint (or the '
        f'same with other layers, tokenizer or template): {changes.base[:12]}, '
        f'and this is {self.fingerprint[:12]}: give back its files'
      )
    try:
      params = sharding.alike(
        lambda params, leaves: adapted.apply(
          params, changes._replace(leaves=leaves)
        ),
        *(self.model.params, changes.leaves),
      )
    except ValueError as error:
      raise ValueError(f'{self.folder}: {error}') from error
    named = hashlib.sha256(f'{changes.base} {changes.digest}'.encode())
    return self._replace(
      model=self.model._replace(params=params),
      fingerprint=named.hexdigest(),
      changes=changes,
    )

  @classmethod
  def load(
    cls,
    folder: Path,
    *,
    layers: int | None = None,
    place: Callable[[types.PyTree], types.PyTree] | None = None,
  ) -> 'Trunk':
    """Returns the trunk of a language model in Hugging Face's layout.

    Args:
      folder: with config.json, tokenizer.json and weights.
      layers: of the checkpoint that are run; `DEPTH` of them if None.
      place: puts parameters, NumPy arrays, where they live; on the first device
        if None.

    Raises:
      ValueError: it holds no usable language model, or has fewer layers.
    """
    config, params = huggingface.load_decoder(folder)
    deepest = config.num_hidden_layers
    count = max(round(DEPTH * deepest), 1) if layers is None else layers
    if not 1 <= count <= deepest:
      raise ValueError(f'{folder}: layers {count}, and it has 1 to {deepest}')
    digest = hashlib.sha256(f'{count} {TOTAL}'.encode())
    for name in _NAMES:
      if (folder / name).is_file():
        digest.update(cache.sha256(folder / name).encode())
    for path in huggingface.weight_files(folder):
      digest.update(cache.sha256(path).encode())
    chat = _chat(folder, config)
    if 'strftime_now' in (chat.template or ''):
      digest.update(chat_rendering.DAY.isoformat().encode())
    # Features have no head of tokens.
    config = dataclasses.replace(config, tie_word_embeddings=True)
    D = config.hidden_size
    params = lower(config, params, count)
    if place is None:
      place = functools.partial(jax.tree.map, jnp.asarray)
    model = classifier.Classifier(
      config.cut(0, count),
      place(params),
      {'kernel': jnp.eye(D), 'bias': jnp.zeros(D)},
      tuple(map(str, range(D))),
      every=False,
      chat=chat,
    )
    return cls(folder, model, count, digest.hexdigest())

  def batches(
    self, units: Sequence[str]
  ) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields units, as `unit` writes them, with their features `[b, 1, D]`.

    How many texts are longer than what is read is said on standard error.
    """
    total, cut = self.total, 0
    chunk = _CHUNK * sharding.rows_of(sharding.mesh_of(self.model.params))
    # The shortest first: a chunk holds texts of one length, or nearly.
    order = sorted(units, key=len)
    for first in range(0, len(order), chunk):
      some = order[first : first + chunk]
      prompts, responses = zip(*map(json.loads, some), strict=True)
      found = classifier.score_texts(
        self.model, prompts, responses, total=total
      )
      cut += int(found.cut.sum())
      yield some, found.scores[:, None]
    if cut:
      print(
        f'{cut} of {len(order)} texts are longer than {total} tokens: a prompt '
        'loses its start, a response its end',
        file=sys.stderr,
      )

  def __call__(
    self,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    cache_dir: Path | None = None,
  ) -> np.ndarray:
    """Returns features `[M, D]` float32 of M responses to prompts.

    Args:
      prompts: M texts, which a user said.
      responses: M texts, which the assistant said.
      cache_dir: of features; the user's cache folder if None.
    """
    if not len(responses):
      return np.zeros((0, self.model.config.hidden_size), np.float32)
    units = list(map(unit, prompts, responses))
    known = sorted(set(units))
    store = embeddings.Store(
      cache_dir or cache.cache_folder() / 'embeddings', self
    )
    table = store.get(known, (0,))[:, 0]
    row = {name: i for i, name in enumerate(known)}
    return table[[row[name] for name in units]]


def unit(prompt: str, response: str) -> str:
  """Returns a prompt and a response as the one text that names both."""
  return json.dumps([prompt, response])


def files(folder: Path) -> list[Path]:
  """Returns the files of a checkpoint that a trunk is read from."""
  found = [folder / name for name in _NAMES if (folder / name).is_file()]
  index = folder / shards.INDEX
  found += [index] if index.is_file() else []
  return found + list(huggingface.weight_files(folder))


def _chat(folder: Path, config: decoder.DecoderConfig) -> chats.Chat:
  if not (folder / 'tokenizer.json').is_file():
    raise ValueError(f'{folder}: tokenizer.json is missing: texts need it')
  chat = chats.Chat.load(folder)
  tokenizers.check_vocabulary(chat.tokenizer, config.vocab_size, str(folder))
  return chat


def lower(config, params, count: int) -> dict[str, Any]:
  """Returns the params of the lower layers, normalised without a scale.

  Args:
    config: of the whole decoder.
    params: of it.
    count: of the layers that stay.
  """
  whole = dict(params['params'])
  whole.pop('head', None)
  whole['layers'] = decoder.take_layers(params, 0, count)['params']
  scale = whole['norm']['scale']
  plain = np.zeros_like if config.norm_offset else np.ones_like
  whole['norm'] = {'scale': plain(scale)}
  return {'params': whole}
