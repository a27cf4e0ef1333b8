"""What training changed in the highest layers of a frozen decoder.

FOLDER/changes.safetensors   low-rank factors, or layers as they were trained
FOLDER/changes.json          of which decoder they are, and how they came about
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from prm_jax import types
from prm_jax.models import lora
from prm_jax.models.decoder_config import DecoderConfig
from prm_jax.models.weights import huggingface, shards

WEIGHTS, CARD = 'changes.safetensors', 'changes.json'
LORA, FULL = 'lora', 'full'
VERSION = 1
_ROUNDS = {'BF16': jnp.bfloat16, 'F16': np.float16}


class Changes(NamedTuple):
  """What stands in the N highest layers that are read.

  Attributes:
    form: `LORA` or `FULL`.
    base: fingerprint of the frozen trunk that they change.
    leaves: of LORA kernel's name -> `lora.Adapter` of N layers; of FULL the
      layers' params, `{'layer': ...}`, with N leading.
  """

  form: str
  base: str
  leaves: types.PyTree

  @property
  def layers(self) -> int:
    """Returns N."""
    return len(jax.tree.leaves(self.leaves)[0])

  @property
  def rank(self) -> int:
    """Returns the rank of the factors; 0 of whole layers."""
    if self.form == FULL:
      return 0
    return int(next(iter(self.leaves.values())).a.shape[-1])

  @property
  def digest(self) -> str:
    """Returns the SHA-256 of the form, the base and all values."""
    found = hashlib.sha256(f'{self.form} {self.base}'.encode())
    for name, leaf in sorted(flat(self.leaves).items()):
      found.update(f'{name} {leaf.shape}'.encode())
      found.update(np.ascontiguousarray(leaf, '<f4').tobytes())
    return found.hexdigest()

  def save(self, folder: Path, **told: Any) -> None:
    """Writes them to a new or empty folder.

    Args:
      folder: of the changes alone.
      **told: plain data that the card keeps, such as how they were trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards.write_file(flat(self.leaves), folder / WEIGHTS)
    card = {'version': VERSION, 'form': self.form, 'base': self.base}
    card |= {'layers': self.layers, 'rank': self.rank, 'digest': self.digest}
    # The card last: a folder without one was not finished.
    text = json.dumps({**card, **told}, indent=2) + '\n'
    (folder / CARD).write_text(text)

  @classmethod
  def load(cls, folder: Path) -> 'Changes':
    """Returns what `save` wrote.

    Raises:
      ValueError: a file is missing or damaged, or of another version.
    """
    card = huggingface.read_json(folder / CARD)
    if card.get('version') != VERSION or card.get('form') not in (LORA, FULL):
      raise ValueError(
        f'{folder / CARD}: version {card.get("version")!r}, form '
        f'{card.get("form")!r}: train anew in another folder'
      )
    try:
      tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
      raise ValueError(f'{folder / WEIGHTS} is damaged: {error}') from error
    changes = cls.of_flat(card['form'], str(card.get('base')), tensors)
    if changes.digest != card.get('digest'):
      raise ValueError(
        f'{folder / WEIGHTS} is not what {CARD} beside it says: give back the '
        'file, or train anew in another folder'
      )
    return changes

  @classmethod
  def of_flat(
    cls, form: str, base: str, tensors: Mapping[str, Any]
  ) -> 'Changes':
    """Returns changes of what `flat` made of their leaves.

    Args:
      form: of the changes.
      base: fingerprint of the trunk.
      tensors: path -> array.
    """
    leaves = nested(tensors)
    if form == LORA:
      leaves = {name: lora.Adapter(**of) for name, of in leaves.items()}
    return cls(form, base, leaves)


def flat(tree: types.PyTree) -> dict[str, np.ndarray]:
  """Returns path -> float32."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(
      leaf, np.float32
    )
    for path, leaf in leaves
  }


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the tree of dicts whose leaves have these paths."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *inner, last = path.split('/')
    at = tree
    for part in inner:
      at = at.setdefault(part, {})
    at[last] = leaf
  return tree


def rounded(changes: Changes, dtype: str) -> Changes:
  """Returns whole layers as a checkpoint can hold them; factors as they are.

  What is read in training and what is published are then the same numbers.

  Args:
    changes: of any form.
    dtype: of the checkpoint, as a safetensors file names it.
  """
  kind = _ROUNDS.get(dtype)
  if changes.form == LORA or kind is None:
    return changes
  leaves = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float32).astype(kind).astype(np.float32),
    changes.leaves,
  )
  return changes._replace(leaves=leaves)


def apply(params: types.PyTree, changes: Changes) -> types.PyTree:
  """Returns the params of the decoder with its highest layers changed.

  Args:
    params: of a `Decoder`; left as they are.
    changes: of at most as many layers.

  Raises:
    ValueError: they are of layers that the decoder does not have.
  """
  if changes.form == LORA:
    count = len(jax.tree.leaves(params['params']['layers'])[0])
    return lora.merge(params, lora.raised(changes.leaves, count))
  return on_top(params, changes.leaves)


def on_top(params: types.PyTree, layers: types.PyTree) -> types.PyTree:
  """Returns a decoder's params whose highest layers are these.

  Args:
    params: of a `Decoder`.
    layers: params of N layers, `{'layer': ...}`, with N leading.

  Raises:
    ValueError: they are of layers that the decoder does not have.
  """
  inner = params['params']
  N = len(jax.tree.leaves(layers)[0])
  own = jax.tree.map(lambda leaf: leaf[-N:], inner['layers'])
  if jax.tree.map(np.shape, own) != jax.tree.map(np.shape, layers):
    raise ValueError('the changed layers are of another decoder')
  whole = jax.tree.map(
    lambda old, new: jnp.concatenate([old[:-N], new]), inner['layers'], layers
  )
  return {**params, 'params': {**inner, 'layers': whole}}


def tensors(
  config: DecoderConfig, params: types.PyTree, changes: Changes
) -> dict[str, np.ndarray]:
  """Returns the changed tensors, float32, named as transformers has them.

  Args:
    config: of the layers that are read.
    params: of `apply`.
    changes: that were applied.
  """
  count = config.num_hidden_layers
  layers = params['params']['layers']['layer']
  found: dict[str, np.ndarray] = {}

  def take(path, leaf):
    keys = ['layers', 'layer', *(entry.key for entry in path)]
    if changes.form == LORA and (
      keys[-1] != 'kernel' or keys[2] not in changes.leaves
    ):
      return
    name = f'model.{huggingface.decoder_name(config, keys)}'
    for layer in range(count - changes.layers, count):
      value = np.asarray(leaf[layer], np.float32)
      found[name.format(layer)] = value.T if keys[-1] == 'kernel' else value

  jax.tree_util.tree_map_with_path(take, layers)
  return found
