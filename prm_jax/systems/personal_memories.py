"""What a scorer is told of a person: memories of them, each of which may lack.

A decoder scores a text by how likely it makes it. A person enters as what
stands in front of the text (recalled events, a summary in words, a trace of
thinking about them) and as an adapter of the decoder. `Parts` says which of
them a method has: what was published as a method, its ablations and its
controls are values of it (`NODES`).

    memories = Memories(events, texts, adapters, traces)
    scores = scored(key, config, params, memories, NODES['dual'], query, texts)

Axis letters: U people, Q queries, K candidates, N events, S and T tokens.

References:
  Zhang et al. 2025 (PRIME), arXiv:2507.04607.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import adapters as banks
from prm_jax.models import decoder
from prm_jax.systems import personal_adapters
from prm_jax.users import episodic

RECALLS = (
  *('recency', 'similarity', 'similarity_then_recency'),
  *('at_random', 'most_complex'),
)
SWAPPED = ('events', 'text', 'adapter', 'trace')
_PEOPLE = 64  # scored at once


class Parts(NamedTuple):
  """What a scorer is told of a person; plain data.

  Attributes:
    recall: one of `RECALLS`, how events are chosen that stand in front; ''
      tells none.
    events: N of them.
    pool: of `similarity_then_recency`.
    text: which of `Memories.texts` stands in front; '' for none.
    adapter: which of `Memories.adapters` changes the decoder; '' for none.
    trace: which of `Memories.traces` stands in front; '' for none.
    swapped: of `SWAPPED`, what is another person's instead: a control.
  """

  recall: str = ''
  events: int = 4
  pool: int = 16
  text: str = ''
  adapter: str = ''
  trace: str = ''
  swapped: tuple[str, ...] = ()


class Memories(NamedTuple):
  """All that is kept of U people.

  Attributes:
    events: whose content is `types.Tokens` `[U, C, T]` of what is told.
    texts: summaries by name, `[U, S]`.
    adapters: banks by name.
    traces: what was inferred of everybody, by name, `[U, S]`.
  """

  events: episodic.Memory
  texts: Mapping[str, types.Tokens]
  adapters: Mapping[str, banks.Bank]
  traces: Mapping[str, types.Tokens]


_TASK = Parts(adapter='task')
_RECENT = Parts(recall='recency')
NODES: Mapping[str, Parts] = {
  'nothing': Parts(),
  **{f'events_{recall}': Parts(recall=recall) for recall in RECALLS},
  'text': Parts(text='counts'),
  'text_latest': Parts(text='latest_counts'),
  'text_and_events': _RECENT._replace(text='counts'),
  **{
    f'adapter_{objective}': Parts(adapter=objective)
    for objective in personal_adapters.OBJECTIVES
  },
  **{
    f'dual_{objective}': _RECENT._replace(adapter=objective)
    for objective in personal_adapters.OBJECTIVES
  },
  **{
    f'trace_{kind}': Parts(trace=kind)
    for kind in ('selected', 'unselected', 'generic')
  },
  'adapter_and_trace': _TASK._replace(trace='selected'),
  'adapter_and_unselected': _TASK._replace(trace='unselected'),
  'adapter_and_generic': _TASK._replace(trace='generic'),
  'events_and_trace': _RECENT._replace(trace='selected'),
  'dual_and_trace': _RECENT._replace(adapter='task', trace='selected'),
  'distilled': _RECENT._replace(adapter='distilled', trace='distilled'),
  'another_events': _RECENT._replace(swapped=('events',)),
  'another_text': Parts(text='counts', swapped=('text',)),
  'another_adapter': _TASK._replace(swapped=('adapter',)),
  'another_trace': Parts(trace='selected', swapped=('trace',)),
  'another_dual': _RECENT._replace(
    adapter='task', trace='selected', swapped=('events', 'adapter', 'trace')
  ),
}


def check(parts: Parts, memories: Memories | None = None) -> None:
  """Refuses parts that are unknown, or that nothing is kept of.

  Args:
    parts: of a method.
    memories: of everybody; only names are looked at if None.

  Raises:
    ValueError: an unknown recall or control, or no such text, adapter or
      trace.
  """
  if parts.recall and parts.recall not in RECALLS:
    raise ValueError(f'recall {parts.recall!r}: one of {RECALLS}')
  if unknown := set(parts.swapped) - set(SWAPPED):
    raise ValueError(f'swapped {sorted(unknown)}: some of {SWAPPED}')
  if memories is None:
    return
  for name, known in (
    ('text', memories.texts),
    ('adapter', memories.adapters),
    ('trace', memories.traces),
  ):
    wanted = getattr(parts, name)
    if wanted and wanted not in known:
      raise ValueError(f'{name} {wanted!r}: one of {sorted(known)}')


def recall(
  key: types.Key, memory: episodic.Memory, query: types.Array, parts: Parts
) -> episodic.Recalled:
  """Returns the events that each query is told, `[U, Q, N]`.

  Args:
    key: of `at_random`.
    memory: of U people.
    query: `[U, Q, D]` embeddings.
    parts: with one of `RECALLS`.
  """
  check(parts)
  count = parts.events
  if parts.recall == 'similarity':
    return episodic.similarity(memory, query, count=count)
  if parts.recall == 'similarity_then_recency':
    return episodic.similarity_then_recency(
      memory, query, count=count, pool=parts.pool
    )
  if parts.recall == 'recency':
    found = episodic.recency(memory, count=count)
  elif parts.recall == 'at_random':
    found = episodic.at_random(key, memory, count=count)
  else:
    found = episodic.most_complex(memory, count=count)
  shape = (*query.shape[:2], count)
  return episodic.Recalled(
    *(jnp.broadcast_to(leaf[:, None], shape) for leaf in found)
  )


def joined(*parts: types.Tokens) -> types.Tokens:
  """Returns texts `[..., T1 + T2 + ...]` of parts `[..., T1]`, `[..., T2]`, ...

  Leading axes are broadcast. What has no `branch` is prompt.
  """
  lead = jnp.broadcast_shapes(*(part.ids.shape[:-1] for part in parts))

  def leaf(name):
    found = []
    for part in parts:
      own = getattr(part, name)
      own = jnp.zeros(part.ids.shape, jnp.int32) if own is None else own
      found.append(jnp.broadcast_to(own, (*lead, own.shape[-1])))
    return jnp.concatenate(found, -1)

  return types.Tokens(leaf('ids'), leaf('mask'), branch=leaf('branch'))


def as_prompt(events: types.Tokens, present: types.Array) -> types.Tokens:
  """Returns events `[..., N, T]` behind each other, `[..., N T]`, as a prompt.

  Args:
    events: what they say; their answers are prompt here.
    present: `[..., N]` above 0 for an event.
  """
  there = (present > 0)[..., None]
  lead = events.ids.shape[:-2]
  size = events.ids.shape[-2] * events.ids.shape[-1]
  mask = jnp.where(there, events.mask, 0).astype(jnp.int32)
  return types.Tokens(
    jnp.reshape(events.ids, (*lead, size)), mask.reshape(*lead, size)
  )


def context(
  key: types.Key, memories: Memories, parts: Parts, query: types.Array
) -> types.Tokens:
  """Returns what stands in front of the texts of each query, `[U, Q, P]`.

  Events in order of time, then the text, then the trace; P is 0 where none of
  them is told. Padding may stand anywhere.

  Args:
    key: of random events.
    memories: of U people.
    parts: that are told.
    query: `[U, Q, D]` embeddings, which events are recalled by.

  Raises:
    ValueError: see `check`.
  """
  check(parts, memories)
  U, Q = query.shape[:2]
  nothing = jnp.zeros((U, Q, 0), jnp.int32)
  told = [types.Tokens(nothing, nothing)]
  if parts.recall:
    memory = memories.events
    if 'events' in parts.swapped:
      memory = another(memory)
    found = recall(key, memory, query, parts)
    found = episodic.earliest_first(memory, found)
    own = episodic.take(memory, found)
    told.append(as_prompt(own.content, found.mask))
  for name, known in (('text', memories.texts), ('trace', memories.traces)):
    if chosen := getattr(parts, name):
      words = known[chosen]
      words = another(words) if name in parts.swapped else words
      # Prompt, whatever it was when it was written.
      told.append(types.Tokens(words.ids[:, None], words.mask[:, None]))
  return joined(*told)


def another(everybody: types.PyTree) -> types.PyTree:
  """Returns what is kept of everybody, of the next person instead.

  Args:
    everybody: leaves `[U, ...]`; of one person it stays their own.
  """
  return jax.tree.map(lambda leaf: jnp.roll(leaf, -1, 0), everybody)


@functools.lru_cache(maxsize=16)
def _scorer(config, dtype):
  """Returns the compiled scores of some people, a block of them at a time."""

  def one(params, own, before, texts):
    before = jax.tree.map(lambda leaf: leaf[:, None], before)
    whole = joined(before, texts)
    return personal_adapters.scores(config, params, own, whole, dtype)

  @jax.jit
  def run(params, own, before, texts):
    return jax.lax.map(
      lambda person: one(params, *person),
      (own, before, texts),
      batch_size=min(_PEOPLE, len(texts.ids)),
    )

  return run


def scores(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  adapters: Any,
  before: types.Tokens,
  texts: types.Tokens,
  *,
  dtype: Any = jnp.float32,
) -> types.Array:
  """Returns log-probabilities `[U, Q, K]` of answers, nats.

  Args:
    config: of the base model.
    params: of the base model.
    adapters: of everybody, leaves `[U, L, ...]`; the base model alone if None.
    before: `[U, Q, P]`, see `context`.
    texts: `[U, Q, K, T]`, with `branch`.
    dtype: of the layers' computation.
  """
  if not len(texts.ids):
    return jnp.zeros(texts.ids.shape[:-1])
  before = jax.tree.map(jnp.asarray, before)
  return _scorer(config, dtype)(params, adapters, before, texts)


def scored(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  memories: Memories,
  parts: Parts,
  query: types.Array,
  texts: types.Tokens,
  *,
  dtype: Any = jnp.float32,
) -> types.Array:
  """Returns scores `[U, Q, K]` of candidates with what is told of people.

  Args:
    key: of random events.
    config: of the base model.
    params: of the base model.
    memories: of U people.
    parts: that are told.
    query: `[U, Q, D]` embeddings.
    texts: `[U, Q, K, T]`, with `branch`.
    dtype: of the layers' computation.

  Raises:
    ValueError: see `check`.
    OtherBaseError: the adapters are of another base model.
  """
  before = context(key, memories, parts, query)
  own = None
  if parts.adapter:
    bank = memories.adapters[parts.adapter]
    banks.check(bank, config, params)
    swapped = 'adapter' in parts.swapped
    own = another(bank.people) if swapped else bank.people
  return scores(config, params, own, before, texts, dtype=dtype)


def forget(memories: Memories, people: types.Array) -> Memories:
  """Returns the memories as if nothing had ever been known of some people.

  Args:
    memories: of U people.
    people: `[P]` rows.
  """
  where = jnp.asarray(people)

  def clear(leaf):
    return jnp.asarray(leaf).at[where].set(jnp.zeros((), leaf.dtype))

  return Memories(
    episodic.forget(memories.events, where),
    jax.tree.map(clear, memories.texts),
    {
      name: banks.forget(bank, where)
      for name, bank in memories.adapters.items()
    },
    jax.tree.map(clear, memories.traces),
  )


def bytes_per_person(memories: Memories, parts: Parts) -> int:
  """Returns how many bytes of a person a method keeps.

  Args:
    memories: of U people.
    parts: that are told; the whole memory of events where any is recalled.
  """
  check(parts, memories)
  kept: list[Any] = [memories.events] if parts.recall else []
  kept += [memories.texts[parts.text]] if parts.text else []
  kept += [memories.traces[parts.trace]] if parts.trace else []
  total = sum(leaf.nbytes // len(leaf) for leaf in jax.tree.leaves(kept))
  if parts.adapter:
    total += banks.bytes_per_person(memories.adapters[parts.adapter])
  return total
