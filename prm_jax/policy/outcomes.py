"""Figures of rewards and texts, as means that can be merged; traceable."""

from typing import Any

import jax.numpy as jnp

from prm_jax import types


def as_mean(values: Any, mask: Any = None) -> types.Mean:
  """Returns the mean of values, of those that count."""
  values = jnp.asarray(values, jnp.float32)
  mask = jnp.ones_like(values) if mask is None else jnp.asarray(mask)
  mask = jnp.broadcast_to(mask.astype(jnp.float32), values.shape)
  return types.Mean(jnp.where(mask > 0, values * mask, 0).sum(), mask.sum())


def total(value: Any) -> types.Mean:
  """Returns a sum over a step; over a window, its mean a step."""
  return types.Mean(jnp.asarray(value, jnp.float32), jnp.ones(()))


def fill(reward: types.Array) -> types.Array:
  """Returns rewards `[B, n]`, those that failed at the mean of the others.

  They then have no advantage, and move no other's; 0 in groups where all
  failed.
  """
  rewarded = jnp.isfinite(reward)
  count = jnp.maximum(rewarded.sum(1, keepdims=True), 1)
  mean = jnp.where(rewarded, reward, 0.0).sum(1, keepdims=True) / count
  return jnp.where(rewarded, reward, mean).astype(jnp.float32)


def outcomes(reward: types.Array, mask: types.Array) -> dict[str, types.Mean]:
  """Returns figures of groups of rewards `[B, n]`: NaN where one failed."""
  failed = ~jnp.isfinite(reward)
  group, rows = fill(reward), mask[:, None]
  return {
    'reward': as_mean(group, ~failed * rows),
    'solved_any': as_mean(group.max(1) > 0.5, mask),
    'no_gradient': as_mean(group.max(1) == group.min(1), mask),
    'failed': as_mean(failed, rows),
  }
