"""Checkpoints in Hugging Face's layout: config.json and safetensors."""

import dataclasses
import functools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from prm_jax import types
from prm_jax.models import decoder, encoder
from prm_jax.models.weights import decoder_fields, named, pointers, shards

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
# Where what a layer adds is normalised too, the last norm is after attention.
_POST_NORMS = {
  'attention_post_norm': 'post_attention_layernorm',
  'mlp_norm': 'pre_feedforward_layernorm',
  'mlp_post_norm': 'post_feedforward_layernorm',
}
_DECODER_TOP = {'embed': 'embed_tokens', 'norm': 'norm', 'head': 'lm_head'}
# End of a decoder tensor's name -> what in config.json says that it is there,
# and how large it is.
_OPTIONS = {
  'self_attn.q_proj.bias': 'attention_bias',
  'self_attn.k_proj.bias': 'attention_bias',
  'self_attn.v_proj.bias': 'attention_bias',
  'self_attn.o_proj.bias': 'attention_bias',
  'mlp.gate_proj.bias': 'mlp_bias',
  'mlp.up_proj.bias': 'mlp_bias',
  'mlp.down_proj.bias': 'mlp_bias',
  'self_attn.q_norm.weight': 'model_type, head_dim',
  'self_attn.k_norm.weight': 'model_type, head_dim',
  'pre_feedforward_layernorm.weight': 'model_type',
  'post_feedforward_layernorm.weight': 'model_type',
  'self_attn.q_proj.weight': 'num_attention_heads, head_dim',
  'self_attn.o_proj.weight': 'num_attention_heads, head_dim',
  'self_attn.k_proj.weight': 'num_key_value_heads, head_dim',
  'self_attn.v_proj.weight': 'num_key_value_heads, head_dim',
  'mlp.gate_proj.weight': 'intermediate_size',
  'mlp.up_proj.weight': 'intermediate_size',
  'mlp.down_proj.weight': 'intermediate_size',
  'embed_tokens.weight': 'vocab_size, hidden_size',
  'lm_head.weight': 'tie_word_embeddings, vocab_size',
  'score.weight': 'num_labels',
  'score.bias': 'num_labels',
}
# As the first BERTs were published, bert-base-uncased among them.
_OLD_NAMES = {
  'LayerNorm.gamma': 'LayerNorm.weight',
  'LayerNorm.beta': 'LayerNorm.bias',
}
_ENDS = ('ForSequenceClassification', 'ForTokenClassification')
_HEAD = 'lm_head.weight'
_ROWS = 1024  # that are compared at once
# What of a checkpoint says how texts are read.
TEXTS = (
  *('tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'),
  'chat_template.jinja',
)
_INDEX = 'model.safetensors.index.json'
_FLOATS = ('F16', 'BF16', 'F32', 'F64')


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
  home = read_json(index).get('weight_map')
  if not isinstance(home, dict) or not home:
    raise ValueError(f'{index}: weight_map is missing')
  names = {str(shard) for shard in home.values()}
  for name in names:
    if Path(name).name != name:
      raise ValueError(f'{index}: {name!r} is not the name of a file beside it')
  return [folder / name for name in sorted(names)]


def read_json(path: Path) -> dict[str, Any]:
  """Returns the object in a JSON file.

  Raises:
    ValueError: there is none.
  """
  pointers.refuse(path)
  try:
    known = json.loads(path.read_text())
  except OSError as error:
    raise ValueError(f'{path} cannot be read: {error.strerror}') from error
  except ValueError as error:
    raise ValueError(f'{path} is not a JSON file: {error}') from error
  if not isinstance(known, dict):
    raise ValueError(f'{path} holds no JSON object')
  return known


def _open(paths: Iterable[Path], prefix: str) -> named.Tensors:
  """Returns the tensors of safetensors files, named without a prefix."""
  home: dict[str, tuple[Path, Any, str]] = {}
  for path in paths:
    if not path.is_file():
      raise ValueError(f'{path} is missing')
    pointers.refuse(path)
    try:
      file = safe_open(path, framework='numpy')
    except SafetensorError as error:
      raise ValueError(f'{path} is not a safetensors file: {error}') from error
    for full in file.keys():  # noqa: SIM118 (not a dict)
      name = full.removeprefix(prefix)
      for old, new in _OLD_NAMES.items():
        name = name.replace(old, new)
      shards.refuse_twice(full, path, home[name][0] if name in home else None)
      home[name] = (path, file, full)

  def opened(name):
    path, file, full = home[name]
    found = file.get_slice(full)
    if found.get_dtype() not in _FLOATS:
      raise ValueError(
        f'{path}: tensor {full} is {found.get_dtype()}: one of {_FLOATS} is '
        'needed'
      )
    return found

  def read(name):
    opened(name)
    return home[name][1].get_tensor(home[name][2])

  where = str(next(iter(paths)))
  return named.Tensors(where, frozenset(home), read, opened=opened)


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
  params = named.fill(shapes, tensors, _bert_name, ignored=lambda name: True)
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
  """Returns configuration and parameters of a language model's checkpoint.

  Where `tie_word_embeddings` is true and the file holds another lm_head.weight
  than its embedding, the file wins, as in transformers 5; it is logged.

  Args:
    folder: with config.json, and model.safetensors or its shards and index.

  Raises:
    ValueError: a file or tensor is missing, broken, or of the wrong shape, or
      the model does not use a tensor; or it is a classifier.
  """
  config, tensors = language_files(folder)
  return config, _filled(config, tensors)


