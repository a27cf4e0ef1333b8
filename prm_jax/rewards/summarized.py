"""The reward of a text for a person whose summary a decoder reads before it.

The person enters the trunk, so that texts cannot be encoded without them: the
encoded candidates are `types.Tokens`, and `score` runs the decoder. A row's
summary is read once for all its candidates, which do not see each other.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import composed
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import scalar

POOLS = ('sum', 'last')


def summarized(
  *,
  backbone: trunks.Backbone | Mapping[str, Any],
  fields: types.ArrayLike | None = None,
  pool: str = 'sum',
  before: tuple[int, ...] = (),
  after: tuple[int, ...] = (),
) -> types.RewardModel:
  """Returns the reward of candidates behind a summary, linear in the states.

      score(x | z) = sum over the tokens t of x of w . h_t(before z after x)

  or w . h_t of its last token. The value of the inputs, and what is encoded,
  are `types.Tokens` `[B, K, T]`, prompt and response together, padded
  anywhere; the context are summaries, `types.Tokens` `[B, S]`.

  params: `{'weight': [D], 'backbone': ...}`, and 'adapter' or 'top' where the
  backbone has one.

  Args:
    backbone: a decoder, over all tokens, which may be plain data.
    fields: `[V, F]` what tokens are made of, see `models.composed`; None.
    pool: which tokens are scored, 'sum' or 'last'.
    before: tokens before a summary.
    after: tokens between it and the text.

  Raises:
    ValueError: unknown pool.

  References:
    Nam et al. 2025 (PLUS), arXiv:2507.13579, whose pool is 'last'. A sum finds
    each matching word where it stands, which takes a shallow decoder less.
  """
  if pool not in POOLS:
    raise ValueError(f'pool {pool!r}: one of {POOLS}')
  node = trunks.given(backbone)
  reader = trunks.under(scalar.linear(), node)
  atoms = node._replace(config=composed.sizes(node.sizes, fields))
  drawn = trunks.under(scalar.linear(), atoms)

  def init(key, spec):
    return drawn.init(key, spec._replace(features=node.sizes.hidden_size))

  def encode(params, features):
    del params
    return features

  def score(params, encoded, context):
    B, K, T = encoded.ids.shape
    whole = composed.composed(params['backbone'], fields)
    params = {**params, 'backbone': whole}
    texts, S = _packed(encoded, context, before, after)
    real = encoded.mask > 0
    own = jnp.arange(K * T).reshape(K, T)
    if pool == 'last':
      last = T - 1 - jnp.argmax(real[..., ::-1], -1)
      places = last + T * jnp.arange(K)  # [B, K]
    else:
      places = jnp.broadcast_to(own.ravel(), (B, K * T))
    texts = texts._replace(end=(S + places).astype(jnp.int32))
    states = reader.features(params, types.Inputs(texts))
    each = reader.encode(params, states).reshape(B, K, -1)
    if pool == 'sum':
      each = jnp.where(real, each, 0.0)
    return types.RewardOutput(each.sum(-1))

  return types.RewardModel(init, encode, score)


def _packed(
  encoded: types.Tokens,
  context: types.Tokens,
  before: tuple[int, ...],
  after: tuple[int, ...],
) -> tuple[types.Tokens, int]:
  """Returns candidates as branches of their summary, and the stem's length."""
  B, K, T = encoded.ids.shape

  def fixed(tokens):
    ids = jnp.broadcast_to(jnp.asarray(tokens, jnp.int32), (B, len(tokens)))
    return types.Tokens(ids, jnp.ones_like(ids))

  flat = jax.tree.map(lambda leaf: leaf.reshape(B, K * T), encoded)
  parts = (fixed(before), context, fixed(after), flat)
  ids, mask = (
    jnp.concatenate([jnp.asarray(leaf, jnp.int32) for leaf in leaves], 1)
    for leaves in zip(*(part[:2] for part in parts), strict=True)
  )
  S = ids.shape[1] - K * T
  branch = jnp.concatenate(
    [jnp.zeros(S, jnp.int32), 1 + jnp.arange(K * T) // T]
  )
  return types.Tokens(ids, mask, branch=jnp.broadcast_to(branch, ids.shape)), S
