"""A decoder of the Llama family: Llama, SmolLM, Qwen2 and Qwen3.

Layers are scanned: every parameter of `layers` has a leading axis L, and
`take_layers` cuts a range out of it, to be run by a `Stack` alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from prm_jax import types

_ARCHITECTURES = ('llama', 'qwen2', 'qwen3')
_KERNELS = {'query', 'key', 'value', 'output', 'gate', 'up', 'down'}


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
  """Sizes, named as in Hugging Face's config.json.

  Attributes:
    vocab_size: V.
    hidden_size: D.
    intermediate_size: of the gated network.
    num_hidden_layers: L.
    num_attention_heads: of queries.
    num_key_value_heads: of keys and values; divides that of queries.
    head_dim: of one head.
    rope_theta: base of the rotary frequencies.
    rms_norm_eps: added to the mean square.
    tie_word_embeddings: whether the head is the embedding.
    attention_bias: whether queries, keys and values have biases (Qwen2).
    query_key_norm: whether queries and keys are normalised (Qwen3).
    max_position_embeddings: the longest text it was trained on, in tokens.
    embedding_std: standard deviation of embeddings that are drawn, which no
      config.json says; 1 / sqrt(D) if 0. Small embeddings are drowned by the
      layers' outputs, so that a model from scratch hardly sees its tokens.
  """

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  num_key_value_heads: int
  head_dim: int
  rope_theta: float = 10_000.0
  rms_norm_eps: float = 1e-5
  tie_word_embeddings: bool = True
  attention_bias: bool = False
  query_key_norm: bool = False
  max_position_embeddings: int = 2048
  embedding_std: float = 0.0

  @classmethod
  def of(cls, known: Mapping[str, Any], where: str) -> 'DecoderConfig':
    """Returns the configuration in the fields of a config.json.

    Args:
      known: the fields.
      where: the file, for errors.

    Raises:
      ValueError: a field is missing or does not fit, or the architecture is
        not of this family.
    """
    kind = known.get('model_type')
    if kind not in _ARCHITECTURES:
      raise ValueError(
        f'{where}: model_type is {kind!r}: one of {_ARCHITECTURES} is needed'
      )
    _refuse(known, where)
    given = {
      'attention_bias': kind == 'qwen2',
      'query_key_norm': kind == 'qwen3',
      'tie_word_embeddings': False,  # as Hugging Face reads absent fields
      'rms_norm_eps': 1e-6,
      **{name: value for name, value in known.items() if value is not None},
    }
    given['rope_theta'] = _rope_theta(known, where)
    _check_kinds(given, where)
    heads = given.get('num_attention_heads')
    if heads and given.get('hidden_size'):
      given.setdefault('num_key_value_heads', heads)
      given.setdefault('head_dim', given['hidden_size'] // heads)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name, field in fields.items():
      if name not in given and field.default is dataclasses.MISSING:
        raise ValueError(f'{where}: {name} is missing')
    config = cls(**{name: given[name] for name in fields if name in given})
    if config.num_attention_heads % config.num_key_value_heads:
      raise ValueError(
        f'{where}: {config.num_attention_heads} query heads are no multiple '
        f'of {config.num_key_value_heads} key heads'
      )
    return config

  def described(self) -> dict[str, Any]:
    """Returns the fields that matter where parameters are given."""
    known = dataclasses.asdict(self)
    del known['embedding_std']
    return known

  @property
  def parameters(self) -> int:
    """The number of parameters."""
    D, V = self.hidden_size, self.vocab_size
    heads = self.num_attention_heads + self.num_key_value_heads
    layer = 2 * D * heads * self.head_dim + 3 * D * self.intermediate_size
    layer += 2 * D
    if self.attention_bias:
      layer += (heads + self.num_key_value_heads) * self.head_dim
    if self.query_key_norm:
      layer += 2 * self.head_dim
    tables = 1 if self.tie_word_embeddings else 2
    return tables * V * D + self.num_hidden_layers * layer + D


def _check_kinds(given: Mapping[str, Any], where: str) -> None:
  """Refuses fields that are not of their type, or not above 0."""
  for field in dataclasses.fields(DecoderConfig):
    if field.name not in given:
      continue
    value = given[field.name]
    kinds = (int, float) if field.type is float else (field.type,)
    if type(value) not in kinds or (field.type is not bool and value <= 0):
      raise ValueError(f'{where}: {field.name} is {value!r}')


def _refuse(known: Mapping[str, Any], where: str) -> None:
  """Refuses what would silently change the numbers."""
  wanted: dict[str, tuple[Any, ...]] = {
    'hidden_act': ('silu',),
    'rope_scaling': (None,),
    'use_sliding_window': (False, None),
    'mlp_bias': (False, None),
  }
  for name, accepted in wanted.items():
    value = known.get(name, accepted[0])
    if value not in accepted:
      raise ValueError(
        f'{where}: {name} is {value!r}, and only {accepted[0]!r} is supported'
      )


def _rope_theta(known: Mapping[str, Any], where: str) -> float:
  """Returns the rotary base, from either of the places it is written."""
  nested = known.get('rope_parameters') or {}
  if nested.get('rope_type', 'default') != 'default':
    raise ValueError(
      f"{where}: rope_type is {nested['rope_type']!r}, and only 'default' is "
      'supported'
    )
  default = DecoderConfig.rope_theta
  return float(known.get('rope_theta') or nested.get('rope_theta', default))


class Cache(NamedTuple):
  """Keys and values of the tokens so far.

  Attributes:
    key: `[L, B, S, heads, head_dim]`, rotated.
    value: `[L, B, S, heads, head_dim]`.
    slot: `[]` int32, where the next token is written; the same in all rows.
  """

  key: jax.Array
  value: jax.Array
  slot: jax.Array


class Fast(NamedTuple):
  """Rank-one changes of the gated network's last kernel, at one token a row.

  There, (k . state) direction is added to a layer's output, where k `[F]` is
  what the kernel reads: silu(gate) * up. Every layer sows k as `inner`.

  Attributes:
    state: `[L, B, F]`, zero for layers that are not changed.
    direction: `[L, D]`.
    at: `[B]` int32, the token's column.
  """

  state: jax.Array
  direction: jax.Array
  at: jax.Array


class Output(NamedTuple):
  """What a decoder makes of tokens.

  Attributes:
    hidden: `[B, T, D]` after the last normalisation.
    layers: `[L + 1, B, T, D]` the embeddings and every layer's output, not
      normalised, if asked for.
    cache: with the tokens added, if one was given.
  """

  hidden: jax.Array
  layers: jax.Array | None = None
  cache: Cache | None = None


def empty_cache(
  config: DecoderConfig, batch: int, slots: int, dtype: Any = jnp.float32
) -> Cache:
  """Returns a cache with room for S = `slots` tokens."""
  shape = (
    *(config.num_hidden_layers, batch, slots),
    *(config.num_key_value_heads, config.head_dim),
  )
  return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.int32(0))


def look_up(params: types.PyTree, ids: jax.Array) -> jax.Array:
  """Returns embeddings `[..., D]` of token ids; zero where they are negative.

  Args:
    params: of a `Decoder`.
    ids: `[...]` int32.
  """
  table = params['params']['embed']['embedding']
  return jnp.where((ids >= 0)[..., None], table[jnp.maximum(ids, 0)], 0.0)


def left_padded(ids: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns texts `[B, T]` with padding on the left, and where tokens are.

  Args:
    ids: `[B, T]` token ids.
    mask: `[B, T]` 0 for padding, wherever it is.
  """
  real = mask != 0
  order = jnp.argsort(real, axis=-1, stable=True)
  ids = jnp.take_along_axis(ids, order, -1).astype(jnp.int32)
  return ids, jnp.take_along_axis(real, order, -1)


