"""Checkpoints in Hugging Face's layout: config.json and safetensors."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from prm_jax import types
from prm_jax.models import decoder, encoder

# Flax name of a layer's module -> its name in the file.
_BERT_LAYER = {
  'query': 'attention.self.query',
  'key': 'attention.self.key',
  'value': 'attention.self.value',
  'attention_output': 'attention.output.dense',
  'attention_norm': 'attention.output.LayerNorm',
  'intermediate': 'intermediate.dense',
  'output': 'output.dense',
  'output_norm': 'output.LayerNorm',
}
_DECODER_LAYER = {
  'attention_norm': 'input_layernorm',
  'mlp_norm': 'post_attention_layernorm',
  'query': 'self_attn.q_proj',
  'key': 'self_attn.k_proj',
  'value': 'self_attn.v_proj',
  'output': 'self_attn.o_proj',
  'query_norm': 'self_attn.q_norm',
  'key_norm': 'self_attn.k_norm',
  'gate': 'mlp.gate_proj',
  'up': 'mlp.up_proj',
  'down': 'mlp.down_proj',
}
_DECODER_TOP = {'embed': 'embed_tokens', 'norm': 'norm', 'head': 'lm_head'}
_CLASS = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
}
# As the first BERTs were published, bert-base-uncased among them.
_OLD_NAMES = {
  'LayerNorm.gamma': 'LayerNorm.weight',
  'LayerNorm.beta': 'LayerNorm.bias',
}
_SCORED = ' (a reward model, whose score is not read yet: give its base model)'
_POINTER = b'version https://git-lfs'
_INDEX = 'model.safetensors.index.json'
_FLOATS = ('F16', 'BF16', 'F32', 'F64')


class Tensors(NamedTuple):
  """The tensors of a checkpoint, read one by one.

  Attributes:
    where: the file, for errors.
    names: of all.
    read: (name) -> array, in the file's orientation `[out, in]`.
    said: what says which shapes they have, for errors.
  """

  where: str
  names: frozenset[str]
  read: Callable[[str], np.ndarray]
  said: str = 'config.json says'


def fill(
  shapes: types.PyTree,
  tensors: Tensors,
  name_of: Callable[[list[str]], str],
  ignored: Callable[[str], bool],
) -> types.PyTree:
  """Returns a tree of parameters, float32, filled from named tensors.

  Args:
    shapes: of the parameters.
    tensors: of the checkpoint.
    name_of: (keys in the tree) -> name; `{}` in it stands for the layer, whose
      tensors are stacked.
    ignored: (name) -> whether a tensor may be left unused.

  Raises:
    ValueError: a tensor is missing, unused, of the wrong shape, or not finite.
  """
  used = set()

  def take(name, shape, transposed):
    used.add(name)
    value = _checked(tensors, name, shape[::-1] if transposed else shape)
    return value.T if transposed else value

  def leaf(path, shape):
    keys = [entry.key for entry in path[1:]]
    name, transposed = name_of(keys), keys[-1] == 'kernel'
    if '{}' not in name:
      return take(name, shape.shape, transposed)
    count, *inner = shape.shape
    for index in range(count):
      _require(tensors, name.format(index))
    first = take(name.format(0), tuple(inner), transposed)
    stacked = np.empty((count, *first.shape), np.float32)
    stacked[0] = first
    for index in range(1, count):
      stacked[index] = take(name.format(index), tuple(inner), transposed)
    return stacked

  params = jax.tree_util.tree_map_with_path(leaf, shapes)
  unused = sorted(name for name in tensors.names - used if not ignored(name))
  if unused:
    raise ValueError(
      f'{tensors.where}: the model does not use the tensors '
      + ', '.join(unused[:8])
      + (f' and {len(unused) - 8} more' if len(unused) > 8 else '')
      + (_SCORED if any('score.' in name for name in unused) else '')
    )
  return params


def _require(tensors: Tensors, name: str) -> None:
  if name not in tensors.names:
    raise ValueError(f'{tensors.where}: tensor {name} is missing')


def _checked(tensors: Tensors, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Returns a tensor as float32, of the shape, and finite."""
  _require(tensors, name)
  value = tensors.read(name)
  if value.shape != shape:
    raise ValueError(
      f'{tensors.where}: tensor {name} is {value.shape}, {tensors.said} {shape}'
    )
  value = np.array(value, np.float32)  # a copy: the file may be closed
  if not np.isfinite(value).all():
    raise ValueError(
      f'{tensors.where}: tensor {name} holds values that are not finite'
    )
  return value


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


