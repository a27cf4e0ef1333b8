"""A decoder: Llama, SmolLM, Mistral, Qwen2, Qwen3, Gemma 2 and Gemma 3.

One network with options, see `DecoderConfig`; no class a family. Layers are
scanned: every parameter of `layers` has a leading axis L, and `take_layers`
cuts a range out of it, to be run by a `Stack` alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from prm_jax import types
from prm_jax.models import attention, sharding
from prm_jax.models.decoder_config import DecoderConfig
from prm_jax.models.rotation import rotary, rotate

_KERNELS = {'query', 'key', 'value', 'output', 'gate', 'up', 'down'}


class Cache(NamedTuple):
  """Keys and values of the tokens so far.

  Attributes:
    key: `[L, B, S, heads, head_dim]`, rotated.
    value: `[L, B, S, heads, head_dim]`.
    slot: `[]` int32, where the next token is written; the same in all rows.
    position: `[B, S]` int32, of every token: a sliding layer sees some alone.
  """

  key: jax.Array
  value: jax.Array
  slot: jax.Array
  position: jax.Array

  def rows(self, rows: jax.Array) -> 'Cache':
    """Returns the cache of some rows `[R]`."""
    key, value = self.key[:, rows], self.value[:, rows]
    return Cache(key, value, self.slot, self.position[rows])


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
  # Two arrays, not one twice: a program may be given both to write into.
  key, value = jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)
  return Cache(key, value, jnp.int32(0), jnp.zeros((batch, slots), jnp.int32))


def look_up(params: types.PyTree, ids: jax.Array) -> jax.Array:
  """Returns rows `[..., D]` of the embedding; zero where ids are negative.

  Args:
    params: of a `Decoder`.
    ids: `[...]` int32.
  """
  table = params['params']['embed']['embedding']
  rows = sharding.read_rows(table[jnp.maximum(ids, 0)])
  return jnp.where((ids >= 0)[..., None], rows, 0.0)


def embedded(
  config: DecoderConfig, params: types.PyTree, ids: jax.Array
) -> jax.Array:
  """Returns what layers read of token ids `[..., D]`; zero where negative.

  Args:
    config: of the model.
    params: of a `Decoder`.
    ids: `[...]` int32.
  """
  return _scaled(config, look_up(params, ids))


def _scaled(config: DecoderConfig, rows: jax.Array) -> jax.Array:
  """Returns embeddings as the first layer reads them, in their dtype."""
  if not config.scale_embeddings:
    return rows
  return rows * jnp.asarray(config.hidden_size**0.5, rows.dtype)


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


def attended(
  block: types.ArrayLike,
  branch: types.ArrayLike | None = None,
  *,
  packed: bool = False,
) -> attention.Seen:
  """Returns which tokens a token attends to; arguments as of `Seen`."""
  return attention.Seen(block, branch, packed)


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
    self.norm = RMSNorm(config.rms_norm_eps, config.norm_offset)
    if not config.tie_word_embeddings:
      self.head = nn.Dense(config.vocab_size, use_bias=False, dtype=jnp.float32)

  def __call__(
    self,
    ids: jax.Array,
    positions: jax.Array,
    mask: jax.Array | attention.Seen,
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
      mask: which tokens each attends to, as `attended` says it; with a cache
        `[B, 1, T, S]` bool, of its S slots.
      cache: keys and values of the tokens before.
      shift: `[L, B or 1, D]`, added to every token after each layer: steering.
      adapters: see `Stack`.
      collect: whether to return every layer's output.
    """
    inputs = self.inputs(ids)
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
    mask: jax.Array | attention.Seen,
    *,
    fast: Fast | None = None,
  ) -> jax.Array:
    """Returns hidden states `[B, T, D]` of inputs that are not token ids.

    Args:
      inputs: `[B, T, D]` embeddings, or hidden states of other layers.
      positions: `[B, T]` int32.
      mask: which tokens each attends to, `attended` or `[B, 1, T, T]` bool.
      fast: changes of every layer at one token a row.
    """
    return self.norm(self.layers(inputs, positions, mask, fast=fast)[0])

  def inputs(self, ids: jax.Array) -> jax.Array:
    """Returns what the first layer reads `[B, T, D]` of ids `[B, T]`."""
    return _scaled(self.config, sharding.read_rows(self.embed(ids)))

  def logits(self, hidden: jax.Array) -> jax.Array:
    """Returns next-token logits `[..., V]`, float32, of hidden states."""
    hidden = hidden.astype(jnp.float32)
    tied = self.config.tie_word_embeddings
    found = hidden @ self.embed.embedding.T if tied else self.head(hidden)
    return _capped(found, self.config.logit_softcap)


