"""From texts to what a reward scores: the only door."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.users import references


def encoded(
  reward: types.RewardModel, params: types.PyTree, inputs: types.Inputs
) -> types.PyTree:
  """Returns the encoded candidates of every row, leaves `[B, K, ...]`.

  Args:
    reward: features and encoding.
    params: of the reward.
    inputs: of a batch.
  """
  return read(reward, params, inputs)[1]


def read(
  reward: types.RewardModel, params: types.PyTree, inputs: types.Inputs
) -> tuple[types.PyTree, types.PyTree]:
  """Returns features and encoded candidates of every row, `[B, K, ...]`.

  The only door from texts to a loss. Of texts that an index points into,
  fewer are encoded: all M, or the B K that are pointed at.

  Args:
    reward: features and encoding.
    params: of the reward.
    inputs: of a batch; without an index, tokens `[B, T]` with K score
      positions `end` `[B, K]` are rows of K candidates.
  """
  index, value = inputs.index, inputs.value
  packed = isinstance(value, types.Tokens) and value.end is not None
  if index is None:
    found = _read(reward, params, value)
    if not packed:
      return found
    # A row's text has all its candidates: the steps of an answer.
    return jax.tree.map(
      lambda leaf: leaf.reshape(*value.end.shape, *leaf.shape[1:]), found
    )
  texts = len(jax.tree.leaves(value)[0])
  if index.size < texts and not packed:
    value = jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], value)
    return _read(reward, params, value)
  every = _read(reward, params, value)
  return jax.tree.map(lambda leaf: leaf[index], every)


def _read(reward, params, value):
  features = reward.features(params, types.Inputs(value))
  return features, reward.encode(params, features)


def margins(
  reward: types.RewardModel, params: types.PyTree, encoded: types.PyTree
) -> types.Array:
  """Returns score(first) - score(second) `[B]`, given the further candidates.

  Args:
    reward: whose context is `users.references.References`.
    params: of the reward.
    encoded: `[B, 2 + R, ...]` a pair and its references; R may be 0.
  """
  known = references.given(encoded)
  score = reward.score(params, encoded[:, :2], known).score
  return score[:, 0] - score[:, 1]