def counted(real: jax.Array) -> jax.Array:
  """Returns positions `[B, T]` that count real tokens; 0 before the first."""
  return jnp.maximum(jnp.cumsum(real, -1) - 1, 0)


def attended(block: jax.Array, branch: jax.Array | None = None) -> jax.Array:
  """Returns which tokens a token attends to, `[B, 1, T, T]` bool.

  A token sees the tokens before it, and itself, of its own block: of the
  block's stem, and of its own branch. Branches do not see each other.

  Args:
    block: `[B, T]` int32, which of the sequences packed into a row; 0 is
      padding, which sees itself alone.
    branch: `[B, T]` int32, 0 for the stem that all branches continue; all are
      stem if None.
  """
  T = block.shape[-1]
  earlier = jnp.tril(jnp.ones((T, T), bool))
  same = block[:, :, None] == block[:, None, :]
  if branch is not None:
    stem = branch[:, None, :] == 0
    same &= stem | (branch[:, :, None] == branch[:, None, :])
  real = (block != 0)[:, None, :] | jnp.eye(T, dtype=bool)
  return (earlier & same & real)[:, None]


class Decoder(nn.Module):
  """Embeddings, layers and a last normalisation.

  Attributes:
    config: sizes.
    dtype: of the computation; parameters, normalisations and logits are
      float32.
    remat: whether layers are computed again for the gradient, which keeps one
      layer's activations rather than all.
  """

  config: DecoderConfig
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self) -> None:
    """Names the parts."""
    config = self.config
    self.embed = nn.Embed(
      config.vocab_size,
      config.hidden_size,
      dtype=self.dtype,
      embedding_init=_embeddings(config.embedding_std),
    )
    self.layers = Stack(
      config, config.num_hidden_layers, self.dtype, self.remat
    )
    self.norm = RMSNorm(config.rms_norm_eps)
    if not config.tie_word_embeddings:
      self.head = nn.Dense(config.vocab_size, use_bias=False, dtype=jnp.float32)

  def __call__(
    self,
    ids: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    *,
    cache: Cache | None = None,
    shift: jax.Array | None = None,
    adapters: Mapping[str, Any] | None = None,
    collect: bool = False,
  ) -> Output:
    """Returns hidden states of tokens.

    Args:
      ids: `[B, T]` int32.
      positions: `[B, T]` int32, for the rotation.
      mask: `[B, 1, T, S]` bool, which of the S tokens each may attend to;
        S = T without a cache (`attended` makes one), else the cache's slots.
      cache: keys and values of the tokens before.
      shift: `[L, B or 1, D]`, added to every token after each layer: steering.
      adapters: see `Stack`.
      collect: whether to return every layer's output.
    """
    inputs = self.embed(ids)
    hidden, cache, layers = self.layers(
      inputs,
      positions,
      mask,
      cache=cache,
      shift=shift,
      adapters=adapters,
      collect=collect,
    )
    if not self.config.tie_word_embeddings and self.is_initializing():
      self.head(hidden)
    if layers is not None:
      layers = jnp.concatenate([inputs[None], layers])
    return Output(self.norm(hidden), layers, cache)

  def read(
    self,
    inputs: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    *,
    fast: Fast | None = None,
  ) -> jax.Array:
    """Returns hidden states `[B, T, D]` of inputs that are not token ids.

    Args:
      inputs: `[B, T, D]` embeddings, or hidden states of other layers.
      positions: `[B, T]` int32.
      mask: `[B, 1, T, T]` bool.
      fast: changes of every layer at one token a row.
    """
    return self.norm(self.layers(inputs, positions, mask, fast=fast)[0])

  def logits(self, hidden: jax.Array) -> jax.Array:
    """Returns next-token logits `[..., V]`, float32, of hidden states."""
    hidden = hidden.astype(jnp.float32)
    if self.config.tie_word_embeddings:
      return hidden @ self.embed.embedding.T
    return self.head(hidden)


