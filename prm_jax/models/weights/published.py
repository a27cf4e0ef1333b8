"""A reward model as it is published: a checkpoint's own bytes under a score.

Tensors are copied from file to file, in the checkpoint's dtype; nothing is
rounded, and no tensor but the score is held in memory.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.models import chat as chats
from prm_jax.models.decoder_config import DecoderConfig
from prm_jax.models.weights import decoder_fields, huggingface, shards

_LAYER = re.compile(r'model\.layers\.(\d+)\.')
_NORM, _EMBEDDING = 'model.norm.weight', 'model.embed_tokens.weight'
_DTYPES = {'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16'}
_BYTES = {'F32': np.float32(1).tobytes(), 'F16': np.float16(1).tobytes()}
_BYTES['BF16'] = _BYTES['F32'][2:]  # of a one, the upper half
_KINDS = {'F32': np.float32, 'F16': np.float16, 'BF16': jnp.bfloat16}
_SAYS = 'tokenizer_config.json'
_LICENCES = ('LICENSE*', 'LICENCE*', 'NOTICE*')


class Described(NamedTuple):
  """What is written of a classifier beside its tensors.

  Attributes:
    config: of the checkpoint.
    told: config.json.
    pad: the token that pads.
  """

  config: DecoderConfig
  told: dict[str, Any]
  pad: str


def describe(
  source: Path, weight: np.ndarray, *, labels: Sequence[str], layers: int
) -> Described:
  """Returns what is written of a score on a checkpoint's lower layers.

  Args:
    source: folder of a decoder in Hugging Face's layout, with a tokenizer.
    weight: `[C, D]`, score.weight, of the normalised states.
    labels: C names.
    layers: of the checkpoint that are kept, the lowest.

  Raises:
    ValueError: the source is no such checkpoint; or the weight is not
      `[C, D]`, or not finite.
  """
  known = huggingface.read_json(source / 'config.json')
  config = decoder_fields.read(known, str(source / 'config.json'))
  if not 1 <= layers <= config.num_hidden_layers:
    raise ValueError(
      f'layers {layers}: {source} has {config.num_hidden_layers}'
    )
  shape = len(labels), config.hidden_size
  if weight.shape != shape:
    raise ValueError(f'score.weight is {weight.shape}, of {shape} labels')
  if not np.isfinite(weight).all():
    raise ValueError('score.weight holds values that are not finite')
  tensors = _trunk(source, config, layers)
  chat = chats.Chat.load(source)
  pad = chats.padding(chat)
  told = _fields(known, config, layers, _DTYPES[tensors[_EMBEDDING].dtype])
  number = chat.tokenizer.token_to_id(pad)
  told |= decoder_fields.classifier(known['model_type'], labels, number)
  return Described(config, told, pad)


def write(
  source: Path,
  weight: np.ndarray,
  folder: Path,
  *,
  labels: Sequence[str],
  layers: int,
  changed: Mapping[str, np.ndarray] | None = None,
  limit: int = shards.LIMIT,
) -> list[Path]:
  """Writes the lower layers of a checkpoint under a score, and its tokenizer.

  transformers loads it with AutoModelForSequenceClassification. The last
  normalisation has no scale, as `models.trunk` reads; all other tensors are
  the checkpoint's own bytes, but for those that changed, which are rounded to
  its dtype. The score is float32.

  Args:
    source: as of `describe`.
    weight: as of `describe`.
    folder: that is there, and empty.
    labels: C names.
    layers: of the checkpoint that are kept, the lowest.
    changed: name -> tensor, as `adapted.tensors` names them.
    limit: bytes of a shard.

  Returns:
    The files of weights.

  Raises:
    ValueError: as of `describe`; or the source lacks a tensor, or one that
      changed; nothing is written then.
  """
  described = describe(source, weight, labels=labels, layers=layers)
  own = _trunk(source, described.config, layers)
  tensors: dict[str, shards.Tensor] = dict(own)
  for name, value in (changed or {}).items():
    if name not in own or own[name].shape != value.shape:
      raise ValueError(f'{source}: there is no {name} of {value.shape}')
    tensors[name] = np.ascontiguousarray(value).astype(_KINDS[own[name].dtype])
  tensors['score.weight'] = np.ascontiguousarray(weight, np.float32)
  files = shards.write(tensors, folder, limit=limit)
  write_texts(source, folder, described)
  return files


def write_texts(source: Path, folder: Path, described: Described) -> None:
  """Writes config.json, and a checkpoint's tokenizer, template and licence.

  Args:
    source: folder of the checkpoint.
    folder: that is there.
    described: of the classifier.
  """
  text = json.dumps(described.told, indent=2) + '\n'
  (folder / 'config.json').write_text(text)
  for name in huggingface.TEXTS:
    if (source / name).is_file():
      shutil.copyfile(source / name, folder / name)
  for pattern in _LICENCES:
    for path in filter(Path.is_file, source.glob(pattern)):
      shutil.copyfile(path, folder / path.name)
  _say_padding(folder / _SAYS, described.pad)


def _trunk(
  source: Path, config: DecoderConfig, layers: int
) -> dict[str, shards.Stored | shards.Filled]:
  """Returns the tensors of the lower layers, named as transformers has them."""
  found: dict[str, shards.Stored | shards.Filled] = {}
  home: dict[str, Path] = {}
  for path in huggingface.weight_files(source):
    if not path.is_file():
      raise ValueError(f'{path} is missing')
    for name, of in shards.read(path).items():
      full = name if name.startswith('model.') else f'model.{name}'
      shards.refuse_twice(name, path, home.get(full))
      home[full] = path
      at = _LAYER.match(full)
      if at is not None and int(at[1]) >= layers:
        continue
      found[full] = of
  wanted = _shapes(config, layers)
  for name, shape in wanted.items():
    if name not in found:
      raise ValueError(f'{source}: tensor {name} is missing')
    if found[name].shape != shape or found[name].dtype not in _DTYPES:
      raise ValueError(
        f'{source}: tensor {name} is {found[name].dtype} of '
        f'{found[name].shape}: one of {(*_DTYPES,)} of {shape} is needed'
      )
  chosen = {name: of for name, of in found.items() if name in wanted}
  norm = chosen[_NORM]
  one = bytes(len(_BYTES[norm.dtype])) if config.norm_offset else None
  one = _BYTES[norm.dtype] if one is None else one
  chosen[_NORM] = shards.Filled(norm.dtype, norm.shape, one)
  return chosen


def _shapes(config: DecoderConfig, layers: int) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of the lower layers' tensors in a file, by name."""
  found = {}

  def leaf(path, of):
    keys = [entry.key for entry in path[1:]]
    if keys[0] == 'head':
      return
    name, shape = f'model.{huggingface.decoder_name(config, keys)}', of.shape
    stacked = '{}' in name
    shape = shape[1:] if stacked else shape
    shape = shape[::-1] if keys[-1] == 'kernel' else shape
    for index in range(layers if stacked else 1):
      found[name.format(index)] = tuple(shape)

  shapes = huggingface.decoder_shapes(config.cut(0, layers))
  jax.tree_util.tree_map_with_path(leaf, shapes)
  return found


def _fields(
  known: Mapping[str, Any], config: DecoderConfig, layers: int, dtype: str
) -> dict[str, Any]:
  """Returns the checkpoint's config.json, of the lower layers."""
  told = {k: v for k, v in known.items() if k not in ('torch_dtype', 'dtype')}
  told |= {'num_hidden_layers': layers, 'torch_dtype': dtype}
  if isinstance(told.get('layer_types'), list):
    told['layer_types'] = told['layer_types'][:layers]
  told.pop('num_labels', None)
  cut = config.cut(0, layers)
  if decoder_fields.read(told, 'config.json') != cut:
    raise ValueError(
      f'config.json of {layers} layers would say something else than that of '
      f'{config.num_hidden_layers}'
    )
  return told


def _say_padding(path: Path, pad: str) -> None:
  """Makes a tokenizer pad with a token, and name no code."""
  known = huggingface.read_json(path) if path.is_file() else {}
  # What auto_map names is code, which does not go with an export.
  said = {name: of for name, of in known.items() if name != 'auto_map'}
  said['pad_token'] = pad
  if said != known:
    path.write_text(json.dumps(said, indent=2) + '\n')
