"""Causal attention: who sees whom, and the kernel that a platform has for it.

What a token sees is said by a few numbers a token (`Seen`); a mask `[T, T]` is
made of them only where a kernel needs one. `chosen` is the one place that
looks at the platform.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ad_checkpoint
from jax.experimental.pallas.ops.tpu import splash_attention
from jax.sharding import PartitionSpec

from prm_jax import types
from prm_jax.models import sharding

MASK = 'mask'  # XLA's own products, with a mask [T, T]
BLOCKS = 'blocks'  # the same for some queries at a time, no mask [T, T]
CUDNN = 'cudnn'  # NVIDIA's fused kernel
SPLASH = 'splash'  # JAX's Pallas kernel for a TPU

_SHORT = 128  # tokens of a row: of so few, one block is all of them
_LANES = 128  # of a TPU: lengths that its kernel reads are multiples
_TILE = 512  # the longest side of what that kernel holds at once
EVERY = np.array(
  np.iinfo(np.int32).max, np.int32
)  # a window that hides nothing

# What a layer keeps for its gradient: long matrix products, and what attention
# mixed, so that attention is computed again once, in its own blocks, not twice.
_MIXED = 'mixed'
KEPT = jax.checkpoint_policies.save_from_both_policies(
  jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  jax.checkpoint_policies.save_only_these_names(_MIXED),
)

# Part of the key of JAX's caches: a program that was traced for one platform
# is not taken for another.
_PLATFORM = jax.make_user_context('')


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Seen:
  """Which tokens a token attends to, in numbers a token.

  A token sees the tokens before it, and itself, of its own block: of the
  block's stem, and of its own branch. Branches do not see each other.

  Attributes:
    block: `[B, T]` int32, which of the sequences packed into a row; 0 is
      padding, of which no other token sees any.
    branch: `[B, T]` int32, 0 for the stem that all branches continue; all are
      stem if None.
    packed: whether a row may have several blocks.
  """

  block: types.ArrayLike
  branch: types.ArrayLike | None = None
  packed: bool = dataclasses.field(default=False, metadata={'static': True})

  def mask(self) -> jax.Array:
    """Returns the mask `[B, 1, T, T]` bool; padding sees itself alone."""
    block = jnp.asarray(self.block)
    T = block.shape[-1]
    real = (block != 0)[:, None, :] | jnp.eye(T, dtype=bool)
    return (self._sees(0, T) & real)[:, None]

  def of(self, at: types.ArrayLike) -> jax.Array:
    """Returns what the tokens in columns `[B, E]` see, `[B, 1, E, T]` bool."""
    block, at = jnp.asarray(self.block), jnp.asarray(at)
    found = at[:, :, None] >= jnp.arange(block.shape[-1])
    own = jnp.take_along_axis(block, at, 1)
    found &= own[:, :, None] == block[:, None]
    if self.branch is not None:
      branch = jnp.asarray(self.branch)
      own = jnp.take_along_axis(branch, at, 1)
      found &= (branch == 0)[:, None] | (own[:, :, None] == branch[:, None])
    return found[:, None]

  def places(self) -> jax.Array:
    """Returns how many tokens each token sees before itself, `[B, T]` int32.

    That is its position, from the start of its own sequence.
    """
    block = jnp.asarray(self.block, jnp.int32)
    T = block.shape[-1]
    if self.branch is None:
      branch = jnp.zeros_like(block)
    else:
      branch = jnp.asarray(self.branch, jnp.int32)
    stem = _before(block, branch == 0)
    own = _before(block * (T + 1) + branch, branch != 0)
    return jnp.where(block == 0, 0, stem + jnp.where(branch == 0, 0, own))

  def _sees(self, first: int, last: int) -> jax.Array:
    """Returns what the tokens first..last - 1 see of the first `last`."""
    block = jnp.asarray(self.block)
    found = jnp.arange(first, last)[:, None] >= jnp.arange(last)
    found = found & (block[:, first:last, None] == block[:, None, :last])
    if self.branch is not None:
      branch = jnp.asarray(self.branch)
      stem = branch[:, None, :last] == 0
      found &= stem | (branch[:, first:last, None] == branch[:, None, :last])
    return found


def _before(group: jax.Array, counted: jax.Array) -> jax.Array:
  """Returns how many earlier tokens of a token's group count, `[B, T]`.

  Branches are numbered up to T: more than T of them have no tokens.
  """
  order = jnp.argsort(group, -1, stable=True)
  group = jnp.take_along_axis(group, order, -1)
  counts = jnp.take_along_axis(counted, order, -1).astype(jnp.int32)
  total = jnp.cumsum(counts, -1) - counts
  begins = jnp.concatenate(
    [jnp.ones_like(group[:, :1], bool), group[:, 1:] != group[:, :-1]], -1
  )
  start = jax.lax.cummax(jnp.where(begins, total, 0), axis=1)
  return jnp.take_along_axis(total - start, jnp.argsort(order, -1), -1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sight:
  """What the tokens of one kind of layer see, for a kernel without a mask.

  Attributes:
    seen: by a layer that does not slide.
    position: `[B, T]` int32, from which distances are counted.
    window: `[]` int32, the distance at which a token is no longer seen.
    kernel: `BLOCKS`, `CUDNN` or `SPLASH`; the fused ones see no window.
  """

  seen: Seen
  position: jax.Array
  window: types.ArrayLike
  kernel: str = dataclasses.field(metadata={'static': True})

  def near(self, window: int) -> 'Sight':
    """Returns what a layer sees that slides."""
    return dataclasses.replace(self, window=np.array(window, np.int32))


def lowering_for(platform: str) -> Any:
  """Returns a context in which kernels are those of a platform.

  Programs for machines that are not at hand are traced in it.

  Args:
    platform: 'cpu', 'cuda', 'rocm' or 'tpu'.
  """
  return _PLATFORM(platform)


def platform() -> str:
  """Returns 'cpu', 'cuda', 'rocm' or 'tpu': for what is traced here."""
  if _PLATFORM.value:
    return _PLATFORM.value
  given = jax.config.jax_default_device  # type: ignore[attr-defined]
  if isinstance(given, str):
    return given
  found = jax.default_backend() if given is None else given.platform
  if found == 'gpu':
    version = jax.devices()[0].client.platform_version
    return 'cuda' if 'cuda' in version.lower() else 'rocm'
  return found


def chosen(
  config: Any, dtype: Any, shape: tuple[int, ...], seen: Seen, *, columns: bool
) -> str:
  """Returns the kernel that attends for a decoder where this is traced.

  The fused ones are for 16 bits and rows of at least 128 tokens. They know of
  no branches, and of no window whose distances are between positions.

  Args:
    config: a `DecoderConfig`.
    dtype: of the computation.
    shape: B and T.
    seen: by a layer that does not slide.
    columns: whether tokens may be moved: cuDNN reads rows whose padding is at
      the end.
  """
  B, T = shape
  half = jnp.dtype(dtype).itemsize == 2
  if half and T >= _SHORT and seen.branch is None and not config.sliding_window:
    where = platform()
    plain = not seen.packed and not config.attention_softcap and columns
    sizes = config.head_dim % 8 == 0 and config.head_dim <= 128
    if where == 'cuda' and plain and sizes:
      return CUDNN
    if where == 'tpu' and B % sharding.row_devices() == 0:
      return SPLASH
  return BLOCKS if T > _SHORT else MASK


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  seen: jax.Array | Sight,
  *,
  scale: float,
  cap: float = 0.0,
) -> jax.Array:
  """Returns values `[B, T, heads, H]`, mixed by softmax(query key scale).

  Args:
    query: `[B, T, heads, H]`.
    key: `[B, S, shared, H]`; heads are a multiple of shared ones.
    value: `[B, S, shared, H]`.
    seen: a mask `[B, 1, T, S]`, or what tokens see, S = T.
    scale: of the logits.
    cap: a logit x is cap tanh(x / cap); not capped if 0.
  """
  if not isinstance(seen, Sight):
    mixed = _masked(query, key, value, seen, scale, cap)
  elif seen.kernel == CUDNN:
    mixed = _cudnn(query, key, value, seen, scale)
  elif seen.kernel == SPLASH:
    mixed = _splash(query, key, value, seen, scale, cap)
  else:
    mixed = _blocks(query, key, value, seen, scale, cap)
  return ad_checkpoint.checkpoint_name(mixed, _MIXED)


def in_front(block: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the order that puts padding behind all tokens, and its inverse.

  Args:
    block: `[B, T]`, 0 for padding.

  Returns:
    Columns `[B, T]` of each.
  """
  order = jnp.argsort(block == 0, -1, stable=True)
  return order, jnp.argsort(order, -1)