def _embeddings(std: float) -> nn.initializers.Initializer:
  """Returns how embeddings are drawn."""
  if std:
    return nn.initializers.normal(std)
  return nn.initializers.variance_scaling(1.0, 'fan_in', 'normal', out_axis=0)


class Stack(nn.Module):
  """Layers, scanned.

  Attributes:
    config: sizes.
    count: how many layers.
    dtype: of the computation.
    remat: whether layers are computed again for the gradient.
  """

  config: DecoderConfig
  count: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    hidden: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    *,
    cache: Cache | None = None,
    shift: jax.Array | None = None,
    fast: Fast | None = None,
    adapters: Mapping[str, Any] | None = None,
    collect: bool = False,
  ) -> tuple[jax.Array, Cache | None, jax.Array | None]:
    """Returns hidden states, the cache, and every layer's output.

    Args:
      hidden: `[B, T, D]`.
      positions: `[B, T]` int32.
      mask: `[B, 1, T, S]` bool.
      cache: of as many layers.
      shift: `[count, B or 1, D]`, added to every token after each layer.
      fast: changes of every layer at one token a row.
      adapters: by kernel's name `lora.Adapter` a `[count, in, r]`, b
        `[count, r, out]`: x W becomes x W + (x a) b, and W stays as it is.
      collect: whether to return every layer's output `[count, B, T, D]`.
    """
    shifted = nn.broadcast if shift is None else 0
    adapted = nn.broadcast if adapters is None else 0
    if unknown := sorted(set(adapters or ()) - _KERNELS):
      raise ValueError(f'adapters of {unknown}: some of {sorted(_KERNELS)}')
    axes: Any = (0, 0, nn.broadcast)
    changed = nn.broadcast if fast is None else Fast(*axes)
    # Matrix products are kept for the gradient, what is cheap is made again:
    # attention's probabilities cost more to write and read than to compute.
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    layer = nn.remat(
      Layer, prevent_cse=False, policy=None if self.remat else policy
    )
    scanned = nn.scan(
      layer,
      variable_axes={'params': 0, 'intermediates': 0},
      split_rngs={'params': True},
      in_axes=(*(nn.broadcast,) * 3, shifted, changed, adapted),
      length=self.count,
    )
    rotation = rotary(positions, self.config)
    kept = None if cache is None else (cache.key, cache.value)
    slot = None if cache is None else cache.slot
    carry = (hidden, kept, jnp.int32(0))
    (hidden, kept, _), layers = scanned(
      self.config, self.dtype, collect, name='layer'
    )(carry, rotation, mask, slot, shift, fast, adapters)
    if cache is not None and kept is not None:
      key, value = kept
      cache = Cache(key, value, cache.slot + positions.shape[1])
    return hidden, cache, layers