def weight_files(folder: Path) -> list[Path]:
  """Returns the safetensors files of a checkpoint: one, or its shards.

  Raises:
    ValueError: there are none, or the index of the shards is broken.
  """
  whole, index = folder / 'model.safetensors', folder / _INDEX
  if whole.is_file():
    return [whole]
  if not index.is_file():
    raise ValueError(f'{whole} is missing: only safetensors are read')
  shards = read_json(index).get('weight_map')
  if not isinstance(shards, dict) or not shards:
    raise ValueError(f'{index}: weight_map is missing')
  names = {str(shard) for shard in shards.values()}
  for name in names:
    if Path(name).name != name:
      raise ValueError(f'{index}: {name!r} is not the name of a file beside it')
  return [folder / name for name in sorted(names)]


def read_json(path: Path) -> dict[str, Any]:
  """Returns the object in a JSON file.

  Raises:
    ValueError: there is none.
  """
  try:
    known = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} is not a JSON file: {error}') from error
  if not isinstance(known, dict):
    raise ValueError(f'{path} holds no JSON object')
  return known


def _open(paths: Iterable[Path], prefix: str) -> Tensors:
  """Returns the tensors of safetensors files, named without a prefix."""
  home: dict[str, tuple[Path, Any, str]] = {}
  for path in paths:
    if not path.is_file():
      raise ValueError(f'{path} is missing')
    with path.open('rb') as raw:
      if raw.read(len(_POINTER)) == _POINTER:
        raise ValueError(
          f'{path} is a Git LFS pointer and not the weights: fetch them with '
          '`git lfs pull` in its repository'
        )
    try:
      file = safe_open(path, framework='numpy')
    except SafetensorError as error:
      raise ValueError(f'{path} is not a safetensors file: {error}') from error
    for full in file.keys():  # noqa: SIM118 (not a dict)
      name = full.removeprefix(prefix)
      for old, new in _OLD_NAMES.items():
        name = name.replace(old, new)
      if name in home:
        raise ValueError(f'{path}: tensor {full} is also in {home[name][0]}')
      home[name] = (path, file, full)

  def read(name):
    path, file, full = home[name]
    kind = file.get_slice(full).get_dtype()
    if kind not in _FLOATS:
      raise ValueError(
        f'{path}: tensor {full} is {kind}: one of {_FLOATS} is needed'
      )
    return file.get_tensor(full)

  return Tensors(str(next(iter(paths))), frozenset(home), read)


def load_bert(folder: Path) -> tuple[encoder.BertConfig, Any]:
  """Returns configuration and Flax parameters of a BERT checkpoint.

  Args:
    folder: with config.json and model.safetensors.

  Raises:
    ValueError: a file or tensor is missing, broken, or of the wrong shape.
  """
  folder = model_folder(folder)
  config = encoder.BertConfig.read(folder / 'config.json')
  tensors = _open(weight_files(folder), 'bert.')
  ids = jax.ShapeDtypeStruct((1, 2), np.int32)
  shapes = jax.eval_shape(
    encoder.Bert(config).init, jax.random.key(0), ids, ids
  )
  params = fill(shapes, tensors, _bert_name, ignored=lambda name: True)
  return config, params


