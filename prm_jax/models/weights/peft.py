"""Low-rank adapters of a classifier in the form that peft reads.

FOLDER/adapter_config.json         which kernels of which layers
FOLDER/adapter_model.safetensors   factors, the score, the last normalisation
FOLDER/config.json, tokenizer.json ...   of the classifier that they change

peft is not needed here. The base is a checkpoint that stays where it is.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from prm_jax.models import lora
from prm_jax.models.adapted import LORA, Changes
from prm_jax.models.weights import (
  decoder_fields,
  huggingface,
  published,
  shards,
)

CARD, WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
_PREFIX = 'base_model.model.'
_SCORE, _NORM = f'{_PREFIX}score.weight', f'{_PREFIX}model.norm.weight'


class Adapters(NamedTuple):
  """What a folder holds.

  Attributes:
    base: folder of the checkpoint, as it was called.
    layers: of the checkpoint that are read, the lowest.
    leaves: kernel's name -> factors of the highest of these layers.
    weight: `[C, D]`, score.weight.
    labels: C.
  """

  base: Path
  layers: int
  leaves: dict[str, lora.Adapter]
  weight: np.ndarray
  labels: tuple[str, ...]


def write(
  source: Path,
  changes: Changes,
  weight: np.ndarray,
  folder: Path,
  *,
  labels: Sequence[str],
  layers: int,
) -> None:
  """Writes adapters of the lower layers of a checkpoint, and a score.

  Scores are those of the checkpoint's lower layers with these factors beside
  their kernels, under a normalisation without a scale, which is written too.

  Args:
    source: folder of the checkpoint.
    changes: of form LORA.
    weight: `[C, D]`, score.weight, of the normalised states.
    folder: that is there, and empty.
    labels: C names.
    layers: of the checkpoint that are read.

  Raises:
    ValueError: as of `published.write`; nothing is written then.
  """
  if changes.form != LORA:
    raise ValueError('whole layers are no adapters: `published.write` has them')
  described = published.describe(source, weight, labels=labels, layers=layers)
  first = layers - changes.layers
  tensors: dict[str, np.ndarray] = {}
  for name, (a, b) in sorted(changes.leaves.items()):
    keys = ['layers', 'layer', name, 'kernel']
    module = huggingface.decoder_name(described.config, keys)
    module = f'{_PREFIX}model.{module.removesuffix(".weight")}'
    for place in range(changes.layers):
      full = module.format(first + place)
      for factor, value in (('A', a), ('B', b)):
        matrix = np.ascontiguousarray(np.asarray(value[place], np.float32).T)
        tensors[f'{full}.lora_{factor}.weight'] = matrix
  tensors[_SCORE] = np.ascontiguousarray(weight, np.float32)
  plain = np.zeros if described.config.norm_offset else np.ones
  tensors[_NORM] = plain(described.config.hidden_size, np.float32)
  shards.write_file(tensors, folder / WEIGHTS)
  published.write_texts(source, folder, described)
  modules = {name.rsplit('.lora_')[0] for name in tensors if '.lora_' in name}
  card = {
    'peft_type': 'LORA',
    'task_type': 'SEQ_CLS',
    'base_model_name_or_path': str(source.resolve()),
    'r': changes.rank,
    'lora_alpha': changes.rank,  # x W + (x A) B, as it was trained
    'lora_dropout': 0.0,
    'bias': 'none',
    'fan_in_fan_out': False,
    'inference_mode': True,
    'target_modules': sorted({name.rsplit('.', 1)[1] for name in modules}),
    'layers_to_transform': list(range(first, layers)),
    'layers_pattern': 'layers',
    'modules_to_save': ['score', 'model.norm'],
  }
  (folder / CARD).write_text(json.dumps(card, indent=2) + '\n')


def read(folder: Path) -> Adapters:
  """Returns what `write` wrote.

  Raises:
    ValueError: a file is missing or damaged, or says what is not read here.
  """
  card = huggingface.read_json(folder / CARD)
  known = huggingface.read_json(folder / 'config.json')
  try:
    tensors = load_file(folder / WEIGHTS)
  except (OSError, SafetensorError) as error:
    raise ValueError(f'{folder / WEIGHTS} is damaged: {error}') from error
  rank, alpha = card.get('r'), card.get('lora_alpha')
  if card.get('peft_type') != 'LORA' or not rank or rank != alpha:
    raise ValueError(
      f'{folder / CARD}: peft_type {card.get("peft_type")!r}, r {rank!r}, '
      f'lora_alpha {alpha!r}: LORA with lora_alpha = r is read, as `prm '
      'export` writes it; merge others into their model first'
    )
  config = decoder_fields.read(known, str(folder / 'config.json'))
  layers = config.num_hidden_layers
  numbers = card.get('layers_to_transform')
  count = len(numbers) if isinstance(numbers, list) else 0
  if not count or numbers != list(range(layers - count, layers)):
    raise ValueError(
      f'{folder / CARD}: layers_to_transform {numbers!r}: the highest of '
      f'{layers} are read'
    )
  leaves = {}
  for name in ('query', 'key', 'value', 'output', 'gate', 'up', 'down'):
    keys = ['layers', 'layer', name, 'kernel']
    module = huggingface.decoder_name(config, keys).removesuffix('.weight')
    names = [f'{_PREFIX}model.{module.format(number)}' for number in numbers]
    if f'{names[0]}.lora_A.weight' in tensors:
      leaves[name] = lora.Adapter(*_stacked(folder, tensors, names))
  weight = _tensor(folder, tensors, _SCORE)
  _tensor(folder, tensors, _NORM)
  for name, value in tensors.items():
    if not np.isfinite(value).all():
      raise ValueError(f'{folder / WEIGHTS}: {name} is not finite')
  labels = huggingface.label_names(known, str(folder / 'config.json'))
  if weight.shape != (len(labels), config.hidden_size):
    raise ValueError(
      f'{folder / WEIGHTS}: score.weight is {weight.shape}, of {len(labels)} '
      'labels'
    )
  base = Path(str(card.get('base_model_name_or_path')))
  return Adapters(base, layers, leaves, weight, labels)


def _stacked(folder, tensors: Mapping[str, Any], names: Sequence[str]):
  """Yields the factors of a kernel, with its layers leading."""
  for factor in 'AB':
    each = [
      _tensor(folder, tensors, f'{name}.lora_{factor}.weight') for name in names
    ]
    if len({of.shape for of in each}) > 1:
      raise ValueError(f'{folder / WEIGHTS}: {names[0]}: layers differ')
    yield np.stack([of.T for of in each])


def _tensor(folder, tensors: Mapping[str, Any], name: str) -> np.ndarray:
  if name not in tensors:
    raise ValueError(f'{folder / WEIGHTS}: tensor {name} is missing')
  return np.asarray(tensors[name], np.float32)
