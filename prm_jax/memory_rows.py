"""`worlds.personal_histories` as memories of people and their scorer take it.

A base model reads, in this order and each of them or not: events of a person,
statements of what they like behind `ASK`, and a text. It has learned so from
strangers (`base`), and knows nobody.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import counting
from prm_jax.rewards import implicit_decoder
from prm_jax.systems import personal_adapters, personal_memories
from prm_jax.users import episodic
from prm_jax.worlds import personal_histories as histories

SIZES = decoder.DecoderConfig(
  vocab_size=histories.VOCABULARY,
  hidden_size=48,
  intermediate_size=128,
  num_hidden_layers=2,
  num_attention_heads=4,
  num_key_value_heads=4,
  head_dim=12,
  rope_theta=100.0,
  query_key_norm=True,
  embedding_std=0.5,
)


def texts(given: histories.Pairs, *, prompt: int = 0) -> types.Tokens:
  """Returns texts `[U, N, 2, T]`, chosen first, and what is their answer.

  Args:
    given: N pairs of everybody.
    prompt: words of a text that count to its prompt.
  """
  ids = histories.texts(given)
  part = np.broadcast_to(histories.parts(prompt), ids.shape)
  return types.Tokens(ids, np.ones_like(ids), branch=part)


def trained_on(
  given: histories.Pairs, *, objective: str
) -> personal_adapters.Events:
  """Returns events as adapters are trained on them.

  Args:
    given: E of everybody.
    objective: of the adapter; for `input_only` the first half of the words is
      the prompt, for a topic alone says nothing of who wrote in it.
  """
  half = histories.ATTRIBUTES // 2 if objective == 'input_only' else 0
  tokens = jax.tree.map(jnp.asarray, texts(given, prompt=half))
  return personal_adapters.Events(tokens, jnp.ones(given.topic.shape))


def kept(
  given: histories.Pairs,
  *,
  capacity: int,
  complexity: types.ArrayLike | None = None,
) -> episodic.Memory:
  """Returns the memory of everybody's chosen texts, in order of time.

  Args:
    given: E of everybody.
    capacity: C that are kept.
    complexity: `[U, E]` of each text, such as its surprise; all alike if None.
  """
  tokens = jax.tree.map(
    lambda leaf: jnp.asarray(leaf[:, :, 0]), texts(given)._replace(branch=None)
  )
  U, E = given.topic.shape
  time = jnp.broadcast_to(jnp.arange(E, dtype=jnp.float32), (U, E))
  embedding = jnp.asarray(histories.embeddings(given))
  alike = jnp.ones((U, E))
  known = alike if complexity is None else jnp.asarray(complexity)
  events = episodic.Events(embedding, time, known, alike, tokens)
  one = jax.tree.map(lambda leaf: np.zeros(leaf.shape[2:], np.int32), tokens)
  blank = episodic.empty(U, capacity, embedding.shape[-1], one)
  return episodic.append(blank, events)


def stated(value: types.ArrayLike, mask: types.ArrayLike) -> types.Tokens:
  """Returns statements `[..., 1 + A]`, `ASK` first; no token where none is.

  Args:
    value: `[..., A]`.
    mask: `[..., A]` above 0 for what is stated.
  """
  ids = histories.statements(np.asarray(value))
  there = np.asarray(mask) > 0
  ask = np.full((*ids.shape[:-1], 1), histories.ASK)
  ids = np.concatenate([ask, ids], -1).astype(np.int32)
  mask = np.concatenate([there.any(-1, keepdims=True), there], -1)
  return types.Tokens(ids, mask.astype(np.int32))


def counted(given: histories.Pairs, *, last: int | None = None) -> types.Tokens:
  """Returns statements `[U, 1 + A]` of what was chosen most often.

  Args:
    given: E of everybody, in order of time.
    last: how many of the latest count; all if None.
  """
  count = functools.partial(
    counting.most_frequent, size=histories.VALUES, last=last
  )
  chosen = jnp.asarray(given.value[:, :, 0])
  found = jax.vmap(count)(chosen, jnp.ones(given.topic.shape))
  return stated(*found)


def asking(events: types.Tokens) -> types.Tokens:
  """Returns what asks for a trace behind events, `[..., P + 1]`.

  Args:
    events: `[..., P]`.
  """
  ask = np.full((*events.ids.shape[:-1], 1), histories.ASK, np.int32)
  behind = types.Tokens(ask, np.ones_like(ask))
  return personal_memories.joined(events, behind)._replace(branch=None)


def asked(trace: types.Tokens) -> types.Tokens:
  """Returns traces as they are told: behind `ASK`, `[..., 1 + A]`.

  Args:
    trace: `[..., A]`, as it was written.
  """
  nothing = np.zeros((*trace.ids.shape[:-1], 0), np.int32)
  head = asking(types.Tokens(nothing, nothing))
  return personal_memories.joined(head, trace)._replace(branch=None)


def demonstrations(given: histories.Shown) -> types.Tokens:
  """Returns what a base model learns from, `[B, T]`.

  Learned (`branch`) is all but topics and `ASK`.

  Args:
    given: B.
  """
  events = jax.tree.map(lambda leaf: leaf[:, :, 0], texts(given.events))
  there = given.given[..., None]
  words = stated(given.stated, given.told)
  said = np.arange(words.ids.shape[-1]) > 0
  text = jax.tree.map(lambda leaf: leaf[:, 0, 0], texts(given.text))
  B = len(text.ids)

  def flat(leaf):
    return np.where(there, leaf, 0).reshape(B, -1)

  whole = [
    (events.ids.reshape(B, -1), words.ids, text.ids),
    (flat(events.mask), words.mask, text.mask),
    (flat(events.branch), words.mask * said, text.branch),
  ]
  ids, mask, part = (
    np.concatenate(leaves, 1).astype(np.int32) for leaves in whole
  )
  return types.Tokens(ids, mask, branch=part)


def base(
  seed: int,
  sizes: decoder.DecoderConfig = SIZES,
  *,
  steps: int = 700,
  batch: int = 48,
  rate: float = 3e-3,
  topical: float = 0.3,
) -> tuple[types.PyTree, np.ndarray]:
  """Returns the params of a base model, and its losses `[steps]`, nats a token.

  Args:
    seed: of the start and of what is shown.
    sizes: of the decoder.
    steps: of AdamW, with a cosine.
    batch: demonstrations of a step, of strangers that are never seen again.
    rate: of AdamW, at the start.
    topical: of the strangers.
  """
  network = decoder.Decoder(sizes)
  ids = jnp.zeros((1, 2), jnp.int32)
  params = jax.jit(network.init)(
    jax.random.key(seed), ids, ids, decoder.attended(ids + 1)
  )
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(optax.cosine_decay_schedule(rate, max(steps, 1)), b2=0.98),
  )

  def loss(params, tokens):
    logprob, part = implicit_decoder.token_logprobs(network, params, tokens)
    read = part > 0
    return -jnp.sum(jnp.where(read, logprob, 0.0)) / jnp.sum(read)

  @jax.jit
  def step(params, moments, tokens):
    value, gradient = jax.value_and_grad(loss)(params, tokens)
    change, moments = optimizer.update(gradient, moments, params)
    return optax.apply_updates(params, change), moments, value

  rng = np.random.default_rng(seed)
  moments: Any = optimizer.init(params)
  losses = []
  for _ in range(steps):
    tokens = demonstrations(histories.shown(rng, batch, topical))
    params, moments, value = step(params, moments, tokens)
    losses.append(value)
  return params, np.asarray(losses)
