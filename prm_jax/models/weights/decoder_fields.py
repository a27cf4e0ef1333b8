"""A decoder's options in the fields of Hugging Face's config.json."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from prm_jax.models.decoder import DecoderConfig
from prm_jax.ops import rotary

FAMILIES = ('llama', 'mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3_text')
CLASSES = {
  'llama': 'Llama',
  'mistral': 'Mistral',
  'qwen2': 'Qwen2',
  'qwen3': 'Qwen3',
  'gemma2': 'Gemma2',
  'gemma3_text': 'Gemma3',
}
_QWEN, _GEMMA = ('qwen2', 'qwen3'), ('gemma2', 'gemma3_text')
# What transformers takes where a field is absent. Others of DecoderConfig are
# needed; what is null is none (a window, a cap).
_ABSENT: dict[str, dict[str, Any]] = {
  'llama': {},
  'mistral': {'num_key_value_heads': 8, 'max_position_embeddings': 131_072},
  'qwen2': {'max_position_embeddings': 32_768},
  'qwen3': {'max_position_embeddings': 32_768, 'head_dim': 128},
  'gemma2': {
    'num_key_value_heads': 4,
    'head_dim': 256,
    'max_position_embeddings': 8192,
    'attn_logit_softcapping': 50.0,
    'final_logit_softcapping': 30.0,
  },
  'gemma3_text': {
    'num_key_value_heads': 4,
    'head_dim': 256,
    'max_position_embeddings': 131_072,
  },
}
_ACTIVATIONS = {'silu': 'silu', 'gelu_pytorch_tanh': 'gelu_tanh'}
_SIZES = (
  *('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers'),
  *('num_attention_heads', 'num_key_value_heads', 'head_dim'),
  *('rms_norm_eps', 'tie_word_embeddings', 'max_position_embeddings'),
)
_KINDS = {True: 'sliding_attention', False: 'full_attention'}
# Keys of a rotary scaling that are read, by its kind.
_YARN = {
  'attention_factor': 'attention',
  'beta_slow': 'slow',
  'beta_fast': 'fast',
}
_LLAMA3 = {'low_freq_factor': 'low', 'high_freq_factor': 'high'}
_ORIGINAL = 'original_max_position_embeddings'
_SCALED = {
  'default': (),
  'linear': ('factor',),
  'llama3': ('factor', _ORIGINAL, *_LLAMA3),
  'yarn': ('factor', _ORIGINAL, *_YARN, 'mscale', 'mscale_all_dim', 'truncate'),
}


def read(known: Mapping[str, Any], where: str) -> DecoderConfig:
  """Returns the configuration in the fields of a config.json.

  Args:
    known: the fields.
    where: the file, for errors.

  Raises:
    ValueError: a field is missing or does not fit, would change the numbers
      and is not supported, or the architecture is of another family. The
      field is named.
  """
  kind = known.get('model_type')
  if kind not in FAMILIES:
    picture = " ('gemma3' reads pictures: give its language model, gemma3_text)"
    raise ValueError(
      f'{where}: model_type is {kind!r}: one of {FAMILIES} is needed'
      + (picture if kind == 'gemma3' else '')
    )
  _refuse(kind, known, where)
  given: dict[str, Any] = {
    'tie_word_embeddings': kind in _GEMMA,
    'rms_norm_eps': 1e-6,
    **_ABSENT[kind],
    **{name: known[name] for name in _SIZES if known.get(name) is not None},
    **_rotary(kind, known, where),
    **_options(kind, known, where),
  }
  _check_kinds(given, where)
  heads = given.get('num_attention_heads')
  if heads and given.get('hidden_size'):
    given.setdefault('num_key_value_heads', heads)
    given.setdefault('head_dim', given['hidden_size'] // heads)
  fields = {field.name: field for field in dataclasses.fields(DecoderConfig)}
  for name, field in fields.items():
    if name not in given and field.default is dataclasses.MISSING:
      raise ValueError(f'{where}: {name} is missing')
  if heads % given['num_key_value_heads']:
    raise ValueError(
      f'{where}: {heads} query heads are no multiple of '
      f'{given["num_key_value_heads"]} key heads'
    )
  if given['head_dim'] % 2:
    raise ValueError(f'{where}: head_dim is {given["head_dim"]}, an odd number')
  if given.get('query_scale') == given['head_dim']:
    given['query_scale'] = 0.0  # as it is by default
  given |= _sliding(kind, known, given['num_hidden_layers'], where)
  return DecoderConfig(
    **{name: given[name] for name in fields if name in given}
  )


def _check_kinds(given: Mapping[str, Any], where: str) -> None:
  """Refuses fields that are not of their type, or not above 0."""
  for field in dataclasses.fields(DecoderConfig):
    if field.name not in given or field.type not in (int, float, bool):
      continue
    value = given[field.name]
    kinds = (int, float) if field.type is float else (field.type,)
    off = field.default == 0 and value == 0  # an option, which is off
    if type(value) not in kinds or (
      field.type is not bool and not off and not 0 < value < math.inf
    ):
      raise ValueError(f'{where}: {field.name} is {value!r}')


def _refuse(kind: str, known: Mapping[str, Any], where: str) -> None:
  """Refuses what would silently change the numbers, or run foreign code."""
  if known.get('auto_map'):
    raise ValueError(
      f'{where}: auto_map names code of the checkpoint, and no such code is '
      'run: give a model whose architecture is one of ours'
    )
  if known.get('quantization_config'):
    raise ValueError(
      f'{where}: quantization_config: quantised weights are not read: give the '
      'checkpoint before quantisation'
    )
  none = (None,)
  wanted: dict[str, tuple[Any, ...]] = {
    'partial_rotary_factor': (None, 1),
    'use_bidirectional_attention': (None, False),
  }
  if kind == 'llama':  # does not read them, and would not slide
    wanted |= {'sliding_window': none, 'use_sliding_window': (None, False)}
  if kind != 'llama':
    wanted |= {'mlp_bias': (None, False)}
  if kind == 'mistral':
    wanted |= {'attention_bias': (None, False)}
  if kind == 'qwen2':
    wanted |= {'attention_bias': (None, True)}
  if kind not in _GEMMA:
    wanted |= {'query_pre_attn_scalar': none, 'final_logit_softcapping': none}
  if kind != 'gemma2':
    wanted |= {'attn_logit_softcapping': none}
  for name, accepted in wanted.items():
    value = known.get(name)
    if value not in accepted:
      raise ValueError(
        f'{where}: {name} is {value!r}, and of {kind} only {accepted[-1]!r} '
        'is supported'
      )


def _options(kind: str, known: Mapping[str, Any], where: str) -> dict[str, Any]:
  """Returns the options of DecoderConfig that are no sizes."""
  gemma = kind in _GEMMA
  name = 'hidden_activation' if gemma else 'hidden_act'
  default = 'gelu_pytorch_tanh' if gemma else 'silu'
  activation = known.get(name) or default
  if activation not in (*_ACTIVATIONS,):
    raise ValueError(
      f'{where}: {name} is {activation!r}: one of {(*_ACTIVATIONS,)} is needed'
    )
  bias = known.get('attention_bias') or False
  options: dict[str, Any] = {
    'activation': _ACTIVATIONS[activation],
    'attention_bias': True if kind == 'qwen2' else bias,
    'output_bias': False if kind == 'qwen2' else bias,
    'mlp_bias': known.get('mlp_bias') or False,
    'query_key_norm': kind in ('qwen3', 'gemma3_text'),
    'post_norms': gemma,
    'norm_offset': gemma,
    'scale_embeddings': gemma,
  }
  if gemma:
    absent = _ABSENT[kind]
    scale = known.get('query_pre_attn_scalar')
    options['query_scale'] = 256 if scale is None else scale
    for field, option in (
      ('attn_logit_softcapping', 'attention_softcap'),
      ('final_logit_softcapping', 'logit_softcap'),
    ):
      options[option] = known.get(field, absent.get(field)) or 0.0
  return options


def _sliding(
  kind: str, known: Mapping[str, Any], layers: int, where: str
) -> dict[str, Any]:
  """Returns the window, and which layers slide."""
  absent = None if kind == 'llama' else 4096
  window = known.get('sliding_window', absent)
  if kind in _QWEN and not known.get('use_sliding_window'):
    window = None
  if window is not None and (type(window) is not int or window < 1):
    raise ValueError(f'{where}: sliding_window is {window!r}')
  for name in ('max_window_layers', 'sliding_window_pattern'):
    if type(known.get(name) or 1) is not int:
      raise ValueError(f'{where}: {name} is {known[name]!r}')
  if kind in _QWEN:
    first = known.get('max_window_layers', 28)
    usual = [window is not None and at >= first for at in range(layers)]
  elif kind in _GEMMA:
    every = 2 if kind == 'gemma2' else known.get('sliding_window_pattern') or 6
    usual = [bool((at + 1) % every) for at in range(layers)]
  else:
    usual = [window is not None] * layers
  types = known.get('layer_types')
  if types is None:
    sliding = usual
  elif not isinstance(types, list) or len(types) != layers:
    raise ValueError(
      f'{where}: layer_types is not a list of {layers}, the number of layers'
    )
  elif unknown := [of for of in types if of not in _KINDS.values()]:
    raise ValueError(
      f'{where}: layer_types has {unknown[0]!r}: '
      f'{" and ".join(_KINDS.values())} are known'
    )
  else:
    sliding = [of == _KINDS[True] for of in types]
  if kind in ('llama', 'mistral') and sliding != usual:
    raise ValueError(
      f'{where}: layer_types: all layers of {kind} are alike, '
      f'{_KINDS[usual[0]]} as sliding_window says'
    )
  if any(sliding) and window is None:
    raise ValueError(f'{where}: layers slide, and sliding_window is not given')
  return {
    'sliding_window': window if any(sliding) else 0,
    'sliding_layers': tuple(sliding) if any(sliding) else (),
  }


def _rotary(kind: str, known: Mapping[str, Any], where: str) -> dict[str, Any]:
  """Returns bases and scaling, of either spelling."""
  new, old = known.get('rope_parameters'), known.get('rope_scaling')
  for name, value in (('rope_parameters', new), ('rope_scaling', old)):
    if value is not None and not isinstance(value, dict):
      raise ValueError(f'{where}: {name} is {value!r}, not an object')
  if kind == 'gemma3_text':
    return _two_bases(known, new or {}, old or {}, where)
  if new and old:
    raise ValueError(
      f'{where}: rope_parameters and rope_scaling are both there, two '
      'spellings of one thing: keep one'
    )
  name = 'rope_scaling' if old else 'rope_parameters'
  return _scaled(name, old or new or {}, known, 10_000.0, where)


def _two_bases(known, new, old, where) -> dict[str, Any]:
  """Returns bases and scaling of Gemma 3: of sliding and of other layers."""
  if unknown := sorted(set(new) - set(_KINDS.values())):
    raise ValueError(
      f'{where}: rope_parameters has {unknown}, and is by kind of layer: '
      f'{" and ".join(_KINDS.values())}'
    )
  if 'type' in old and 'rope_type' not in old:
    raise ValueError(
      f'{where}: rope_scaling says type, which transformers 5 does not read in '
      "this family, and 4 did: say rope_type, as the family's releases do"
    )
  full = {**(new.get(_KINDS[False]) or {}), **old}
  found = _scaled('rope_parameters', full, known, 1e6, where)
  local = new.get(_KINDS[True]) or {}
  base = known.get('rope_local_base_freq') or 10_000.0
  sliding = _scaled(
    'rope_parameters', {'rope_theta': base, **local}, {}, 0, where
  )
  if sliding['rope_scaling'] != rotary.Scaling():
    raise ValueError(
      f'{where}: rope_parameters: the scaling of {_KINDS[True]} is not '
      'supported'
    )
  return {**found, 'local_rope_theta': sliding['rope_theta']}


def _scaled(name, given, known, base, where) -> dict[str, Any]:
  """Returns base and scaling that an object of either spelling says."""
  given = {key: value for key, value in given.items() if value is not None}
  theta = given.pop('rope_theta', None) or known.get('rope_theta') or base
  old = given.pop('type', 'default')
  kind = given.pop('rope_type', old)
  if given.get('partial_rotary_factor') == 1:
    del given['partial_rotary_factor']
  if kind not in rotary.KINDS:
    raise ValueError(
      f'{where}: {name}: rope_type is {kind!r}: one of {rotary.KINDS} is known'
    )
  if unknown := sorted(set(given) - set(_SCALED[kind])):
    raise ValueError(
      f'{where}: {name}: {", ".join(unknown)} would change what rope_type '
      f'{kind!r} gives, and is not supported'
    )
  for key, value in {**given, 'rope_theta': theta}.items():
    right = (bool,) if key == 'truncate' else (int, float)
    if type(value) not in right or not 0 <= value < math.inf:
      raise ValueError(f'{where}: {name}: {key} is {value!r}')
  scaling = rotary.Scaling(kind)
  if kind != 'default':
    scaling = _scaling(kind, given, known, f'{where}: {name}')
  return {'rope_theta': float(theta), 'rope_scaling': scaling}


def _scaling(kind, given, known, where) -> rotary.Scaling:
  """Returns a scaling that is not the default."""
  longest = known.get('max_position_embeddings')
  original = known.get(_ORIGINAL) or given.get(_ORIGINAL) or longest
  factor = given.get('factor')
  if factor is None and kind == 'yarn' and longest and original:
    factor = longest / original
  needed = {'factor': factor}
  if kind != 'linear':
    needed[_ORIGINAL] = original
  if kind == 'llama3':
    needed |= {key: given.get(key) for key in _LLAMA3}
  for key, value in needed.items():
    if not value:
      raise ValueError(f'{where}: {key} of rope_type {kind!r} is missing')
  if kind == 'linear':
    return rotary.Scaling(kind, float(factor))
  scaling = rotary.Scaling(kind, float(factor), int(original))
  names = _LLAMA3 if kind == 'llama3' else _YARN
  own: dict[str, Any] = {
    ours: float(given[key]) for key, ours in names.items() if given.get(key)
  }
  if kind == 'yarn':
    own.setdefault('attention', _attention(factor, given))
    own['truncate'] = given.get('truncate', True)
  elif own['high'] <= own['low']:
    raise ValueError(f'{where}: high_freq_factor is not above low_freq_factor')
  return scaling._replace(**own)


def _attention(factor, given) -> float:
  """Returns what YaRN multiplies cosine and sine with, if nothing says it."""

  def scale(weight):
    return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0

  own, all_ = given.get('mscale'), given.get('mscale_all_dim')
  return scale(own) / scale(all_) if own and all_ else scale(1)


def write(config: DecoderConfig) -> dict[str, Any]:
  """Returns the fields of config.json, of the first family that has them.

  Args:
    config: whose options one of the families has.

  Raises:
    ValueError: none has these options together.
  """
  plain = dataclasses.replace(config, embedding_std=0.0)
  if plain.query_scale == plain.head_dim:
    plain = dataclasses.replace(plain, query_scale=0.0)
  for kind in FAMILIES:
    known = _written(kind, plain)
    try:
      if read(known, '') == plain:
        return known
    except ValueError:  # of another family
      continue
  raise ValueError(
    f'no architecture has these options together: one of {FAMILIES} is written'
  )


def classifier(
  family: str, labels: Sequence[str], pad: int | None
) -> dict[str, Any]:
  """Returns the fields of config.json that say what a classifier is.

  Args:
    family: `model_type`.
    labels: C names.
    pad: see `huggingface.save_classifier`.
  """
  name = 'Gemma3Text' if family == 'gemma3_text' else CLASSES[family]
  return {
    'architectures': [name + 'ForSequenceClassification'],
    'id2label': {str(at): label for at, label in enumerate(labels)},
    'label2id': {label: at for at, label in enumerate(labels)},
    'pad_token_id': pad,
  }


def _written(kind: str, config: DecoderConfig) -> dict[str, Any]:
  """Returns a configuration's fields as a family names them."""
  turned = {'rope_theta': config.rope_theta, **_written_scaling(config)}
  known = {
    **{name: getattr(config, name) for name in _SIZES},
    'model_type': kind,
    'rope_parameters': turned,
    'attention_bias': config.attention_bias,
  }
  words = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
  window = config.sliding_window
  layers = config.sliding_layers or [bool(window)] * config.num_hidden_layers
  if kind in _GEMMA:
    scale = config.query_scale or config.head_dim
    known |= {
      'hidden_activation': words[config.activation],
      'query_pre_attn_scalar': int(scale) if scale == int(scale) else scale,
      'final_logit_softcapping': config.logit_softcap or None,
      'attn_logit_softcapping': config.attention_softcap or None,
      'sliding_window': window or 4096,
      'layer_types': [_KINDS[slides] for slides in layers],
    }
    if kind == 'gemma3_text':
      base = config.local_rope_theta or config.rope_theta
      local = {'rope_type': 'default', 'rope_theta': base}
      known['rope_parameters'] = {_KINDS[False]: turned, _KINDS[True]: local}
    return known
  known |= {
    'hidden_act': words[config.activation],
    'rope_theta': config.rope_theta,
  }
  if kind == 'llama':
    known['mlp_bias'] = config.mlp_bias
  if kind == 'mistral':
    known['sliding_window'] = window or None
  if kind in _QWEN and window:
    known |= {
      'use_sliding_window': True,
      'sliding_window': window,
      'layer_types': [_KINDS[slides] for slides in layers],
    }
  return known


def _written_scaling(config: DecoderConfig) -> dict[str, Any]:
  """Returns the fields of a rotary scaling."""
  scaling = config.rope_scaling
  found: dict[str, Any] = {'rope_type': scaling.kind}
  if scaling.kind != 'default':
    found['factor'] = scaling.factor
  if scaling.kind in ('llama3', 'yarn'):
    found[_ORIGINAL] = scaling.original
    names = _LLAMA3 if scaling.kind == 'llama3' else _YARN
    found |= {key: getattr(scaling, ours) for key, ours in names.items()}
  if scaling.kind == 'yarn':
    found['truncate'] = scaling.truncate
  return found