class Layer(nn.Module):
  """Attention and a gated network, each normalised before and added.

  Attributes:
    config: sizes.
    dtype: of the computation.
    collect: whether the output is returned a second time, for the scan.
  """

  config: DecoderConfig
  dtype: Any
  collect: bool

  @nn.compact
  def __call__(self, carry, rotation, mask, slot, shift, fast, adapters):
    """Returns the carry after the layer; see `Stack`."""
    hidden, kept, index = carry
    config = self.config
    inputs = RMSNorm(config.rms_norm_eps, name='attention_norm')(hidden)
    mixed, kept = self._attention(
      inputs, rotation, mask, kept, slot, index, adapters
    )
    hidden = hidden + mixed
    inputs = RMSNorm(config.rms_norm_eps, name='mlp_norm')(hidden)
    inputs = inputs.astype(self.dtype)
    inner = config.intermediate_size
    wide = nn.silu(self._dense('gate', inner, adapters)(inputs))
    wide = wide * self._dense('up', inner, adapters)(inputs)
    hidden = hidden + self._dense('down', config.hidden_size, adapters)(wide)
    if fast is not None:
      hidden = self._changed(hidden, wide, fast)
    if shift is not None:
      hidden = hidden + shift[:, None].astype(hidden.dtype)
    return (hidden, kept, index + 1), hidden if self.collect else None

  def _changed(self, hidden, wide, fast):
    """Returns hidden states with the change of `fast`, and sows k `[B, F]`."""
    row = jnp.arange(hidden.shape[0])
    inner = wide[row, fast.at].astype(jnp.float32)
    self.sow('intermediates', 'inner', inner)
    change = jnp.sum(inner * fast.state, -1, keepdims=True) * fast.direction
    return hidden.at[row, fast.at].add(change.astype(hidden.dtype))

  def _dense(self, name, size, adapters, bias=False):
    dense = nn.Dense(size, use_bias=bias, dtype=self.dtype, name=name)
    own = (adapters or {}).get(name)

    def apply(inputs):
      # One long matrix: a batch of them is transposed for every gradient.
      rows = inputs.reshape(-1, inputs.shape[-1])
      flat = dense(rows)
      if own is not None:
        a, b = (leaf.astype(self.dtype) for leaf in own)
        flat = flat + rows.astype(self.dtype) @ a @ b
      return flat.reshape(*inputs.shape[:-1], size)

    return apply

  def _attention(self, inputs, rotation, mask, kept, slot, index, adapters):
    """Returns the mixed values `[B, T, D]`, and the cache."""
    config = self.config
    B, T, _ = inputs.shape
    inputs = inputs.astype(self.dtype)

    def project(name, heads, norm):
      size = heads * config.head_dim
      found = self._dense(name, size, adapters, config.attention_bias)(inputs)
      found = found.reshape(B, T, heads, config.head_dim)
      if norm and config.query_key_norm:
        found = RMSNorm(config.rms_norm_eps, name=f'{name}_norm')(found)
      return found.astype(self.dtype)

    query = rotate(project('query', config.num_attention_heads, True), rotation)
    key = rotate(project('key', config.num_key_value_heads, True), rotation)
    value = project('value', config.num_key_value_heads, False)
    if kept is not None:
      start = (index, 0, slot, 0, 0)
      kept = tuple(
        jax.lax.dynamic_update_slice(old, new[None].astype(old.dtype), start)
        for old, new in zip(kept, (key, value), strict=True)
      )
      key, value = (
        jax.lax.dynamic_index_in_dim(all_, index, keepdims=False)
        for all_ in kept
      )
    mixed = jax.nn.dot_product_attention(query, key, value, mask=mask)
    mixed = mixed.reshape(B, T, -1)
    return self._dense('output', config.hidden_size, adapters)(mixed), kept


