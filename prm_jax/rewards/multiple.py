"""Several reward heads side by side on the same features."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import ensembles
from prm_jax.rewards import backbone


def multiple(reward: types.RewardModel, count: int) -> types.RewardModel:
  """Returns the mean of E = `count` heads, and what they disagree on.

  score is the mean over members `[B, K]`; covariance `[B, K, K]` is the
  population covariance over members, plus the mean of their own where they
  have one. Its `members` gives their scores one by one.

  params: those of `reward`, every leaf with a leading axis E, each member with
  a start of its own. Encodings are `[..., E, J]`. Text is read once: on a
  decoder this goes under the backbone, which stays one,

      backbone.backbone(multiple(head, 5), decoder)

  A member's score has an offset of its own, which no judgement identifies and
  which is in the covariance; it cancels in every difference.

  Args:
    reward: of given features, whose encoding is a vector a text.
    count: E, at least 1.

  Raises:
    ValueError: there is no member, or the reward reads text or writes itself.

  References:
    Lakshminarayanan et al. 2017, arXiv:1612.01474; on a shared trunk Yang et
    al. 2026 (RewardUQ), arXiv:2602.24040.
  """
  if count < 1:
    raise ValueError(f'count {count}: an ensemble has one member at least')
  if reward.features is not types.given_features:
    raise ValueError(
      'members share what reads the text: put `multiple` under the backbone, '
      'backbone(multiple(head, count), decoder)'
    )
  if reward.deliberate is not None:
    raise ValueError('rewards that deliberate have no members')

  def init(key, spec):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))
    return jax.vmap(lambda key: reward.init(key, spec))(keys)

  def encode(params, features):
    return jax.vmap(reward.encode, (0, None), -2)(params, features)

  def score(params, encoded, context):
    found = _each(reward, params, encoded, context)
    covariance = ensembles.covariance(found.score)
    if found.covariance is not None:
      covariance = covariance + ensembles.mean(found.covariance)
    return types.RewardOutput(ensembles.mean(found.score), covariance)

  def each(params, encoded, context):
    return members(reward, params, encoded, context)

  return types.RewardModel(init, encode, score, members=each)


def members(
  reward: types.RewardModel,
  params: types.PyTree,
  encoded: types.PyTree,
  context: types.PyTree,
) -> types.Array:
  """Returns the members' scores, `[B, K, E]`.

  Args:
    reward: of ONE member, as `multiple` was given it.
    params: of `multiple`, with or without a backbone.
    encoded: `[B, K, E, J]` by `multiple`.
    context: one entry a row.
  """
  found = _each(reward, backbone.own(params), encoded, context)
  return jnp.moveaxis(found.score, 0, -1)


def _each(reward, params, encoded, context) -> types.RewardOutput:
  """Returns members' outputs, `[E, B, K]` and `[E, B, K, K]` or None."""
  return jax.vmap(reward.score, (0, -2, None))(params, encoded, context)
