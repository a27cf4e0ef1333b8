"""Logits filtered by temperature, top-k and nucleus, and tokens drawn of them.

Nothing is sorted, and a draw needs one number a row.
"""

from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types

_NEAR = 256  # likeliest tokens among which a threshold is sought first
_BLOCK = 256  # tokens whose mass is summed before a token is drawn
_INFINITY = 0x7F800000  # its bits in float32


def filter_logits(
  logits: types.Array,
  temperature: types.Scalar = 1.0,
  top_p: types.Scalar = 1.0,
  top_k: types.Scalar = 0,
) -> types.Array:
  """Returns logits `[..., V]`, tempered, of the tokens that may be drawn.

  First the temperature, then the `top_k` likeliest tokens, then the nucleus:
  the likeliest of those whose mass, of theirs, is at least `top_p`, as few as
  possible and at least one. Tokens as likely as the last one kept are kept.
  Others are -inf; the likeliest is 0.

  No sorting: the thresholds are looked for among the 256 likeliest tokens,
  and where some row's is not there, by bisection over the bits of all rows'
  distances to their likeliest token. Both are exact.

  Args:
    logits: `[..., V]` float32.
    temperature: one, or `[...]`; 0 leaves the likeliest token, the first of
      equal ones.
    top_p: one, or `[...]`; 1 is off.
    top_k: one, or `[...]`; 0 is off.

  References:
    Holtzman et al. 2019 (nucleus sampling), arXiv:1904.09751.
  """
  V = logits.shape[-1]
  tempered = temper(logits, temperature)
  top_p = _column(top_p, jnp.float32)
  top_k = _column(top_k, jnp.int32)
  top_k = jnp.where((top_k <= 0) | (top_k >= V), V, top_k)
  distance = jnp.abs(tempered)
  mass = jnp.exp(tempered)
  near = -jax.lax.top_k(tempered, min(V, _NEAR))[0]
  K = near.shape[-1]
  last = jnp.take_along_axis(
    near, jnp.broadcast_to(jnp.minimum(top_k, K) - 1, (*near.shape[:-1], 1)), -1
  )
  last = jnp.where(top_k < V, last, jnp.inf)
  total = jnp.sum(jnp.where(distance <= last, mass, 0), -1, keepdims=True)
  reached = jnp.cumsum(jnp.exp(-near), -1) >= top_p * total
  nucleus = jnp.min(
    jnp.where(reached, near, jnp.inf), -1, keepdims=True, initial=jnp.inf
  )
  nucleus = jnp.where(top_p < 1, nucleus, jnp.inf)
  limit = jnp.minimum(last, nucleus)
  if K < V:
    in_sight = (top_p >= 1) | jnp.any(reached, -1, keepdims=True)
    limit = jax.lax.cond(
      jnp.all((top_k <= K) | ((top_k == V) & in_sight)),
      lambda: limit,
      lambda: _bisect(distance, mass, top_p, top_k),
    )
  return jnp.where(distance <= limit, tempered, -jnp.inf)


def _column(value: types.Scalar, dtype: Any) -> jax.Array:
  return jnp.asarray(value, dtype)[..., None]


def temper(logits: jax.Array, temperature: types.Scalar) -> jax.Array:
  """Returns logits `[..., V]`, tempered, less their maximum.

  Args:
    logits: `[..., V]`.
    temperature: one, or `[...]`; 0 leaves the likeliest token, the first of
      equal ones.
  """
  heat = _column(temperature, jnp.float32)
  below = logits - jnp.max(logits, -1, keepdims=True)
  first = jnp.arange(logits.shape[-1]) == _first(below == 0)[..., None]
  greedy = jnp.where(first, 0.0, -jnp.inf)
  tempered = below / jnp.where(heat > 0, heat, 1)
  return jnp.where(heat > 0, tempered, greedy)


def _first(is_true: jax.Array) -> jax.Array:
  """Returns the first true place of `[..., V]`; 0 if there is none.

  An argmax over floats takes ten times as long on a processor.
  """
  V = is_true.shape[-1]
  place = jnp.min(jnp.where(is_true, jnp.arange(V), V), -1)
  return jnp.where(place < V, place, 0)


def _bisect(distance, mass, top_p, top_k):
  """Returns the largest distance `[..., 1]` of a token that is kept."""
  bits = jax.lax.bitcast_convert_type(distance, jnp.int32)

  def smallest(measure, wanted):
    def halve(_, bounds):
      low, high = bounds
      middle = low + (high - low) // 2
      measured = jnp.where(bits <= middle, measure, 0).sum(-1, keepdims=True)
      enough = measured >= wanted
      return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    low = jnp.zeros((*bits.shape[:-1], 1), jnp.int32)
    bounds = (low, jnp.full_like(low, _INFINITY))
    return jax.lax.fori_loop(0, 31, halve, bounds)[1]

  last = smallest(1, top_k)
  last = jnp.where(top_k < bits.shape[-1], last, _INFINITY)
  mass = jnp.where(bits <= last, mass, 0)
  nucleus = smallest(mass, top_p * mass.sum(-1, keepdims=True))
  nucleus = jnp.where(top_p < 1, nucleus, _INFINITY)
  limit = jnp.minimum(last, nucleus)
  return jax.lax.bitcast_convert_type(limit, jnp.float32)


def draw(uniform: jax.Array, logits: jax.Array) -> jax.Array:
  """Returns tokens `[R]` int32: the cumulative mass is inverted.

  One number a row, and cumulative sums over blocks, then within one: the noise
  of a Gumbel maximum over a large vocabulary takes thirty times as long.

  Args:
    uniform: `[R]` in [0, 1).
    logits: `[R, V]`, at most 0, and 0 for the likeliest.
  """
  V = logits.shape[-1]
  mass = jnp.pad(jnp.exp(logits), ((0, 0), (0, -V % _BLOCK)))
  blocks = mass.reshape(len(mass), -1, _BLOCK)
  end = jax.lax.cummax(jnp.cumsum(blocks.sum(-1), -1), axis=1)
  target = uniform[:, None] * end[:, -1:]
  block = jnp.sum(end <= target, -1, keepdims=True)
  block = jnp.minimum(block, blocks.shape[1] - 1)
  start = jnp.take_along_axis(end, jnp.maximum(block - 1, 0), -1)
  rest = target - jnp.where(block > 0, start, 0)
  inside = jnp.take_along_axis(blocks, block[..., None], 1)[:, 0]
  place = jnp.sum(jnp.cumsum(inside, -1) <= rest, -1)
  # Rounding may lead past the last token with any mass, of block or row.
  held = jnp.where(inside > 0, jnp.arange(_BLOCK), 0)
  place = jnp.minimum(place, jnp.max(held, -1))
  token = block[:, 0] * _BLOCK + place
  possible = jnp.take_along_axis(mass, token[:, None], -1)[:, 0] > 0
  return jnp.where(possible, token, _first(logits == 0)).astype(jnp.int32)