def _embeddings(std: float) -> nn.initializers.Initializer:
  """Returns how embeddings are drawn."""
  if std:
    return nn.initializers.normal(std)
  return nn.initializers.variance_scaling(1.0, 'fan_in', 'normal', out_axis=0)


class Stack(nn.Module):
  """Layers, scanned.

  Attributes:
    config: sizes.
    count: how many layers, the first ones of the configuration: `cut` makes
      one of others.
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
    mask: jax.Array | attention.Seen,
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
      mask: as of a `Decoder`.
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
    config = self.config
    sharding.check_heads(config.num_attention_heads, config.num_key_value_heads)
    if self.count != config.num_hidden_layers:
      config = config.cut(0, self.count)
    axes: Any = (0, 0, nn.broadcast)
    changed = nn.broadcast if fast is None else Fast(*axes)
    # Matrix products are kept for the gradient, what is cheap is made again:
    # attention's probabilities cost more to write and read than to compute.
    policy = attention.KEPT
    layer = nn.remat(
      Layer, prevent_cse=False, policy=None if self.remat else policy
    )
    scanned = nn.scan(
      layer,
      variable_axes={'params': 0, 'intermediates': 0},
      split_rngs={'params': True},
      in_axes=(
        *(nn.broadcast, 0 if config.sliding_layers else nn.broadcast),
        *(nn.broadcast, shifted, changed, adapted),
      ),
      length=self.count,
    )
    kernel, back = attention.MASK, None
    if isinstance(mask, attention.Seen) and cache is None:
      kernel = attention.chosen(
        config, self.dtype, hidden.shape[:2], mask, columns=fast is None
      )
    if kernel == attention.CUDNN:
      hidden, positions, mask, back = _in_front(hidden, positions, mask)
    if cache is not None:
      cache = cache._replace(position=_placed(cache, positions))
    views = _views(config, positions, mask, cache, kernel)
    slides = jnp.array(config.sliding_layers) if config.sliding_layers else None
    kept = None if cache is None else (cache.key, cache.value)
    slot = None if cache is None else cache.slot
    carry = (hidden, kept, jnp.int32(0))
    (hidden, kept, _), layers = scanned(
      config, self.dtype, collect, name='layer'
    )(carry, views, slides, slot, shift, fast, adapters)
    if cache is not None and kept is not None:
      after = cache.slot + positions.shape[1]
      cache = Cache(kept[0], kept[1], after, cache.position)
    if back is not None:
      hidden = jnp.take_along_axis(hidden, back, 1)
      if layers is not None:
        layers = jnp.take_along_axis(layers, back[None], 2)
    return hidden, cache, layers


def _in_front(hidden, positions, seen):
  """Returns what a stack reads with padding last, and columns to undo it."""
  block = jnp.asarray(seen.block)
  order, back = attention.in_front(block)
  hidden = jnp.take_along_axis(hidden, order[..., None], 1)
  positions, block = (
    jnp.take_along_axis(jnp.broadcast_to(leaf, order.shape), order, -1)
    for leaf in (positions, block)
  )
  return hidden, positions, attention.Seen(block), back[..., None]


class View(NamedTuple):
  """What a kind of layer sees.

  Attributes:
    rotation: cosine and sine of every token.
    mask: which tokens each attends to.
    at: `[B, E]` columns of which alone a layer makes anything; all if None.
    turned: cosine and sine of these.
  """

  rotation: tuple[jax.Array, jax.Array]
  mask: jax.Array | attention.Sight
  at: jax.Array | None = None
  turned: tuple[jax.Array, jax.Array] | None = None


def _placed(cache: Cache, positions: jax.Array) -> jax.Array:
  """Returns positions `[B, S]` of the cache's tokens, with those added."""
  rows = cache.position.shape[0]
  added = jnp.broadcast_to(positions, (rows, positions.shape[1]))
  start = (0, cache.slot)
  return jax.lax.dynamic_update_slice(
    cache.position, added.astype(cache.position.dtype), start
  )


def _views(config, positions, mask, cache, kernel) -> tuple[View, ...]:
  """Returns the one view of all layers; or that of others, and of sliding."""
  whole, near = _seen(config, positions, mask, cache, kernel)
  plain = View(rotary(positions, config), whole)
  if not config.sliding_window:
    return (plain,)
  turned = plain.rotation
  if config.local_rope_theta:
    turned = rotary(positions, config, local=True)
  sliding = View(turned, near)
  return (plain, sliding) if config.sliding_layers else (sliding,)