def _masked(query, key, value, mask, scale, cap) -> jax.Array:
  if not cap:
    return jax.nn.dot_product_attention(
      query, key, value, mask=mask, scale=scale
    )
  # jax.nn's has no cap. Heads that share keys lie on an axis of their own.
  B, T, _, H = query.shape
  query = query.reshape(B, T, key.shape[2], -1, H)
  scores = jnp.einsum(
    'btkgh,bskh->bkgts', query, key, preferred_element_type=jnp.float32
  )
  scores = cap * jnp.tanh(scores * scale / cap)
  scores = jnp.where(mask[:, :, None], scores, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(scores, -1).astype(value.dtype)
  mixed = jnp.einsum('bkgts,bskh->btkgh', weights, value)
  return mixed.reshape(B, T, -1, H)


def _blocks(query, key, value, sight: Sight, scale, cap) -> jax.Array:
  """Attends for some queries at a time; what comes after them is not read.

  Probabilities `[B, heads, block, T]` are computed again for the gradient.
  """
  T = query.shape[1]
  size = next((s for s in (128, 256) if 16 * s >= T), 512)
  found = []
  for first in range(0, T, size):
    last = min(first + size, T)

    @jax.checkpoint
    def mixed(query, key, value, sight, first=first, last=last):
      at = sight.position
      mask = sight.seen._sees(first, last)
      mask &= at[:, first:last, None] - at[:, None, :last] < sight.window
      return _masked(query, key, value, mask[:, None], scale, cap)

    found.append(
      mixed(query[:, first:last], key[:, :last], value[:, :last], sight)
    )
  return jnp.concatenate(found, 1)


def _cudnn(query, key, value, sight: Sight, scale) -> jax.Array:
  # A row of padding alone has one token: of none there is no softmax.
  count = jnp.maximum(jnp.sum(sight.seen.block != 0, -1, dtype=jnp.int32), 1)
  return jax.nn.dot_product_attention(
    query,
    key,
    value,
    scale=scale,
    is_causal=True,
    query_seq_lengths=count,
    key_value_seq_lengths=count,
    implementation='cudnn',
  )


def _splash(
  query, key, value, sight: Sight, scale, cap, *, interpret=False
) -> jax.Array:
  """Attends on a TPU; each device for its own rows and heads."""

  def local(query, key, value, block):
    T = block.shape[1]
    extra = -T % _LANES
    length = T + extra
    tile = math.gcd(length, _TILE)
    heads = query.shape[2]
    causal = splash_attention.CausalMask((length, length))
    kernel = splash_attention.make_splash_mha(
      splash_attention.splash_attention_mask.MultiHeadMask([causal] * heads),
      block_sizes=splash_attention.BlockSizes(
        *(tile, tile, tile), *(tile, tile, tile), *(tile, tile)
      ),
      attn_logits_soft_cap=cap or None,
      head_shards=1,
      q_seq_shards=1,
      interpret=interpret,
    )

    def heads_first(leaf):
      leaf = jnp.pad(leaf, ((0, 0), (0, extra), (0, 0), (0, 0)))
      return leaf.swapaxes(1, 2)

    block = jnp.pad(block, ((0, 0), (0, extra)))
    found = jax.vmap(kernel)(
      heads_first(query * jnp.asarray(scale, query.dtype)),
      heads_first(key),
      heads_first(value),
      splash_attention.SegmentIds(block, block),
    )
    return found.swapaxes(1, 2)[:, :T].astype(query.dtype)

  block = jnp.asarray(sight.seen.block, jnp.int32)
  rows = PartitionSpec(sharding.ROWS, None, 'model')
  return sharding.on_devices(
    local, (rows, rows, rows, PartitionSpec(sharding.ROWS)), rows
  )(query, key, value, block)
