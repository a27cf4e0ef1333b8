"""Checkpoints in Hugging Face's layout: config.json and safetensors."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from prm_jax.models import encoder

# Flax name of a layer's module -> its name in the file.
_LAYER = {
  'query': 'attention.self.query',
  'key': 'attention.self.key',
  'value': 'attention.self.value',
  'attention_output': 'attention.output.dense',
  'attention_norm': 'attention.output.LayerNorm',
  'intermediate': 'intermediate.dense',
  'output': 'output.dense',
  'output_norm': 'output.LayerNorm',
}


def model_folder(folder: Path) -> Path:
  """Returns where config.json lies: the folder, or its `0_Transformer`.

  Raises:
    ValueError: neither holds one.
  """
  for candidate in (folder, folder / '0_Transformer'):
    if (candidate / 'config.json').is_file():
      return candidate
  raise ValueError(
    f'{folder} holds no config.json: give the folder of a BERT-family or '
    'sentence-transformers checkpoint'
  )


def load_bert(folder: Path) -> tuple[encoder.BertConfig, Any]:
  """Returns configuration and Flax parameters of a BERT checkpoint.

  Args:
    folder: with config.json and model.safetensors.

  Raises:
    ValueError: a file or tensor is missing, broken, or of the wrong shape.
  """
  folder = model_folder(folder)
  config = encoder.BertConfig.read(folder / 'config.json')
  path = folder / 'model.safetensors'
  if not path.is_file():
    raise ValueError(f'{path} is missing: only safetensors are read')
  try:
    tensors = load_file(path)
  except SafetensorError as error:
    raise ValueError(f'{path} is not a safetensors file: {error}') from error
  tensors = {name.removeprefix('bert.'): t for name, t in tensors.items()}
  ids = jax.ShapeDtypeStruct((1, 2), np.int32)
  shapes = jax.eval_shape(
    encoder.Bert(config).init, jax.random.key(0), ids, ids
  )

  def fill(path_in_tree, shape):
    keys = [entry.key for entry in path_in_tree[1:]]
    name = _file_name(keys)
    if name not in tensors:
      raise ValueError(f'{path}: tensor {name} is missing')
    value = tensors[name].astype(np.float32)
    value = value.T if keys[-1] == 'kernel' else value
    if value.shape != shape.shape:
      raise ValueError(
        f'{path}: tensor {name} is {value.shape}, config.json says '
        f'{shape.shape}'
      )
    return value

  return config, jax.tree_util.tree_map_with_path(fill, shapes)


def _file_name(keys: list[str]) -> str:
  """Returns a parameter's name in the file from its path in the tree."""
  *modules, leaf = keys
  leaf = 'bias' if leaf == 'bias' else 'weight'
  if modules[0].startswith('layer_'):
    index = modules[0].removeprefix('layer_')
    return f'encoder.layer.{index}.{_LAYER[modules[1]]}.{leaf}'
  if modules[0] == 'embeddings_norm':
    return f'embeddings.LayerNorm.{leaf}'
  return f'embeddings.{modules[0]}.{leaf}'
