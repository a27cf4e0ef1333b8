"""Thinking about a person before an answer: traces that state what is inferred.

A language model writes traces about a person behind some of their events. A
trace is worth what it predicts: of several the one is kept that ranks pairs of
the person best which it was not written from (`select`). What is kept may be
distilled: an adapter of the person is trained to write the trace and then the
answer (`distillation`).

Traces of nobody in particular (`write` behind nothing), the first that was
written (unselected) and another person's are what a kept one is compared with.

Axis letters: U people, G traces of a person, S tokens of a trace.

References:
  Zhang et al. 2025 (PRIME), arXiv:2507.04607.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import constraints, decoder, lora, sampling
from prm_jax.systems import personal_adapters, personal_memories


def write(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  prompts: types.Tokens,
  *,
  choices: types.ArrayLike,
  adapters: lora.Adapters | None = None,
  temperature: float = 1.0,
  dtype: Any = jnp.float32,
) -> types.Tokens:
  """Returns a trace behind every prompt, `[U, G, S]`.

  Args:
    key: of the draws; a person's hang on it and on their row alone.
    config: of the model.
    params: of the model.
    prompts: `[U, G, P]`, the last token of which asks for a trace; each has
      one.
    choices: `[S, V]` bool, which tokens may stand at each place of a trace.
    adapters: of everybody, leaves `[U, L, ...]`; nobody's if None.
    temperature: of the draws; 0 writes what is likeliest.
    dtype: of the layers' computation.
  """
  known = np.asarray(choices, bool)
  U = len(prompts.ids)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(U))
  run = _writer(config, known.tobytes(), known.shape, temperature, dtype)
  ids, mask = (jnp.asarray(leaf) for leaf in prompts[:2])
  return types.Tokens(*run(keys, params, ids, mask, adapters))


@functools.lru_cache(maxsize=16)
def _writer(config, packed, shape, temperature, dtype):
  """Returns the compiled writing of everybody's traces."""
  choices = np.frombuffer(packed, bool).reshape(shape)

  def one(key, params, ids, mask, own):
    found = sampling.sample(
      key,
      config,
      params,
      ids,
      mask,
      max_new_tokens=len(choices),
      temperature=temperature,
      constraint=constraints.at_places(choices, rows=len(ids)),
      adapters=own,
      filtered=False,
      dtype=dtype,
    )
    return found.ids, found.mask

  return jax.jit(jax.vmap(one, (0, None, 0, 0, 0)))


def select(margin: types.Array, mask: types.Array) -> types.Array:
  """Returns which of G traces ranks a person's pairs best, `[U]` int32.

  That which ranks the most of them right, a tie being half; of equal ones that
  which makes them likeliest, and then the first.

  Args:
    margin: `[U, G, N]` score of the chosen text minus the rejected one's.
    mask: `[U, N]` above 0 for a pair; of whom there is none, the first trace
      is kept.
  """
  there = (jnp.asarray(mask) > 0)[:, None]
  right = jnp.where(there, (jnp.sign(margin) + 1) / 2, 0.0).sum(-1)
  likely = jnp.where(there, jax.nn.log_sigmoid(margin), 0.0)
  number = jnp.maximum(there.sum(-1), 1)
  # Below a half, the least that numbers of right pairs differ by.
  score = right + 0.49 * jnp.exp(likely.sum(-1) / number)
  return jnp.argmax(score, -1).astype(jnp.int32)


def margins(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  before: types.Tokens,
  pairs: types.Tokens,
  *,
  dtype: Any = jnp.float32,
) -> types.Array:
  """Returns by how much pairs are told apart behind traces, `[U, G, N]`, nats.

  Args:
    config: of the model.
    params: of the model; no adapter: one that had learned these pairs would
      need no trace.
    before: `[U, G, S]`.
    pairs: `[U, N, 2, T]`, with `branch`; chosen first.
    dtype: of the layers' computation.
  """
  U, G, _ = before.ids.shape
  N = pairs.ids.shape[1]

  def spread(leaf):
    shape = (U, G, N, leaf.shape[-1])
    return jnp.broadcast_to(leaf[:, :, None], shape).reshape(U, G * N, -1)

  def repeated(leaf):
    leaf = jnp.asarray(leaf)[:, None]
    shape = (U, G, *leaf.shape[2:])
    return jnp.broadcast_to(leaf, shape).reshape(U, G * N, *leaf.shape[3:])

  found = personal_memories.scores(
    config,
    params,
    None,
    jax.tree.map(spread, types.Tokens(*map(jnp.asarray, before[:2]))),
    jax.tree.map(repeated, pairs),
    dtype=dtype,
  )
  return (found[..., 0] - found[..., 1]).reshape(U, G, N)


def kept(traces: types.Tokens, chosen: types.Array) -> types.Tokens:
  """Returns one trace of everybody, `[U, S]`.

  Args:
    traces: `[U, G, S]`.
    chosen: `[U]` int32.
  """
  at = jnp.asarray(chosen)[:, None, None]
  return jax.tree.map(
    lambda leaf: jnp.take_along_axis(jnp.asarray(leaf), at, 1)[:, 0], traces
  )


def distillation(
  prompts: types.Tokens,
  trace: types.Tokens,
  texts: types.Tokens,
  mask: types.Array,
) -> personal_adapters.Events:
  """Returns events that teach a person's adapter to think, and then to answer.

  For `task`: what is learned is the trace that was kept and the chosen answer.

  Args:
    prompts: `[U, E, P]` events and what asks for a trace.
    trace: `[U, S]` of everybody.
    texts: `[U, E, T]` the chosen answers, with `branch`.
    mask: `[U, E]` above 0 for an event.
  """
  said = types.Tokens(
    trace.ids[:, None], trace.mask[:, None], branch=trace.mask[:, None]
  )
  whole = personal_memories.joined(
    types.Tokens(*prompts[:2]), said, types.Tokens(*texts[:2], None, texts[3])
  )
  return personal_adapters.Events(
    jax.tree.map(lambda leaf: leaf[:, :, None], whole), jnp.asarray(mask)
  )
