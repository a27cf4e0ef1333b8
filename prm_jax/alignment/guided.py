"""Guided decoding: a frozen decoder whose next token a reward helps choose.

At every step the K likeliest tokens are candidates: each is appended, read in
one batched step with copies of the cache, and scored by a `Guide`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder, filtering, sampling
from prm_jax.ops import decoding
from prm_jax.rewards.trajectories import PADDING

Read = Callable[[types.PyTree, types.Array], types.Array]


class Candidates(NamedTuple):
  """The likeliest next tokens of every text, each appended.

  Attributes:
    logits: `[B, K]` of the frozen policy.
    hidden: `[B, K, D]` the decoder's, at the appended token.
    ids: `[B, K, T]` prompt and text, the token appended; PADDING elsewhere.
  """

  logits: types.Array
  hidden: types.Array
  ids: types.Array


class Guide(NamedTuple):
  """A rule; programs are compiled once for each, so it is worth keeping.

  Attributes:
    score: `(context, Candidates) -> [B, K]` the candidates' logits.
    others: whether all other tokens keep theirs; else they are never drawn.
  """

  score: Callable[[Any, Candidates], types.Array]
  others: bool


class Values(NamedTuple):
  """Context of `by_value`: J `coefficients` `[B, J]` of each row's person."""

  params: types.PyTree
  coefficients: types.Array
  beta: types.Scalar


class Reward(NamedTuple):
  """Context of `by_reward`."""

  params: types.PyTree
  weight: types.Scalar


def by_value(value: Read) -> Guide:
  """Returns value-augmented sampling; the context is `Values`.

  Args:
    value: `(params, hidden [..., D]) -> [..., J]` base values of the text that
      ends there: `functools.partial(values.apply, hidden=..., bases=J)`.

  References:
    Han et al. 2024 (VAS), arXiv:2405.06639.
  """

  def score(context, found):
    bases = value(context.params, found.hidden)
    mixed = jnp.einsum('bkj,bj->bk', bases, context.coefficients)
    return decoding.value_augmented(found.logits, mixed, beta=context.beta)

  return Guide(score, others=True)


def by_reward(reward: Read) -> Guide:
  """Returns ARGS with a reward of texts; the context is `Reward`.

  Args:
    reward: `(params, ids [n, T]) -> [n]` of texts, finished or not, PADDING on
      either side; n = B K, the K of a row together.

  References:
    Khanov et al. 2024 (ARGS), arXiv:2402.01694.
  """

  def score(context, found):
    B, K, T = found.ids.shape
    scores = reward(context.params, found.ids.reshape(B * K, T))
    return decoding.args(
      found.logits, scores.reshape(B, K), weight=context.weight, top_k=K
    )

  return Guide(score, others=False)


class _State(NamedTuple):
  step: types.Array
  texts: types.Array  # [B, P + N], a column for each slot of the cache
  hidden: types.Array  # [B, D] at the last token
  cache: decoder.Cache
  stopped: types.Array
  samples: sampling.Samples


_STATIC = ('config', 'guide', 'top_k', 'max_new_tokens', 'stop_ids', 'dtype')


@functools.partial(jax.jit, static_argnames=_STATIC[:3])
def next_logits(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  guide: Guide,
  context: Any,
  ids: types.ArrayLike,
  mask: types.ArrayLike,
  *,
  top_k: int,
) -> tuple[types.Array, types.Array]:
  """Returns next-token logits `[B, V]`: guided, and the policy's; see `sample`.

  Args:
    config: of the policy.
    params: of a `Decoder`.
    guide: the rule.
    context: of the rule.
    ids: `[B, P]` int32, texts so far.
    mask: `[B, P]` 0 for padding, on either side; every row has a token.
    top_k: K.
  """
  model: Any = decoder.Decoder(config)
  state = _begin(model, params, ids, mask, 1)
  return _guided(model, params, guide, context, state, top_k)


