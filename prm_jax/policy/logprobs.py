"""How likely texts are: of actor, writer, reference and teacher alike.

All come from one function, `logits`; what the sampler says of its own tokens
is only compared with it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder


def logits(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  ids: types.Array,
  seen: types.Array,
  count: int,
  *,
  group: int = 1,
  gap: types.Array | None = None,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Array:
  """Returns logits `[B, N, V]` of the last N tokens, given those before.

  Where it costs less, a prompt that several answers have is read once: they
  branch off it and do not see each other.

  Args:
    config: of the policy.
    params: of the policy.
    ids: `[B, T]`; prompts end where answers begin.
    seen: `[B, T]` 1 for tokens.
    count: N.
    group: every so many rows, side by side, have one prompt.
    gap: `[B]` int32, positions that are left free before the last N tokens,
      so that what is learned does not hang on how far back the prompt is;
      none if None.
    dtype: of the computation; logits are float32.
    remat: see `Decoder`.
  """
  hidden = states(
    config,
    params,
    ids,
    seen,
    count,
    group=group,
    gap=gap,
    dtype=dtype,
    remat=remat,
  )
  model: Any = decoder.Decoder(config, dtype, remat)
  return model.apply(params, hidden, method='logits')


def states(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  ids: types.Array,
  seen: types.Array,
  count: int,
  *,
  group: int = 1,
  gap: types.Array | None = None,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Array:
  """Returns states `[B, N, D]` before each of the last N tokens; see `logits`.

  What a critic reads: what is known before a token is drawn.
  """
  model: Any = decoder.Decoder(config, dtype, remat)
  B, T = ids.shape
  if B % group or not _pays(config, T - count, count, group):
    positions = decoder.counted(seen)
    if gap is not None:
      positions += gap[:, None] * (jnp.arange(T) >= T - count)
    hidden = model.apply(params, ids, positions, decoder.attended(seen)).hidden
    return hidden[:, T - count - 1 : T - 1]
  P, G = T - count, B // group

  def packed(leaf):
    branches = leaf[:, P:].reshape(G, group * count)
    return jnp.concatenate([leaf[::group, :P], branches], 1)

  stem, answers = seen[::group, :P], seen[:, P:].reshape(G, group, count)
  length = stem.sum(-1)[:, None, None]
  positions = length + decoder.counted(answers)
  if gap is not None:
    positions += gap.reshape(G, group, 1)
  positions = positions.reshape(G, group * count)
  branch = jnp.concatenate(
    [jnp.zeros(P, jnp.int32), 1 + jnp.arange(group * count) // count]
  )
  hidden = model.apply(
    params,
    packed(ids),
    jnp.concatenate([decoder.counted(stem), positions], 1),
    decoder.attended(packed(seen), jnp.broadcast_to(branch, (G, len(branch)))),
  ).hidden
  # An answer's first token follows the prompt, others the one before.
  first = jnp.broadcast_to(
    hidden[:, P - 1, None, None], (G, group, 1, hidden.shape[-1])
  )
  others = hidden[:, P:].reshape(G, group, count, -1)[:, :, :-1]
  return jnp.concatenate([first, others], 2).reshape(B, count, -1)


def _pays(config, prompt, count, group) -> bool:
  """Returns whether a group costs less in one row, whose attention is wider."""
  width, inner = config.hidden_size, config.intermediate_size
  heads = config.num_attention_heads * config.head_dim
  shared = config.num_key_value_heads * config.head_dim
  dense = 2 * width * (2 * heads + 2 * shared + 3 * inner)

  def cost(rows, length):
    return rows * length * (dense + 4 * length * heads)

  together = cost(1, prompt + group * count)
  return together < cost(group, prompt + count)


def at(logit: types.Array, ids: types.Array) -> types.Array:
  """Returns log-probabilities `[B, N]` of tokens `[B, N]`."""
  chosen = jnp.take_along_axis(logit, ids[..., None], -1)[..., 0]
  return chosen - jax.nn.logsumexp(logit, -1)


@functools.lru_cache(maxsize=16)
def teller(
  config: decoder.DecoderConfig, count: int, dtype: Any = jnp.float32
) -> Callable[..., types.Array]:
  """Returns the compiled `(params, ids, seen) -> log-softmax [B, N, V]`."""

  @jax.jit
  def tell(params, ids, seen):
    logit = logits(config, params, ids, seen, count, dtype=dtype)
    return jax.nn.log_softmax(logit)

  return tell


@functools.lru_cache(maxsize=16)
def scorer(
  config: decoder.DecoderConfig,
  count: int,
  dtype: Any = jnp.float32,
  group: int = 1,
) -> Callable[..., types.Array]:
  """Returns the compiled `(params, ids, seen) -> log-probabilities [B, N]`."""

  @jax.jit
  def score(params, ids, seen):
    logit = logits(config, params, ids, seen, count, group=group, dtype=dtype)
    return at(logit, ids[:, -count:])

  return score
