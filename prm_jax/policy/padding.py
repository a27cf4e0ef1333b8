"""Texts as token ids: joined and repeated, padded on either side.

Arrays of the host give such, and those of jax give those of jax, traced or
not.
"""

from typing import Any

import jax
import numpy as np

from prm_jax import types


def full(ids: types.ArrayLike) -> types.Tokens:
  """Returns texts without padding."""
  numpy = types.namespace(ids)
  return types.Tokens(ids.astype(np.int32), numpy.ones(ids.shape, np.int32))


def take(tokens: types.Tokens, rows: Any) -> types.Tokens:
  """Returns some of the texts, by an index, a slice or a bool array."""
  return jax.tree.map(lambda leaf: leaf[rows], tokens)


def repeat(tokens: types.Tokens, count: int) -> types.Tokens:
  """Returns every text `count` times, side by side."""
  numpy = types.namespace(tokens.ids)
  return jax.tree.map(lambda leaf: numpy.repeat(leaf, count, 0), tokens)


def join(*given: types.Tokens) -> types.Tokens:
  """Returns the texts of all, padded on the left to one length."""
  T = max(tokens.ids.shape[1] for tokens in given)

  def joined(*leaves):
    numpy = types.namespace(leaves[0])
    return numpy.concatenate(
      [numpy.pad(leaf, ((0, 0), (T - leaf.shape[1], 0))) for leaf in leaves]
    )

  return jax.tree.map(joined, *given)


def stack(*given: types.Tokens) -> types.Tokens:
  """Returns the answers of all, tokens first, padded to one length."""
  N = max(tokens.ids.shape[1] for tokens in given)

  def tight(tokens):
    numpy = types.namespace(tokens.ids)
    order = numpy.argsort(tokens.mask == 0, -1, stable=True)
    pad = ((0, 0), (0, N - order.shape[1]))
    return jax.tree.map(
      lambda leaf: numpy.pad(numpy.take_along_axis(leaf, order, -1), pad),
      tokens,
    )

  return join(*map(tight, given))


def follow(
  prompts: types.Tokens, answers: types.Tokens
) -> tuple[types.Array, types.Array]:
  """Returns ids and tokens seen `[B, P + N]`, prompts padded on the left."""
  numpy = types.namespace(prompts.ids)
  order = numpy.argsort(prompts.mask, -1, stable=True)

  def beside(prompt, answer):
    left = numpy.take_along_axis(prompt, order, -1)
    return numpy.concatenate([left, answer], 1).astype(np.int32)

  return (beside(prompts.ids, answers.ids), beside(prompts.mask, answers.mask))
