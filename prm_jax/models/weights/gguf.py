"""GGUF files: a decoder and its tokenizer in one.

The header is read here rather than by `gguf.GGUFReader`, which checks no
length against the file: a flipped bit there is an odd error, or all memory.
"""

import math
import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.models.weights import decoder_fields, huggingface, named, pointers

# Flax name of a layer's module -> its name in the file.
_LAYER = {
  'attention_norm': 'attn_norm',
  'mlp_norm': 'ffn_norm',
  'query': 'attn_q',
  'key': 'attn_k',
  'value': 'attn_v',
  'output': 'attn_output',
  'query_norm': 'attn_q_norm',
  'key_norm': 'attn_k_norm',
  'gate': 'ffn_gate',
  'up': 'ffn_up',
  'down': 'ffn_down',
}
_TOP = {'embed': 'token_embd', 'norm': 'output_norm', 'head': 'output'}
_ARCHITECTURES = ('llama', 'qwen2', 'qwen3')
_SIZES = {  # field after the architecture -> name in DecoderConfig
  'embedding_length': 'hidden_size',
  'feed_forward_length': 'intermediate_size',
  'block_count': 'num_hidden_layers',
  'attention.head_count': 'num_attention_heads',
  'attention.head_count_kv': 'num_key_value_heads',
  'attention.key_length': 'head_dim',
  'context_length': 'max_position_embeddings',
}
_REALS = {
  'rope.freq_base': 'rope_theta',
  'attention.layer_norm_rms_epsilon': 'rms_norm_eps',
}
_OPTIONAL = (
  *('attention.head_count_kv', 'attention.key_length', 'rope.freq_base'),
  'context_length',
)
_CHECKED = (
  *('vocab_size', 'rope.dimension_count', 'attention.value_length'),
  'rope.scaling.type',
)
_PRE = ('smollm',)  # pre-tokenizers that are known
_CONTROL, _USER_DEFINED = 3, 4  # types of tokens
_Value = gguf.GGUFValueType
_SCALARS = {
  _Value.UINT8: '<u1',
  _Value.INT8: '<i1',
  _Value.UINT16: '<u2',
  _Value.INT16: '<i2',
  _Value.UINT32: '<u4',
  _Value.INT32: '<i4',
  _Value.FLOAT32: '<f4',
  _Value.BOOL: '?',
  _Value.UINT64: '<u8',
  _Value.INT64: '<i8',
  _Value.FLOAT64: '<f8',
}


def load_decoder(path: Path) -> tuple[decoder.DecoderConfig, types.PyTree]:
  """Returns configuration and parameters, dequantised, of a GGUF file.

  Args:
    path: of a file of the architecture llama, qwen2 or qwen3.

  Raises:
    ValueError: the file is not GGUF, truncated or damaged; a field or tensor
      is missing, of the wrong kind or shape, or not supported.
  """
  file = _read(path)
  config = _config(file)
  heads = {}
  if file.fields['general.architecture'] == 'llama':
    heads = {
      'attn_q.weight': config.num_attention_heads,
      'attn_k.weight': config.num_key_value_heads,
    }

  def read(name):
    value = _dequantised(file, name)
    count = heads.get(name.split('.', 2)[-1])
    return _halves(value, count) if count else value

  tensors = named.Tensors(
    str(path), frozenset(file.tensors), read, 'its fields say'
  )
  shapes = huggingface.decoder_shapes(config)
  return config, named.fill(shapes, tensors, _name, ignored=lambda name: False)