def _seen(config, positions, mask, cache, kernel):
  """Returns which tokens others see, and sliding layers, as a kernel reads."""
  window = config.sliding_window
  if kernel == attention.MASK:
    if isinstance(mask, attention.Seen):
      mask = mask.mask()
    if not window:
      return mask, None
    before = positions if cache is None else cache.position
    distance = positions[:, :, None] - before[:, None]
    return mask, mask & (distance < window)[:, None]
  position = jnp.broadcast_to(positions, mask.block.shape)
  whole = attention.Sight(mask, position, attention.EVERY, kernel)
  return whole, whole.near(window)


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
  def __call__(self, carry, views, slides, slot, shift, fast, adapters):
    """Returns the carry after the layer; see `Stack`."""
    hidden, kept, index = carry
    hidden = sharding.constrain(hidden, sharding.ROWS)
    config = self.config
    view, *sliding = views
    if sliding:
      view = jax.tree.map(
        lambda other, own: jnp.where(slides, own, other), view, *sliding
      )
    inputs = self._norm('attention_norm')(hidden)
    mixed, kept = self._attention(inputs, view, kept, slot, index, adapters)
    if config.post_norms:
      mixed = self._norm('attention_post_norm')(mixed)
    if view.at is not None:
      hidden = columns(hidden, view.at)
    hidden = hidden + mixed
    inputs = self._norm('mlp_norm')(hidden).astype(self.dtype)
    inner, bias = config.intermediate_size, config.mlp_bias
    gate = self._dense('gate', inner, adapters, bias)(inputs)
    silu = config.activation == 'silu'
    wide = nn.silu(gate) if silu else nn.gelu(gate, approximate=True)
    wide = wide * self._dense('up', inner, adapters, bias)(inputs)
    added = self._dense('down', config.hidden_size, adapters, bias)(wide)
    if config.post_norms:
      added = self._norm('mlp_post_norm')(added)
    hidden = hidden + added
    if fast is not None:
      hidden = self._changed(hidden, wide, fast)
    if shift is not None:
      hidden = hidden + shift[:, None].astype(hidden.dtype)
    return (hidden, kept, index + 1), hidden if self.collect else None

  def _norm(self, name):
    config = self.config
    return RMSNorm(config.rms_norm_eps, config.norm_offset, name=name)

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

  def _attention(self, inputs, view, kept, slot, index, adapters):
    """Returns the mixed values `[B, T, D]`, and the cache."""
    config, turn = self.config, view.rotation
    inputs = inputs.astype(self.dtype)
    asked, own = inputs, turn
    if view.at is not None:
      asked, own = columns(inputs, view.at), view.turned

    def project(name, heads, norm, inputs=inputs):
      size = heads * config.head_dim
      found = self._dense(name, size, adapters, config.attention_bias)(inputs)
      found = found.reshape(*inputs.shape[:2], heads, config.head_dim)
      if norm and config.query_key_norm:
        found = self._norm(f'{name}_norm')(found)
      return found.astype(self.dtype)

    query = project('query', config.num_attention_heads, True, asked)
    query = rotate(query, own)
    key = rotate(project('key', config.num_key_value_heads, True), turn)
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
    mixed = attention.attend(
      query,
      key,
      value,
      view.mask,
      scale=(config.query_scale or config.head_dim) ** -0.5,
      cap=config.attention_softcap,
    ).reshape(*asked.shape[:2], -1)
    bias = config.output_bias
    return self._dense('output', config.hidden_size, adapters, bias)(
      mixed
    ), kept


def columns(states: jax.Array, at: jax.Array) -> jax.Array:
  """Returns some columns `[B, E, D]` of states `[B, T, D]`."""
  return jnp.take_along_axis(states, at[..., None], 1)


def _capped(values: jax.Array, cap: float) -> jax.Array:
  """Returns cap tanh(x / cap), or values as they are if cap is 0."""
  return cap * jnp.tanh(values / cap) if cap else values


class RMSNorm(nn.Module):
  """x / sqrt(mean(x^2) + eps) * scale, in float32.

  Attributes:
    eps: added to the mean square.
    offset: whether it is 1 + scale.

  References:
    Zhang and Sennrich 2019, arXiv:1910.07467.
  """

  eps: float
  offset: bool = False

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Returns the normalised inputs `[..., D]`, of their own dtype."""
    start = nn.initializers.zeros if self.offset else nn.initializers.ones
    scale = self.param('scale', start, inputs.shape[-1:])
    scale = 1 + scale if self.offset else scale
    wide = inputs.astype(jnp.float32)
    square = jnp.mean(wide * wide, -1, keepdims=True)
    return (wide * jax.lax.rsqrt(square + self.eps) * scale).astype(
      inputs.dtype
    )


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
