"""A person as a summary of their history, in words that a person can read.

A language model writes it, on the host and for many people at once (`settle`);
what is served only reads it. Whoever a summary is about may edit it: an edited
one stays as it is, whatever is told afterwards, until it is released.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import (
  composed,
  constraints,
  decoder,
  lora,
  prefixes,
  sampling,
)
from prm_jax.users import records

_PEOPLE = 256  # written about at once


class Writer(NamedTuple):
  """What writes summaries, and in which words.

  Attributes:
    config: sizes of the decoder, over all tokens.
    max_new_tokens: N of a summary.
    stop_ids: tokens that end one; the first of them alone is the empty summary.
    ask: tokens behind a history, which ask for a summary.
    statements: tokens that a summary may have, none of them twice; anything,
      if there are none.
    fields: `[V, F]` what tokens are made of, see `models.composed`; None.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.
    rank: of LoRA on queries and values, which alone learns; with 0 there is
      none, and the decoder learns whole.
  """

  config: decoder.DecoderConfig
  max_new_tokens: int
  stop_ids: tuple[int, ...]
  ask: tuple[int, ...] = ()
  statements: tuple[int, ...] = ()
  fields: Any = None
  dtype: Any = jnp.float32
  remat: bool = False
  rank: int = 0

  @property
  def empty(self) -> types.Tokens:
    """The summary that says nothing, `[N]`: it ends at once."""
    ids = np.zeros(self.max_new_tokens, np.int32)
    ids[:1] = self.stop_ids[0]
    return types.Tokens(ids, (np.arange(len(ids)) < 1).astype(np.int32))

  def constraint(self, rows: int) -> constraints.Constraint | None:
    """Returns what summaries `[R, N]` may say; None if anything."""
    if not self.statements:
      return None
    return constraints.once(
      self.statements,
      rows=rows,
      vocabulary=self.config.vocab_size,
      ends=self.stop_ids,
    )

  def params(self, key: types.Key) -> types.PyTree:
    """Returns the parameters of a decoder that is drawn.

    `{'backbone': the decoder's, 'adapter': ...}` where there are adapters.
    """
    model: Any = decoder.Decoder(composed.sizes(self.config, self.fields))
    ids = jnp.zeros((1, 2), jnp.int32)
    whole = model.init(key, ids, ids, decoder.attended(ids + 1))
    if not self.rank:
      return whole
    own = lora.init(jax.random.fold_in(key, 0xAD), whole, rank=self.rank)
    return {'backbone': whole, 'adapter': own}


class State(NamedTuple):
  """What is kept of a person.

  Attributes:
    events: their last E events, leaves `[E, T]`; the latest is the last.
    text: their summary, leaves `[N]`.
    told: int32, events ever told.
    edited: 1 where somebody edited the summary, and did not release it.
    due: 1 where events were told since it was written.
  """

  events: types.Tokens
  text: types.Tokens
  told: types.Array
  edited: types.Array
  due: types.Array


def summaries(
  *,
  writer: Writer,
  capacity: int = 64,
  width: int = 1,
  temperature: float = 0.0,
) -> types.UserModel:
  """Returns the user model whose context is a summary, `types.Tokens`.

  params are those of the writer's decoder. Evidence are `types.Event`s. Of
  whom nothing is known the summary is the empty one, and is written by nobody.

  Args:
    writer: of summaries.
    capacity: E, events that are kept; the oldest give way, and `update` says
      how many have.
    width: T tokens of an event; longer ones are cut, at their ends.
    temperature: of the draws; 0 writes what is likeliest.

  References:
    Nam et al. 2025 (PLUS), arXiv:2507.13579.
  """

  def init(key, spec):
    del spec
    return writer.params(key)

  def prior(params):
    del params
    nothing = jnp.zeros((capacity, width), jnp.int32)
    text = jax.tree.map(jnp.asarray, writer.empty)
    zero = jnp.zeros(())
    return State(types.Tokens(nothing, nothing), text, jnp.int32(0), zero, zero)

  def update(key, params, state, evidence):
    del key, params
    state = _told(state, evidence)
    dropped = jnp.maximum(state.told - capacity, 0)
    return state, {'dropped': dropped}

  def context(params, state):
    del params
    return state.text

  def settle(key, params, states):
    due = (np.asarray(states.due) > 0) & (np.asarray(states.edited) == 0)
    chosen = np.flatnonzero(due)
    ids, mask = (np.array(leaf) for leaf in states.text[:2])
    whole = composed.composed(params, writer.fields)
    for first in range(0, len(chosen), _PEOPLE):
      some = chosen[first : first + _PEOPLE]
      # Of few shapes, since each is compiled: copies of the first are written.
      R = prefixes.rounded(len(some), _PEOPLE)
      rows = np.concatenate([some, np.full(R - len(some), some[0])])
      history = types.Tokens(
        *(np.asarray(leaf)[rows].reshape(R, -1) for leaf in states.events[:2])
      )
      found = write(
        key, writer, whole, history, row_ids=rows, temperature=temperature
      )
      ids[some], mask[some] = (
        np.asarray(leaf)[: len(some)] for leaf in found[:2]
      )
    return states._replace(
      text=types.Tokens(ids, mask),
      due=np.where(due, 0.0, states.due).astype(np.float32),
    )

  return types.UserModel(init, prior, update, context, None, settle)


def _told(state: State, evidence: types.Event) -> State:
  """Returns the state after more events; those that are masked are skipped."""
  E, T = state.events.ids.shape
  real = evidence.mask > 0
  count = real.sum().astype(jnp.int32)

  def fitted(leaf):
    leaf = jnp.asarray(leaf)[:, :T]
    return jnp.pad(leaf, ((0, 0), (0, T - leaf.shape[1])))

  mask = fitted(evidence.tokens.mask) * real[:, None].astype(jnp.int32)
  ids = fitted(evidence.tokens.ids) * mask
  ids = jnp.concatenate([state.events.ids, ids])
  mask = jnp.concatenate([state.events.mask, mask])
  # What is there moves to the end, in its order.
  there = jnp.concatenate([state.events.mask.any(1), real])
  order = jnp.argsort(there, stable=True)[-E:]
  return state._replace(
    events=types.Tokens(ids[order], mask[order]),
    told=state.told + count,
    due=jnp.where(count > 0, 1.0, state.due),
  )


def edited(state: State, text: types.Tokens) -> State:
  """Returns the state with a summary that somebody wrote, which stays.

  On the host, as `settle`.

  Args:
    state: of one person.
    text: `[N']`, padded anywhere.

  Raises:
    SummaryError: it has more tokens than a summary: it would be cut without a
      word.
  """
  N = state.text.ids.shape[-1]
  said = np.asarray(text.ids, np.int32)[np.asarray(text.mask) > 0]
  if len(said) > N:
    raise records.SummaryError(
      f'the summary has {len(said):,} tokens, and {N:,} are read: shorten it'
    )
  ids, mask = np.zeros((2, N), np.int32)
  ids[: len(said)], mask[: len(said)] = said, 1
  return state._replace(
    text=types.Tokens(jnp.asarray(ids), jnp.asarray(mask)), edited=jnp.ones(())
  )


def released(state: State) -> State:
  """Returns the state whose summary is written anew when people are settled."""
  return state._replace(
    edited=jnp.zeros(()), due=(state.told > 0).astype(jnp.float32)
  )


def asked(writer: Writer, history: types.Tokens) -> types.Tokens:
  """Returns histories `[B, H]` with what asks for a summary behind them."""
  numpy = types.namespace(history.ids)
  B, ask = len(history.ids), numpy.asarray(writer.ask, dtype=np.int32)
  behind = numpy.broadcast_to(ask, (B, len(ask)))
  return types.Tokens(
    numpy.concatenate([history.ids, behind], 1),
    numpy.concatenate([history.mask, numpy.ones_like(behind)], 1),
  )


def write(
  key: types.Key,
  writer: Writer,
  params: types.PyTree,
  history: types.Tokens,
  *,
  count: int = 1,
  row_ids: types.ArrayLike | None = None,
  temperature: float = 1.0,
) -> types.Tokens:
  """Returns `count` summaries of every history, those of one side by side.

  A history is read once for all of its summaries.

  Args:
    key: of the draws.
    writer: of summaries.
    params: of its decoder, composed.
    history: `[B, H]`, padded anywhere.
    count: G; `[B G, N]` in all.
    row_ids: `[B G]`, see `sampling.sample`.
    temperature: of the draws.
  """
  prompts = asked(writer, history)
  source = np.repeat(np.arange(len(prompts.ids)), count)
  found = sampling.sample(
    key,
    writer.config,
    params,
    prompts.ids,
    prompts.mask,
    max_new_tokens=writer.max_new_tokens,
    stop_ids=writer.stop_ids,
    source=source,
    row_ids=row_ids,
    constraint=writer.constraint(len(source)),
    temperature=temperature,
    filtered=False,
    dtype=writer.dtype,
  )
  return types.Tokens(found.ids, found.mask)
