"""POLAR: how close a candidate is to a reference, told by a decoder.

The decoder reads

    reference's prompt, reference, SEPARATOR, prompt, candidate, SCORE

and the score is linear in the hidden state of SCORE. Candidates of one
reference share all that comes before them: they are branches of one sequence,
which see the reference and themselves, not each other.

What the decoder reads of a text is either its token ids `[T]`, or hidden
states `[T, D]` of frozen lower layers, which read each text alone: they are
computed once, and only the layers above see reference and candidate together.
"""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder, packing
from prm_jax.rewards.trajectories import SCORE, SEPARATOR
from prm_jax.users import references


def discriminative(
  *,
  config: decoder.DecoderConfig | Mapping[str, Any],
  embedded: bool = False,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.RewardModel:
  """Returns the reward of being close to references.

  Features are token ids `[..., T]` int, prompt and response, padded on either
  side with -1; or, `embedded`, hidden states `[..., T, F]`, padded with rows
  of zeros, which are normalised and projected where F is not D.
  The context is `users.references.References`. The score of several is the
  mean of their scores; without any, the decoder reads the candidate alone.

  params `{'decoder': ..., 'separator': [D], 'score': [D], 'head': [D]}`, and
  `'project': [F, D]` where F is not D.

  Args:
    config: sizes of the decoder; of the layers above the frozen ones, where
      features are hidden states.
    embedded: whether features are hidden states rather than token ids.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197.

  Notes:
    Separator and score are vectors of their own rather than tokens of the
    vocabulary: the published tokens exist in InternLM2's alone, and a text
    that spells one would be read as one. As published, the head has no bias
    and starts at zero.
  """
  network = decoder.Decoder(sizes(config), dtype, remat)

  def init(key, spec):
    ids = jnp.zeros((1, 1), jnp.int32)
    mask = jnp.ones((1, 1, 1, 1), bool)
    own, other = jax.random.split(key)
    params = with_markers(network.init(own, ids, ids, mask))
    width = params['head'].shape[0]
    if embedded and spec.features != width:
      shape = spec.features, width
      project = jax.random.normal(other, shape) / spec.features**0.5
      params = {**params, 'project': project}
    return params

  def encode(params, features):
    if not embedded:
      return _embed(network.config, params, features)
    if 'project' not in params:
      return features
    features = jnp.asarray(features, jnp.float32)
    square = jnp.mean(features**2, -1, keepdims=True)
    return features * jax.lax.rsqrt(square + 1e-6) @ params['project']

  def score(params, encoded, context):
    B, K = encoded.shape[:2]
    R = context.mask.shape[1]
    chex.assert_shape(context.encoded, (B, R, ...))
    if not R:
      context = _no_reference(encoded)
      R = 1
    # Every reference is a sequence of its own, with the same branches.
    candidates = jnp.repeat(encoded, R, axis=0)
    there = context.mask[..., None, None]
    stems = jnp.where(there > 0, context.encoded, 0.0)
    stems = stems.reshape(B * R, *stems.shape[2:])
    found = _branches(network, params, stems, candidates).reshape(B, R, K)
    # Without any reference all stems are empty, and their scores are equal.
    weight = jnp.where(
      context.mask.sum(1, keepdims=True) > 0, context.mask, 1.0 / R
    )
    mean = jnp.sum(found * weight[..., None], 1) / weight.sum(1)[:, None]
    return types.RewardOutput(mean)

  return types.RewardModel(init, encode, score)


def sizes(
  config: decoder.DecoderConfig | Mapping[str, Any],
) -> decoder.DecoderConfig:
  """Returns the configuration, which may be plain data."""
  if isinstance(config, decoder.DecoderConfig):
    return config
  return decoder.DecoderConfig(**config)


def with_markers(params: types.PyTree) -> types.PyTree:
  """Returns a reward's params from a decoder's: markers and a zero head.

  The markers start as the mean embedding, which means nothing in particular.

  Args:
    params: of a `Decoder`.
  """
  mean = params['params']['embed']['embedding'].mean(0)
  return {
    'decoder': params,
    'separator': mean,
    'score': -mean,
    'head': jnp.zeros_like(mean),
  }


def _no_reference(encoded):
  """Returns an empty reference for every row."""
  B, _, _, D = encoded.shape
  blank = jnp.zeros((B, 1, 1, D), encoded.dtype)
  return references.References(blank, jnp.zeros((B, 1)))


def _embed(config, params, ids):
  """Returns embeddings `[..., T, D]`; rows of zeros where ids are padding."""
  return decoder.embedded(config, params['decoder'], ids)


def _branches(network, params, stems, candidates):
  """Returns scores `[B, K]` of branches that share a stem.

  Args:
    network: the decoder.
    params: of the reward.
    stems: `[B, S, D]` encoded references; rows of zeros are padding.
    candidates: `[B, K, T, D]`.
  """
  B, K, T, D = candidates.shape
  S = stems.shape[1]
  separator = jnp.broadcast_to(params['separator'], (B, 1, D))
  mark = jnp.broadcast_to(params['score'], (B, K, 1, D))
  branches = jnp.concatenate([candidates, mark], 2)
  hidden = jnp.concatenate(
    [stems, separator, branches.reshape(B, K * (T + 1), D)], 1
  )
  real = jnp.any(hidden != 0, -1).at[:, S].set(True)
  last = S + (T + 1) * jnp.arange(1, K + 1)
  real = real.at[:, last].set(True)
  # Positions count real tokens; every branch goes on from the separator.
  stem = jnp.cumsum(real[:, : S + 1], 1)
  within = jnp.cumsum(real[:, S + 1 :].reshape(B, K, T + 1), -1)
  later = stem[:, -1:, None] + within
  positions = jnp.concatenate([stem, later.reshape(B, -1)], 1) - 1
  branch = jnp.concatenate(
    [jnp.zeros(S + 1, jnp.int32), jnp.repeat(jnp.arange(1, K + 1), T + 1)]
  )
  mask = decoder.attended(
    real.astype(jnp.int32), jnp.broadcast_to(branch, real.shape)
  )
  states = _run(network, params, hidden, positions, mask)
  return states[:, last] @ params['head']


def _run(network, params, hidden, positions, mask):
  """Returns the normalised hidden states `[B, T, D]` of inputs."""
  return network.apply(
    params['decoder'], hidden, positions, mask, method='read'
  )


def score_packed(
  params: types.PyTree,
  packed: packing.Packed,
  *,
  config: decoder.DecoderConfig,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Array:
  """Returns the score `[N]` of every branch; NaN where `at` is no SCORE.

  Args:
    params: of the reward.
    packed: from `trajectories.pack`.
    config: as of the reward.
    dtype: as of the reward.
    remat: as of the reward.
  """
  ids = jnp.asarray(packed.ids)
  hidden = _embed(sizes(config), params, ids)
  for marker, name in ((SEPARATOR, 'separator'), (SCORE, 'score')):
    hidden = jnp.where((ids == marker)[..., None], params[name], hidden)
  mask = decoder.attended(
    jnp.asarray(packed.block), jnp.asarray(packed.branch), packed=True
  )
  network = decoder.Decoder(config, dtype, remat)
  states = _run(network, params, hidden, packed.position, mask)
  row, column = jnp.asarray(packed.at).T
  found = states[row, column] @ params['head']
  return jnp.where(ids[row, column] == SCORE, found, jnp.nan)