class RMSNorm(nn.Module):
  """x / sqrt(mean(x^2) + eps) * scale, in float32.

  Attributes:
    eps: added to the mean square.

  References:
    Zhang and Sennrich 2019, arXiv:1910.07467.
  """

  eps: float

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Returns the normalised inputs `[..., D]`, of their own dtype."""
    scale = self.param('scale', nn.initializers.ones, inputs.shape[-1:])
    wide = inputs.astype(jnp.float32)
    square = jnp.mean(wide * wide, -1, keepdims=True)
    return (wide * jax.lax.rsqrt(square + self.eps) * scale).astype(
      inputs.dtype
    )


def rotary(
  positions: jax.Array, config: DecoderConfig
) -> tuple[jax.Array, jax.Array]:
  """Returns cosine and sine `[B, T, 1, head_dim / 2]` of every position.

  References:
    Su et al. 2021 (RoPE), arXiv:2104.09864.
  """
  half = config.head_dim // 2
  frequency = config.rope_theta ** (-jnp.arange(half) / half)
  angle = positions[..., None, None].astype(jnp.float32) * frequency
  return jnp.cos(angle), jnp.sin(angle)


def rotate(
  inputs: jax.Array, rotation: tuple[jax.Array, jax.Array]
) -> jax.Array:
  """Returns queries or keys `[B, T, heads, head_dim]`, halves rotated.

  Dimension i turns with dimension i + head_dim / 2, as in Hugging Face's
  checkpoints; GGUF files pair neighbours, and their loader undoes it.
  """
  cosine, sine = rotation
  first, second = jnp.split(inputs.astype(jnp.float32), 2, -1)
  turned = [first * cosine - second * sine, second * cosine + first * sine]
  return jnp.concatenate(turned, -1).astype(inputs.dtype)


def take_layers(
  params: types.PyTree, first: int, last: int | None = None
) -> types.PyTree:
  """Returns the parameters of layers first..last - 1, for a `Stack`.

  Args:
    params: of a `Decoder`.
    first: of the layers.
    last: one past the last; all that follow if None.
  """
  layers = params['params']['layers']
  return {'params': jax.tree.map(lambda leaf: leaf[first:last], layers)}
