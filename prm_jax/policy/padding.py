"""Texts as token ids: joined and repeated, padded on either side."""

from typing import Any

import jax
import numpy as np

from prm_jax import types


def full(ids: np.ndarray) -> types.Tokens:
  """Returns texts without padding."""
  return types.Tokens(np.asarray(ids, np.int32), np.ones(ids.shape, np.int32))


def take(tokens: types.Tokens, rows: Any) -> types.Tokens:
  """Returns some of the texts, by an index, a slice or a bool array."""
  return jax.tree.map(lambda leaf: leaf[rows], tokens)


def repeat(tokens: types.Tokens, count: int) -> types.Tokens:
  """Returns every text `count` times, side by side."""
  return jax.tree.map(lambda leaf: np.repeat(leaf, count, 0), tokens)


def join(*given: types.Tokens) -> types.Tokens:
  """Returns the texts of all, padded on the left to one length."""
  T = max(tokens.ids.shape[1] for tokens in given)

  def wide(leaf):
    return np.pad(leaf, ((0, 0), (T - leaf.shape[1], 0)))

  return types.Tokens(
    np.concatenate([wide(tokens.ids) for tokens in given]),
    np.concatenate([wide(tokens.mask) for tokens in given]),
  )


def stack(*given: types.Tokens) -> types.Tokens:
  """Returns the answers of all, tokens first, padded to one length."""
  N = max(tokens.ids.shape[1] for tokens in given)

  def tight(tokens):
    order = np.argsort(tokens.mask == 0, -1, kind='stable')
    pad = ((0, 0), (0, N - order.shape[1]))
    return [
      np.pad(np.take_along_axis(leaf, order, -1), pad)
      for leaf in (tokens.ids, tokens.mask)
    ]

  leaves = zip(*map(tight, given), strict=True)
  return types.Tokens(*(np.concatenate(leaf) for leaf in leaves))


def follow(
  prompts: types.Tokens, answers: types.Tokens
) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids and tokens seen `[B, P + N]`, prompts padded on the left."""
  order = np.argsort(prompts.mask, -1, kind='stable')
  ids, mask = (
    np.take_along_axis(leaf, order, -1) for leaf in (prompts.ids, prompts.mask)
  )
  return (
    np.concatenate([ids, answers.ids], 1).astype(np.int32),
    np.concatenate([mask, answers.mask], 1).astype(np.int32),
  )