def language_files(folder: Path) -> tuple[decoder.DecoderConfig, named.Tensors]:
  """Returns what `load_decoder` reads of, its head as the file has it.

  Args:
    folder: as of `load_decoder`.

  Raises:
    ValueError: a file is missing or broken, or it is a classifier.
  """
  known, config, tensors = decoder_files(folder)
  if (name := _architecture(known)).endswith(_ENDS):
    raise ValueError(
      f'{folder}: {name} scores texts and writes none: '
      '`classifier.Classifier.load` reads it, and its trunk'
    )
  tied = config.tie_word_embeddings and _HEAD in tensors.names
  if tied and not _same(tensors, _HEAD, 'embed_tokens.weight'):
    logging.warning(
      '%s: tie_word_embeddings is true, and lm_head.weight is not the '
      'embedding: lm_head.weight is taken, as transformers 5 does',
      tensors.where,
    )
    config = dataclasses.replace(config, tie_word_embeddings=False)
  return config, tensors


def _same(tensors: named.Tensors, *names: str) -> bool:
  """Returns whether two tensors are equal, some rows of which are read."""
  for name in names:
    named.require(tensors, name)
  assert tensors.opened is not None
  one, other = map(tensors.opened, names)
  shape = one.get_shape()
  count = shape[0] if shape else 0
  rows = [slice(at, min(at + _ROWS, count)) for at in range(0, count, _ROWS)]
  return shape == other.get_shape() and all(
    np.array_equal(one[some], other[some]) for some in rows
  )


class Classification(NamedTuple):
  """What `load_classifier` reads.

  Attributes:
    config: of the decoder; its tokens have no head.
    params: of a `Decoder`.
    score: kernel `[D, C]` and bias `[C]`, float32, of the normalised states.
    labels: C.
    every: whether every token is scored, and not the last alone.
  """

  config: decoder.DecoderConfig
  params: types.PyTree
  score: dict[str, np.ndarray]
  labels: tuple[str, ...]
  every: bool


def load_classifier(folder: Path) -> Classification:
  """Returns a decoder with a score, of texts or of every token.

  Args:
    folder: as of `load_decoder`; of an architecture that ends with
      ForSequenceClassification or ForTokenClassification.

  Raises:
    ValueError: as of `load_decoder`; or it is no classifier, or has not as
      many labels as config.json says.
  """
  known, config, tensors = decoder_files(folder)
  name = _architecture(known)
  if not name.endswith(_ENDS):
    raise ValueError(
      f'{folder}: architectures is {name!r}, and ends with none of {_ENDS}'
    )
  # Without a head of tokens: what the trunk says is scored alone.
  config = dataclasses.replace(config, tie_word_embeddings=True)
  labels = label_names(known, str(folder / 'config.json'))
  shape = len(labels), config.hidden_size
  score = {'kernel': named.checked(tensors, 'score.weight', shape).T}
  every = name.endswith(_ENDS[1])
  if 'score.bias' in tensors.names or (
    every and known.get('token_classification_bias', True)
  ):
    score['bias'] = named.checked(tensors, 'score.bias', shape[:1])
  else:
    score['bias'] = np.zeros(shape[:1], np.float32)
  trunk = _filled(config, tensors, 'score.weight', 'score.bias')
  return Classification(config, trunk, score, labels, every)


def decoder_files(
  folder: Path,
) -> tuple[dict[str, Any], decoder.DecoderConfig, named.Tensors]:
  """Returns the fields of config.json, the configuration and the tensors.

  Args:
    folder: as of `load_decoder`.

  Raises:
    ValueError: config.json or a file of weights is missing or broken.
  """
  path = folder / 'config.json'
  if not path.is_file():
    raise ValueError(f'{path} is missing')
  known = read_json(path)
  config = decoder_fields.read(known, str(path))
  tensors = _open(weight_files(folder), 'model.')
  return known, config, tensors._replace(options=_OPTIONS)


def _filled(config, tensors: named.Tensors, *others: str) -> types.PyTree:
  """Returns a decoder's parameters; tensors of other names may be there."""
  name_of = functools.partial(decoder_name, config)
  ignored = functools.partial(unread, config, others=others)
  return named.fill(decoder_shapes(config), tensors, name_of, ignored)