def load_tokenizer(path: Path) -> tokenizers.Tokenizer:
  """Returns the tokenizer in a GGUF file, neither padding nor truncating.

  Byte-level BPE after splitting off every digit; control tokens are special.

  Raises:
    ValueError: the file is not GGUF, truncated or damaged, or its tokenizer
      is of another kind.
  """
  file = _read(path)
  kind = _field(file, 'tokenizer.ggml.model', str)
  if kind != 'gpt2':
    raise ValueError(
      f"{path}: tokenizer.ggml.model is {kind!r}, and only 'gpt2' is supported"
    )
  pre = _field(file, 'tokenizer.ggml.pre', str)
  if pre not in _PRE:
    raise ValueError(
      f'{path}: tokenizer.ggml.pre is {pre!r}: one of {_PRE} is supported'
    )
  if file.fields.get('tokenizer.ggml.add_bos_token', False):
    raise ValueError(f'{path}: tokenizer.ggml.add_bos_token is not supported')
  tokenizer = tokenizers.Tokenizer(_byte_pairs(file))
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ]
  )
  tokenizer.decoder = decoders.ByteLevel()
  words = file.fields['tokenizer.ggml.tokens']
  kinds = np.asarray(_field(file, 'tokenizer.ggml.token_type', np.ndarray))
  if kinds.shape != (len(words),):
    raise ValueError(
      f'{path}: tokenizer.ggml.token_type has {kinds.size} entries, there are '
      f'{len(words)} tokens'
    )
  tokenizer.add_special_tokens(_added(words, kinds == _CONTROL))
  tokenizer.add_tokens(_added(words, kinds == _USER_DEFINED))
  return tokenizer


def _added(
  words: Sequence[str], chosen: np.ndarray
) -> list[tokenizers.AddedToken]:
  """Returns the chosen words as tokens that are split off first."""
  return [
    tokenizers.AddedToken(words[number], normalized=False)
    for number in np.flatnonzero(chosen).tolist()
  ]


def _byte_pairs(file: '_File') -> models.BPE:
  """Returns the byte-pair model of a file's tokens and merges."""
  words = _field(file, 'tokenizer.ggml.tokens', list)
  merges = _field(file, 'tokenizer.ggml.merges', list)
  vocabulary = {word: number for number, word in enumerate(words)}
  if len(vocabulary) != len(words):
    raise ValueError(f'{file.path}: tokenizer.ggml.tokens repeats a token')
  pairs = []
  for merge in merges:
    left, _, right = str(merge).partition(' ')
    for part in (left, right, left + right):
      if part not in vocabulary:
        raise ValueError(
          f'{file.path}: tokenizer.ggml.merges: {merge!r} needs the token '
          f'{part!r}, which is missing'
        )
    pairs.append((left, right))
  return models.BPE(vocabulary, pairs)


def _name(keys: list[str]) -> str:
  """Returns a parameter's name in the file; `{}` stands for the layer."""
  leaf = 'bias' if keys[-1] == 'bias' else 'weight'
  if keys[0] == 'layers':
    return f'blk.{{}}.{_LAYER[keys[2]]}.{leaf}'
  return f'{_TOP[keys[0]]}.{leaf}'


def _halves(value: np.ndarray, heads: int) -> np.ndarray:
  """Returns a projection whose head dimensions i and i + half turn together.

  Files of the architecture llama pair neighbours instead.

  Args:
    value: `[heads * head_dim, D]`.
    heads: of queries or keys.
  """
  if value.ndim != 2 or len(value) % (2 * heads):
    return value  # of the wrong shape, which is reported
  pairs = value.reshape(heads, -1, 2, value.shape[1])
  return pairs.swapaxes(1, 2).reshape(value.shape)


def _config(file: '_File') -> decoder.DecoderConfig:
  """Returns the configuration in a file's fields."""
  kind = _field(file, 'general.architecture', str)
  if kind not in _ARCHITECTURES:
    raise ValueError(
      f'{file.path}: general.architecture is {kind!r}: one of '
      f'{_ARCHITECTURES} is needed'
    )
  _refuse(file, kind)
  known: dict[str, Any] = {'model_type': kind}
  for name, ours in {**_SIZES, **_REALS}.items():
    full = f'{kind}.{name}'
    if full not in file.fields and name in _OPTIONAL:
      continue
    known[ours] = _number(file, full, real=name in _REALS)
  if 'token_embd.weight' not in file.tensors:
    raise ValueError(f'{file.path}: tensor token_embd.weight is missing')
  rows = file.tensors['token_embd.weight'].shape[0]
  known['vocab_size'] = file.fields.get(f'{kind}.vocab_size', rows)
  known['tie_word_embeddings'] = 'output.weight' not in file.tensors
  width = known['hidden_size'] // known['num_attention_heads']
  known.setdefault('head_dim', width)  # as llama.cpp has it, for all kinds
  config = decoder_fields.read(known, str(file.path))
  for name in ('rope.dimension_count', 'attention.value_length'):
    found = file.fields.get(f'{kind}.{name}', config.head_dim)
    if found != config.head_dim:
      raise ValueError(
        f'{file.path}: {kind}.{name} is {found}, and only the size of a head, '
        f'{config.head_dim}, is supported'
      )
  return config


