"""Sums over judged pairs of texts; their differences are never all held."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision

_BLOCK = 8192  # pairs whose differences are held at once


@precision.highest
def margins(
  features: types.Array, index: types.ArrayLike, weight: types.Array
) -> types.Array:
  """Returns w . (x_a - x_b), `[N]`.

  Args:
    features: `[M, D]` x of every text.
    index: `[N, 2]` the texts a and b of each pair.
    weight: `[D]` w.
  """
  score = features @ weight
  return score[index[:, 0]] - score[index[:, 1]]


@precision.highest
def moment(
  features: types.Array, index: types.ArrayLike, value: types.Array
) -> types.Array:
  """Returns sum_n value_n (x_a - x_b), `[D]` or `[D, J]`.

  Args:
    features: `[M, D]` x of every text.
    index: `[N, 2]` the texts a and b of each pair.
    value: `[N]` or `[N, J]`.
  """
  texts = jnp.zeros((features.shape[0], *value.shape[1:]), features.dtype)
  texts = texts.at[index[:, 0]].add(value).at[index[:, 1]].add(-value)
  return features.T @ texts


@precision.highest
def gram(
  features: types.Array, index: types.ArrayLike, weight: types.Array
) -> types.Array:
  """Returns sum_n weight_n (x_a - x_b) (x_a - x_b)^T, `[D, D]`.

  Few texts are summed over pairs of texts; of many, a block of judgements at
  a time is held. Rows that are split over devices stay so: every device sums
  its own, and the sums `[D, D]` are added up.

  Args:
    features: `[M, D]` x of every text.
    index: `[N, 2]` the texts a and b of each pair.
    weight: `[N]`; 0 for padding.
  """
  texts, width = features.shape
  if texts**2 <= _BLOCK * width:
    a, b = index[:, 0], index[:, 1]
    laplacian = jnp.zeros((texts, texts), features.dtype)
    laplacian = laplacian.at[a, a].add(weight).at[b, b].add(weight)
    laplacian = laplacian.at[a, b].add(-weight).at[b, a].add(-weight)
    return features.T @ (laplacian @ features)

  def add(total, block):
    (a, b), weight = block
    difference = features[a] - features[b]
    return total + (difference.T * weight) @ difference, None

  rows = jax.tree.map(_blocks, ((index[:, 0], index[:, 1]), weight))
  start = jnp.zeros((width, width), features.dtype)
  return jax.lax.scan(add, start, rows)[0]


def _blocks(leaf):
  """Returns rows `[N]` as `[blocks, rows]`, padded with zeros.

  Every block takes rows of all parts of the array, and so of all devices.
  """
  blocks = -(-leaf.shape[0] // _BLOCK)
  leaf = jnp.pad(leaf, (0, -leaf.shape[0] % blocks))
  return leaf.reshape(-1, blocks).T
