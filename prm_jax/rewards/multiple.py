"""Several reward heads side by side, on the same features or adapters."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import ensembles
from prm_jax.rewards import backbone

_ADAPTER = 0xADA  # folded into a member's key, for its adapter


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
  _check(reward, count)

  def init(key, spec):
    return jax.vmap(lambda key: reward.init(key, spec))(_keys(key, count))

  def encode(params, features):
    return jax.vmap(reward.encode, (0, None), -2)(params, features)

  def score(params, encoded, context):
    return _together(_each(reward, params, encoded, context))

  def each(params, encoded, context):
    return members(reward, params, encoded, context)

  return types.RewardModel(init, encode, score, members=each)


def adapted(
  reward: types.RewardModel,
  count: int,
  node: backbone.Backbone | Mapping[str, Any],
) -> types.RewardModel:
  """Returns E = `count` heads, each on an adapter of its own of one trunk.

  Scores and covariances are those of `multiple`. Every member reads the text
  with its own low-rank change of the same decoder: features are
  `[..., E, D]`, encodings `[..., E, J]`. A step costs E readings of the text;
  the trunk is held once, and beside it, for the time of a reading, E copies of
  the kernels that adapters change (queries and values).

  params: those of `reward` and `'adapter'`, every leaf with a leading axis E,
  each member with starts of its own; `'backbone'`, the decoder's, without.

  Args:
    reward: of given features, whose encoding is a vector a text.
    count: E, at least 1.
    node: the backbone, whose adapter is what trains; may be plain data.

  Raises:
    ValueError: there is no member, the reward reads text or writes itself, or
      the backbone does not train an adapter.

  References:
    Hu et al. 2021 (LoRA), arXiv:2106.09685; ensembles of adapters as rewards
    in Yang et al. 2026 (RewardUQ), arXiv:2602.24040.
  """
  _check(reward, count)
  trunk = backbone.given(node)
  if trunk.trains != 'adapter':
    raise ValueError(
      f'trains {trunk.trains!r}: members with adapters need adapters that train'
    )
  one = backbone.under(reward, trunk)

  def init(key, spec):
    shared = one.init(key, spec)['backbone']

    def member(key):
      own = jax.random.fold_in(key, _ADAPTER)
      adapter = backbone.adapters(own, shared, trunk.rank, trunk.top)
      return {**reward.init(key, spec), 'adapter': adapter}

    return {**jax.vmap(member)(_keys(key, count)), 'backbone': shared}

  def features(params, inputs):
    if not isinstance(inputs.value, types.Tokens):
      return inputs.value

    def member(adapter):
      parts = {'backbone': params['backbone'], 'adapter': adapter}
      return one.features(parts, inputs)

    return jax.vmap(member, out_axes=-2)(params['adapter'])

  def encode(params, features):
    own = backbone.own(params)
    return jax.vmap(reward.encode, (0, -2), -2)(own, features)

  def score(params, encoded, context):
    own = backbone.own(params)
    return _together(_each(reward, own, encoded, context))

  return types.RewardModel(init, encode, score, features, below=one.below)


def members(
  reward: types.RewardModel,
  params: types.PyTree,
  encoded: types.PyTree,
  context: types.PyTree,
) -> types.Array:
  """Returns the members' scores, `[B, K, E]`.

  Args:
    reward: of ONE member, as `multiple` was given it.
    params: of `multiple`, with or without a backbone, or of `adapted`.
    encoded: `[B, K, E, J]` by the same.
    context: one entry a row.
  """
  found = _each(reward, backbone.own(params), encoded, context)
  return jnp.moveaxis(found.score, 0, -1)


def _check(reward, count) -> None:
  """Refuses what has no members."""
  if count < 1:
    raise ValueError(f'count {count}: an ensemble has one member at least')
  if reward.features is not types.given_features:
    raise ValueError(
      'members share what reads the text: put `multiple` under the backbone, '
      'backbone(multiple(head, count), decoder)'
    )
  if reward.deliberate is not None:
    raise ValueError('rewards that deliberate have no members')


def _keys(key, count) -> types.Key:
  """Returns a key a member, `[E]`."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def _together(found: types.RewardOutput) -> types.RewardOutput:
  """Returns the mean of members' outputs, and their covariance."""
  covariance = ensembles.covariance(found.score)
  if found.covariance is not None:
    covariance = covariance + ensembles.mean(found.covariance)
  return types.RewardOutput(ensembles.mean(found.score), covariance)


def _each(reward, params, encoded, context) -> types.RewardOutput:
  """Returns members' outputs, `[E, B, K]` and `[E, B, K, K]` or None."""
  return jax.vmap(reward.score, (0, -2, None))(params, encoded, context)