def _refuse(file: '_File', kind: str) -> None:
  """Refuses fields that would silently change the numbers."""
  scaling = file.fields.get(f'{kind}.rope.scaling.type', 'none')
  if scaling != 'none':
    raise ValueError(
      f"{file.path}: {kind}.rope.scaling.type is {scaling!r}, and only 'none' "
      'is supported'
    )
  known = {*_SIZES, *_REALS, *_CHECKED}
  for name, value in file.fields.items():
    if name.startswith(f'{kind}.') and name[len(kind) + 1 :] not in known:
      raise ValueError(
        f'{file.path}: {name} ({value!r}) is not a field that is supported'
      )


def _field(file: '_File', name: str, kind: type) -> Any:
  """Returns a field of a kind."""
  if name not in file.fields:
    raise ValueError(f'{file.path}: {name} is missing')
  value = file.fields[name]
  if not isinstance(value, kind):
    raise ValueError(
      f'{file.path}: {name} is {type(value).__name__}, not {kind.__name__}'
    )
  return value


def _number(file: '_File', name: str, real: bool) -> int | float:
  """Returns a positive number; a real one as it was before float32."""
  value = _field(file, name, float if real else int)
  if not 0 < value < math.inf:
    raise ValueError(f'{file.path}: {name} is {value}, not above 0')
  return float(str(np.float32(value))) if real else value


class _Tensor(NamedTuple):
  """Where a tensor lies: its shape `[out, in]`, type, and bytes."""

  shape: tuple[int, ...]
  kind: gguf.GGMLQuantizationType
  start: int
  size: int


class _File(NamedTuple):
  """A GGUF file whose header has been read."""

  path: Path
  fields: dict[str, Any]
  tensors: dict[str, _Tensor]
  data: mmap.mmap


def _dequantised(file: _File, name: str) -> np.ndarray:
  """Returns a tensor as float32, in the file's orientation."""
  tensor = file.tensors[name]
  raw = np.frombuffer(file.data, np.uint8, tensor.size, tensor.start)
  rows = math.prod(tensor.shape[:-1])
  try:
    with np.errstate(all='ignore'):  # what is not finite is refused by name
      value = gguf.dequantize(raw.reshape(rows, -1), tensor.kind)
  except NotImplementedError as error:  # the library's, of a rare kind
    raise ValueError(
      f'{file.path}: tensor {name} is stored as {tensor.kind.name}, which is '
      'not supported'
    ) from error
  return value.reshape(tensor.shape)


