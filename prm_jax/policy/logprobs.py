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
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Array:
  """Returns logits `[B, N, V]` of the last N tokens, given those before.

  Args:
    config: of the policy.
    params: of the policy.
    ids: `[B, T]`.
    seen: `[B, T]` 1 for tokens.
    count: N.
    dtype: of the computation; logits are float32.
    remat: see `Decoder`.
  """
  model: Any = decoder.Decoder(config, dtype, remat)
  output = model.apply(
    params, ids, decoder.counted(seen), decoder.attended(seen)
  )
  T = ids.shape[1]
  return model.apply(
    params, output.hidden[:, T - count - 1 : T - 1], method='logits'
  )


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
  config: decoder.DecoderConfig, count: int, dtype: Any = jnp.float32
) -> Callable[..., types.Array]:
  """Returns the compiled `(params, ids, seen) -> log-probabilities [B, N]`."""

  @jax.jit
  def score(params, ids, seen):
    logit = logits(config, params, ids, seen, count, dtype=dtype)
    return at(logit, ids[:, -count:])

  return score
