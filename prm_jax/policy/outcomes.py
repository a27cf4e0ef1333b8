"""Figures of rewards and texts, as means that can be merged."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from prm_jax import types


def as_mean(values: Any, mask: Any = None) -> types.Mean:
  """Returns the mean of host values, of those that count."""
  values = np.asarray(values, np.float32)
  mask = np.ones_like(values) if mask is None else np.asarray(mask, np.float32)
  sums = np.where(mask > 0, values * mask, 0).sum(), mask.sum()
  return types.Mean(*(jnp.asarray(value, jnp.float32) for value in sums))


def total(value: float) -> types.Mean:
  """Returns a sum over a step; over a window, its mean a step."""
  return as_mean([value])


def fill(reward: np.ndarray) -> np.ndarray:
  """Returns rewards `[B, n]`, those that failed at the mean of the others.

  They then have no advantage, and move no other's; 0 in groups where all
  failed.
  """
  known = np.isfinite(reward)
  count = np.maximum(known.sum(1, keepdims=True), 1)
  mean = np.where(known, reward, 0.0).sum(1, keepdims=True) / count
  return np.where(known, reward, mean).astype(np.float32)


def outcomes(reward: np.ndarray, mask: np.ndarray) -> dict[str, types.Mean]:
  """Returns figures of groups of rewards `[B, n]`: NaN where one failed."""
  mask = np.asarray(mask)
  known = np.isfinite(reward) * mask[:, None]
  group = fill(reward)
  spread = group.max(1) > group.min(1)
  return {
    'reward': as_mean(group, known),
    'solved_any': as_mean(group.max(1) > 0.5, mask),
    'no_gradient': as_mean(~spread, mask),
    'failed': as_mean(~np.isfinite(reward), known * 0 + mask[:, None]),
  }