@functools.partial(jax.jit, static_argnames=_STATIC)
def sample(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  guide: Guide,
  context: Any,
  prompt_ids: types.ArrayLike,
  prompt_mask: types.ArrayLike,
  *,
  max_new_tokens: int,
  top_k: int,
  temperature: types.Scalar = 1.0,
  stop_ids: tuple[int, ...] = (),
  dtype: Any = jnp.float32,
) -> sampling.Samples:
  """Returns guided continuations of prompts, PADDING after their stop tokens.

  Their `logprob` is under the guided distribution.

  Args:
    key: row r's noise at a step is keyed by fold_in(fold_in(key, r), step).
    config: of the policy.
    params: of a `Decoder`.
    guide: the rule.
    context: of the rule.
    prompt_ids: `[B, P]` int32.
    prompt_mask: `[B, P]` 0 for padding, on either side; every row has a token.
    max_new_tokens: N.
    top_k: K candidates: K + 1 tokens are read for each that is written.
    temperature: of the guided logits; 0 takes the likeliest.
    stop_ids: tokens that end a text.
    dtype: of the policy's computation.
  """
  model: Any = decoder.Decoder(config, dtype)

  def advance(state):
    guided, base = _guided(model, params, guide, context, state, top_k)
    drawn = filtering.filter_logits(guided, temperature)
    keys = jax.vmap(
      lambda row: jax.random.fold_in(jax.random.fold_in(key, row), state.step)
    )(jnp.arange(len(drawn)))
    token = jax.vmap(jax.random.categorical)(keys, drawn).astype(jnp.int32)
    scores = jax.nn.log_softmax(jnp.stack([drawn, base]), -1)
    scores = jnp.take_along_axis(scores, token[None, :, None], -1)[..., 0]
    new = sampling.Samples(token, jnp.ones_like(token), *scores)
    samples = jax.tree.map(
      lambda old, new: old.at[:, state.step].set(
        jnp.where(state.stopped, old[:, state.step], new)
      ),
      state.samples,
      new,
    )
    hidden, cache = _append(model, params, state.texts, token, state.cache)
    texts = state.texts.at[:, state.cache.slot].set(token)
    stopped = state.stopped | jnp.isin(token, jnp.array(stop_ids, jnp.int32))
    return _State(state.step + 1, texts, hidden, cache, stopped, samples)

  return jax.lax.while_loop(
    lambda state: (state.step < max_new_tokens) & ~jnp.all(state.stopped),
    advance,
    _begin(model, params, prompt_ids, prompt_mask, max_new_tokens),
  ).samples


def _begin(model, params, ids, mask, room):
  """Returns the state after prompts, which are made to end in one column."""
  ids, real = decoder.left_padded(ids, mask)
  B, P = ids.shape
  seen = decoder.attended(real.astype(jnp.int32)).mask()
  output = model.apply(
    params,
    ids,
    decoder.counted(real),
    jnp.pad(seen, ((0, 0), (0, 0), (0, 0), (0, room))),
    cache=decoder.empty_cache(model.config, B, P + room, model.dtype),
  )
  empty, zeros = jnp.full((B, room), PADDING), jnp.zeros((B, room))
  texts = jnp.concatenate([jnp.where(real, ids, PADDING), empty], 1)
  samples = sampling.Samples(empty, jnp.zeros_like(empty), zeros, zeros)
  return _State(
    jnp.int32(0),
    texts,
    output.hidden[:, -1],
    output.cache,
    jnp.zeros(B, bool),
    samples,
  )


def _append(model, params, texts, token, cache):
  """Returns hidden states `[R, D]` of tokens `[R]` after texts, and the cache.

  Args:
    model: the decoder.
    params: of it.
    texts: `[R, S]` before the token.
    token: `[R]`.
    cache: of the texts.
  """
  real = texts != PADDING
  seen = real | (jnp.arange(texts.shape[1]) == cache.slot)
  output = model.apply(
    params,
    token[:, None],
    real.sum(-1, keepdims=True),
    seen[:, None, None],
    cache=cache,
  )
  return output.hidden[:, 0], output.cache


def _guided(model, params, guide, context, state, top_k):
  """Returns next-token logits `[B, V]`: guided, and the policy's."""
  base = model.apply(params, state.hidden, method='logits')
  B, V = base.shape
  likely, token = jax.lax.top_k(base, min(top_k, V))
  K, appended = token.shape[1], token.ravel()
  row = jnp.repeat(jnp.arange(B), K)
  texts, cache = state.texts[row], state.cache
  copies = cache.rows(row)
  hidden, _ = _append(model, params, texts, appended, copies)
  texts = texts.at[:, cache.slot].set(appended)
  found = Candidates(likely, hidden.reshape(B, K, -1), texts.reshape(B, K, -1))
  rest = base if guide.others else jnp.full_like(base, -jnp.inf)
  score = guide.score(context, found)
  return rest.at[jnp.arange(B)[:, None], token].set(score), base