def _read(path: Path) -> _File:
  """Returns a file's fields and tensors, all known to lie inside it."""
  pointers.refuse(path)
  try:
    with path.open('rb') as raw:
      if raw.read(4) != b'GGUF':
        raise ValueError(f'{path} is not a GGUF file: it does not start so')
      data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
  except OSError as error:
    raise ValueError(f'{path} cannot be read: {error}') from error
  header = _Header(path, data)
  version = header.number('<u4', 'the version')
  if version not in (2, 3):
    raise ValueError(f'{path} has version {version} of GGUF: 2 or 3 is needed')
  count = header.number('<u8', 'the number of tensors')
  fields = header.fields(header.number('<u8', 'the number of fields'))
  found = [header.tensor() for _ in range(count)]
  alignment = fields.get('general.alignment', 32)
  if not isinstance(alignment, int) or alignment < 1:
    raise ValueError(f'{path}: general.alignment is {alignment!r}')
  first = -(-header.at // alignment) * alignment
  return _File(
    path, fields, _placed(path, found, first, alignment, len(data)), data
  )


def _placed(
  path: Path,
  found: Sequence[tuple[str, _Tensor]],
  first: int,
  alignment: int,
  length: int,
) -> dict[str, _Tensor]:
  """Returns tensors by name, at their places in the file."""
  placed: dict[str, _Tensor] = {}
  end = first
  for name, tensor in sorted(found, key=lambda pair: pair[1].start):
    start = first + tensor.start
    where = f'{path}: tensor {name}'
    if name in placed:
      raise ValueError(f'{where} is there twice')
    if start % alignment or start < end:
      raise ValueError(
        f'{where} begins at byte {start}: inside another, or not aligned'
      )
    end = start + tensor.size
    if end > length:
      raise ValueError(
        f'{path} is truncated or damaged: tensor {name} needs bytes {start} to '
        f'{end}, there are {length}'
      )
    placed[name] = tensor._replace(start=start)
  return placed


class _Header:
  """Reads a header from its start; `at` is the next byte."""

  def __init__(self, path: Path, data: mmap.mmap):
    self.at = 4
    self._path, self._data = path, data

  def take(self, size: int, what: str) -> bytes:
    """Returns the next bytes."""
    left = len(self._data) - self.at
    if size > left:
      raise ValueError(
        f'{self._path} is truncated or damaged at byte {self.at}: {what} needs '
        f'{size} bytes, {left} are left'
      )
    self.at += size
    return self._data[self.at - size : self.at]

  def number(self, kind: str, what: str) -> Any:
    """Returns the next number."""
    return self.numbers(kind, 1, what)[0].item()

  def numbers(self, kind: str, count: int, what: str) -> np.ndarray:
    """Returns the next numbers."""
    size = np.dtype(kind).itemsize * count
    return np.frombuffer(self.take(size, what), kind)

  def text(self, what: str) -> str:
    """Returns the next string."""
    (size,) = struct.unpack('<Q', self.take(8, what))
    try:
      return str(self.take(size, what), 'utf-8')
    except UnicodeDecodeError as error:
      raise ValueError(
        f'{self._path} is damaged before byte {self.at}: {what} is not UTF-8'
      ) from error

  def fields(self, count: int) -> dict[str, Any]:
    """Returns the next fields, by name."""
    found: dict[str, Any] = {}
    for index in range(count):
      name = self.text(f'the name of field {index}')
      if name in found:
        raise ValueError(f'{self._path}: field {name} is there twice')
      found[name] = self.value(self._kind(name), name)
    return found

  def _kind(self, name: str) -> gguf.GGUFValueType:
    number = self.number('<u4', name)
    if number not in list(_Value):
      raise ValueError(
        f'{self._path} is damaged at byte {self.at - 4}: field {name} has the '
        f'unknown type {number}'
      )
    return _Value(number)

  def value(self, kind: gguf.GGUFValueType, name: str) -> Any:
    """Returns the next value: a number, string, array or list of strings."""
    if kind in _SCALARS:
      return self.number(_SCALARS[kind], name)
    if kind == _Value.STRING:
      return self.text(name)
    inner = self._kind(name)
    count = self.number('<u8', name)
    if inner in _SCALARS:
      return self.numbers(_SCALARS[inner], count, name)
    if inner == _Value.STRING:
      return [self.text(name) for _ in range(count)]
    raise ValueError(f'{self._path}: field {name} is an array of arrays')

  def tensor(self) -> tuple[str, _Tensor]:
    """Returns a tensor's name, and it with its start after the header."""
    name = self.text('the name of a tensor')
    what = f'tensor {name}'
    axes = self.number('<u4', what)
    shape = tuple(self.numbers('<u8', axes, what)[::-1].tolist())
    number = self.number('<u4', what)
    if number not in list(gguf.GGMLQuantizationType):
      raise ValueError(
        f'{self._path}: {what} has the unknown quantisation {number}'
      )
    kind = gguf.GGMLQuantizationType(number)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if not shape or 0 in shape or shape[-1] % block:
      raise ValueError(
        f'{self._path}: {what} is {shape}, and {kind.name} is of blocks of '
        f'{block}'
      )
    start = self.number('<u8', what)
    return name, _Tensor(shape, kind, start, math.prod(shape) // block * size)
