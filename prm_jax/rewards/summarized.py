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
from prm_jax.models import composed, decoder
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import scalar

POOLS = ('sum', 'last', 'likelihood')
_LOGITS = 1 << 26  # computed at once: every token has one for each other


def summarized(
  *,
  backbone: trunks.Backbone | Mapping[str, Any],
  fields: types.ArrayLike | None = None,
  pool: str = 'sum',
  beta: float = 1.0,
  before: tuple[int, ...] = (),
  after: tuple[int, ...] = (),
) -> types.RewardModel:
  """Returns the reward of candidates behind a summary.

      sum         sum over the tokens t of x of w . h_t(before z after x)
      last        w . h_t of its last token
      likelihood  beta sum over t of log pi(x_t | before z after x_<t)

  The value of the inputs, and what is encoded, are `types.Tokens` `[B, K, T]`,
  prompt and response together, padded anywhere; the context are summaries,
  `types.Tokens` `[B, S]`.

  params: `{'weight': [D], 'backbone': ...}`, and 'adapter' or 'top' where the
  backbone has one; a likelihood has no weight.

  Args:
    backbone: a decoder, over all tokens, which may be plain data.
    fields: `[V, F]` what tokens are made of, see `models.composed`; None.
    pool: of `POOLS`.
    beta: of a likelihood, above 0.
    before: tokens before a summary; a likelihood needs one.
    after: tokens between it and the text.

  Raises:
    ValueError: unknown pool; beta is not above 0; nothing is before.

  References:
    Nam et al. 2025 (PLUS), arXiv:2507.13579, whose pool is 'last'. A sum finds
    each matching word where it stands, which takes a shallow decoder less.
    Chen et al. 2025 (POPI), arXiv:2510.17881: summaries earn what the
    preference loss of a generator that reads them gains.

  Notes:
    A likelihood has no reference model: it stands for one that makes both
    responses of a pair equally likely.
  """
  _check(pool, beta, before)
  node = trunks.given(backbone)
  reader = trunks.under(scalar.linear(), node)
  atoms = node._replace(config=composed.sizes(node.sizes, fields))
  drawn = trunks.under(scalar.linear(), atoms)

  def init(key, spec):
    found = drawn.init(key, spec._replace(features=node.sizes.hidden_size))
    if pool == 'likelihood':
      return {name: leaf for name, leaf in found.items() if name != 'weight'}
    return found

  def encode(params, features):
    del params
    return features

  def score(params, encoded, context):
    B, K, _ = encoded.ids.shape
    whole = composed.composed(params['backbone'], fields)
    params = {**params, 'backbone': whole}
    texts, S = _packed(encoded, context, before, after)
    real = encoded.mask > 0
    places = _scored(pool, texts, real, S)
    texts = texts._replace(end=places.astype(jnp.int32))
    states = reader.features(params, types.Inputs(texts))
    if pool == 'likelihood':
      ids = jnp.asarray(encoded.ids).reshape(-1)
      each = beta * _told(node, params, states, ids)
    else:
      each = reader.encode(params, states)
    each = each.reshape(B, K, -1)
    if pool != 'last':
      each = jnp.where(real, each, 0.0)
    return types.RewardOutput(each.sum(-1))

  return types.RewardModel(init, encode, score)


def _check(pool: str, beta: float, before: tuple[int, ...]) -> None:
  """Raises ValueError where there is no such reward."""
  if pool not in POOLS:
    raise ValueError(f'pool {pool!r}: one of {POOLS}')
  if beta <= 0:
    raise ValueError(f'beta {beta}: above 0')
  if pool == 'likelihood' and not before:
    raise ValueError("pool 'likelihood': a token has to stand `before`")


def _scored(
  pool: str, texts: types.Tokens, real: types.Array, stem: int
) -> types.Array:
  """Returns whose states are read, `[B, K]`, or `[B, K T]` of all tokens.

  Args:
    pool: of `POOLS`.
    texts: `[B, S + K T]` behind their stem.
    real: `[B, K, T]` where their tokens are.
    stem: S.
  """
  B, K, T = real.shape
  if pool == 'last':
    last = T - 1 - jnp.argmax(real[..., ::-1], -1)
    return stem + last + T * jnp.arange(K)
  if pool == 'likelihood':
    return _preceding(texts.mask > 0, stem, K)
  return jnp.broadcast_to(stem + jnp.arange(K * T), (B, K * T))


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


def _preceding(real: types.Array, stem: int, branches: int) -> types.Array:
  """Returns where the token before each of the branches' stands, `[B, K T]`.

  Before the first of a branch it is the last of the stem.

  Args:
    real: `[B, S + K T]`; the stem has a token.
    stem: S.
    branches: K.
  """
  B, length = real.shape
  place = jnp.where(real, jnp.arange(length), -1)
  last = jax.lax.cummax(place[:, :stem], axis=1)[:, -1]
  own = place[:, stem:].reshape(B, branches, -1)
  before = jnp.pad(own[..., :-1], ((0, 0), (0, 0), (1, 0)), constant_values=-1)
  before = jax.lax.cummax(before, axis=2).reshape(B, -1)
  return jnp.where(before < 0, last[:, None], before)


def _told(node, params, states, ids) -> types.Array:
  """Returns log-probabilities `[N]` of tokens behind states, a few at a time.

  Args:
    node: the backbone.
    params: of the reward, over all tokens.
    states: `[N, D]` before each.
    ids: `[N]`.
  """
  network: Any = decoder.Decoder(node.sizes, node.dtype)

  @jax.checkpoint
  def one(given):
    state, token = given
    logits = network.apply(params['backbone'], state, method='logits')
    return logits[token] - jax.nn.logsumexp(logits)

  block = max(_LOGITS // node.sizes.vocab_size, 1)
  if len(ids) <= block:
    return jax.vmap(one)((states, ids))
  return jax.lax.map(one, (states, ids), batch_size=block)