def _bert_name(keys: list[str]) -> str:
  """Returns a parameter's name in the file from its path in the tree."""
  *modules, leaf = keys
  leaf = 'bias' if leaf == 'bias' else 'weight'
  if modules[0].startswith('layer_'):
    index = modules[0].removeprefix('layer_')
    return f'encoder.layer.{index}.{_BERT_LAYER[modules[1]]}.{leaf}'
  if modules[0] == 'embeddings_norm':
    return f'embeddings.LayerNorm.{leaf}'
  return f'embeddings.{modules[0]}.{leaf}'


def load_decoder(folder: Path) -> tuple[decoder.DecoderConfig, types.PyTree]:
  """Returns configuration and parameters of a decoder's checkpoint.

  Args:
    folder: with config.json, and model.safetensors or its shards and index.

  Raises:
    ValueError: a file or tensor is missing, broken, or of the wrong shape, or
      the model does not use a tensor.
  """
  path = folder / 'config.json'
  if not path.is_file():
    raise ValueError(f'{path} is missing')
  config = decoder.DecoderConfig.of(read_json(path), str(path))
  tensors = _open(weight_files(folder), 'model.')

  def ignored(name):
    head = name == 'lm_head.weight' and config.tie_word_embeddings
    return head or name.endswith('rotary_emb.inv_freq')

  shapes = decoder_shapes(config)
  return config, fill(shapes, tensors, _decoder_name, ignored)


def decoder_shapes(config: decoder.DecoderConfig) -> types.PyTree:
  """Returns the shapes of a decoder's parameters."""
  ids = jax.ShapeDtypeStruct((1, 2), np.int32)
  mask = jax.ShapeDtypeStruct((1, 1, 2, 2), np.bool_)
  model = decoder.Decoder(config)
  return jax.eval_shape(model.init, jax.random.key(0), ids, ids, mask)


def _decoder_name(keys: list[str]) -> str:
  """Returns a parameter's name in the file; `{}` stands for the layer."""
  leaf = 'bias' if keys[-1] == 'bias' else 'weight'
  if keys[0] == 'layers':
    return f'layers.{{}}.{_DECODER_LAYER[keys[2]]}.{leaf}'
  return f'{_DECODER_TOP[keys[0]]}.{leaf}'


def save_decoder(
  config: decoder.DecoderConfig, params: types.PyTree, folder: Path
) -> None:
  """Writes a decoder as config.json and model.safetensors, float32.

  Args:
    config: sizes.
    params: of a `Decoder`.
    folder: made if it is not there.

  Raises:
    ValueError: no architecture has both biases and query normalisation, or a
      parameter is not of its shape.
  """
  known = _config_fields(config)
  tensors = {}

  def leaf(path, shape, value):
    keys = [entry.key for entry in path[1:]]
    name, value = _decoder_name(keys), np.asarray(value, np.float32)
    if value.shape != shape.shape:
      raise ValueError(f'{name} is {value.shape}, its shape is {shape.shape}')
    if keys[-1] == 'kernel':
      value = value.swapaxes(-1, -2)
    stacked = '{}' in name
    for index, part in enumerate(value if stacked else value[None]):
      full = name.format(index)
      full = full if full.startswith('lm_head') else f'model.{full}'
      tensors[full] = np.ascontiguousarray(part)

  jax.tree_util.tree_map_with_path(leaf, decoder_shapes(config), params)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(known, indent=2) + '\n')
  save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})


def _config_fields(config: decoder.DecoderConfig) -> dict[str, Any]:
  """Returns the fields of config.json."""
  if config.attention_bias and config.query_key_norm:
    raise ValueError('no architecture has attention_bias and query_key_norm')
  kind = 'qwen2' if config.attention_bias else 'llama'
  kind = 'qwen3' if config.query_key_norm else kind
  known = config.described()
  del known['query_key_norm']  # the architecture says it
  rotary = {'rope_type': 'default', 'rope_theta': config.rope_theta}
  return {
    'architectures': [_CLASS[kind]],
    'model_type': kind,
    'hidden_act': 'silu',
    'rope_parameters': rotary,
    'torch_dtype': 'float32',
    **known,
  }