def unread(
  config: decoder.DecoderConfig, name: str, others: Collection[str] = ()
) -> bool:
  """Returns whether a decoder's file may hold a tensor that is not read.

  Args:
    config: of the decoder.
    name: of the tensor.
    others: names of what is read elsewhere.
  """
  head = name == _HEAD and config.tie_word_embeddings
  return head or name in others or name.endswith('rotary_emb.inv_freq')


def _architecture(known: Mapping[str, Any]) -> str:
  """Returns the class that config.json names, '' if none."""
  names = known.get('architectures')
  return str(names[0]) if isinstance(names, list) and names else ''


def label_names(known: Mapping[str, Any], where: str) -> tuple[str, ...]:
  """Returns the labels of a classifier: two, if config.json says nothing."""
  names, count = known.get('id2label'), known.get('num_labels')
  if names is None:
    count = 2 if count is None else count
    if type(count) is not int or count < 1:
      raise ValueError(f'{where}: num_labels is {count!r}')
    return tuple(f'LABEL_{at}' for at in range(count))
  if not isinstance(names, dict) or set(names) != set(
    map(str, range(len(names)))
  ):
    raise ValueError(f'{where}: id2label does not number labels from 0')
  if count is not None and count != len(names):
    raise ValueError(
      f'{where}: num_labels is {count!r}, and id2label has {len(names)}'
    )
  return tuple(str(names[str(at)]) for at in range(len(names)))


def decoder_shapes(config: decoder.DecoderConfig) -> types.PyTree:
  """Returns the shapes of a decoder's parameters."""
  ids = jax.ShapeDtypeStruct((1, 2), np.int32)
  mask = jax.ShapeDtypeStruct((1, 1, 2, 2), np.bool_)
  model = decoder.Decoder(config)
  return jax.eval_shape(model.init, jax.random.key(0), ids, ids, mask)


def decoder_name(config: decoder.DecoderConfig, keys: list[str]) -> str:
  """Returns a parameter's name in the file; `{}` stands for the layer.

  Args:
    config: of the decoder.
    keys: the parameter's path in the tree, without 'params'.
  """
  leaf = 'bias' if keys[-1] == 'bias' else 'weight'
  if keys[0] == 'layers':
    own = _POST_NORMS if config.post_norms else {}
    module = own.get(keys[2]) or _DECODER_LAYER[keys[2]]
    return f'layers.{{}}.{module}.{leaf}'
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
    ValueError: no architecture has the configuration's options together, or
      a parameter is not of its shape.
  """
  known = decoder_fields.write(config)
  known['architectures'] = [
    decoder_fields.CLASSES[known['model_type']] + 'ForCausalLM'
  ]
  _write(known, _named(config, params), folder)


def save_classifier(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  weight: np.ndarray,
  folder: Path,
  *,
  labels: Sequence[str],
  pad: int | None = None,
) -> None:
  """Writes a decoder under a score, float32, as `load_classifier` reads it.

  Parameters that lie in memory: `published.write` copies a checkpoint's own
  bytes, and `prm export` is the way from a fitted model.

  Args:
    config: of the trunk; a head of tokens is left out.
    params: of a `Decoder`.
    weight: `[C, D]`, score.weight, of the normalised states.
    folder: new or empty.
    labels: C names.
    pad: id of the token that pads; transformers scores batches by it, at the
      last token that is another, so it should not end a text.

  Raises:
    FileExistsError: the folder has something in it.
    ValueError: as of `save_decoder`; or the weight is not `[C, D]`, or not
      finite.
  """
  if folder.exists() and any(folder.iterdir()):
    raise FileExistsError(f'{folder} has something in it: choose another')
  shape = len(labels), config.hidden_size
  if weight.shape != shape:
    raise ValueError(f'score.weight is {weight.shape}, of {shape} labels')
  if not np.isfinite(weight).all():
    raise ValueError('score.weight holds values that are not finite')
  config = dataclasses.replace(config, tie_word_embeddings=True)
  inner = {k: leaf for k, leaf in params['params'].items() if k != 'head'}
  tensors = _named(config, {'params': inner})
  tensors['score.weight'] = np.ascontiguousarray(weight, np.float32)
  known = decoder_fields.write(config)
  known |= decoder_fields.classifier(known['model_type'], labels, pad)
  _write(known, tensors, folder)


def _named(
  config: decoder.DecoderConfig, params: types.PyTree
) -> dict[str, np.ndarray]:
  """Returns a decoder's tensors, float32, by their names in a file."""
  tensors = {}

  def leaf(path, shape, value):
    keys = [entry.key for entry in path[1:]]
    name, value = decoder_name(config, keys), np.asarray(value, np.float32)
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
  return tensors


def _write(known: Mapping[str, Any], tensors, folder: Path) -> None:
  """Writes a checkpoint's two files."""
  folder.mkdir(parents=True, exist_ok=True)
  known = {**known, 'torch_dtype': 'float32'}
  (folder / 'config.json').write_text(json.dumps(known, indent=2) + '\n')
  save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})
