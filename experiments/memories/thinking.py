"""Traces of a block of people: selected, unselected, generic, distilled."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.memories import fits, people
from prm_jax import memory_rows, types
from prm_jax.models import adapters as banks
from prm_jax.systems import personal_adapters, personal_thinking
from prm_jax.worlds import personal_histories as histories

_TOLD = histories.SHOWN  # events that a trace is written behind
Traces = Mapping[str, types.Tokens]


def held_back(config: Any, events: int) -> int:
  """Returns how many of the latest events choose among traces.

  Args:
    config: of the study.
    events: E of a person.
  """
  return max(1, round(config.traces.held_back * events))


def behind(texts: types.Tokens, places: np.ndarray) -> types.Tokens:
  """Returns events and what asks for a trace behind them, `[U, G, P]`.

  Args:
    texts: `[U, E, T]` chosen texts.
    places: `[U, G, N]` which of them are told, in order of time.
  """
  U, G, N = places.shape
  row = np.arange(U)[:, None, None]
  ids, mask = (
    np.asarray(leaf)[row, places].reshape(U, G, N * leaf.shape[-1])
    for leaf in texts[:2]
  )
  return memory_rows.asking(types.Tokens(ids, mask))


def drawn(
  rng: np.random.Generator,
  people_: int,
  times: int,
  events: int,
  *,
  without: bool = False,
) -> np.ndarray:
  """Returns which events are told, in order of time, `[U, times, N]`.

  Args:
    rng: of the draws.
    people_: U.
    times: draws of each.
    events: E to draw from.
    without: whether the g-th draw is of other events than the g-th.
  """
  order = rng.random((people_, times, events))
  if without:
    order[:, np.arange(times), np.arange(times)] = 2.0
  count = min(_TOLD, events - without)
  return np.sort(np.argsort(order, -1)[..., :count], -1)


def chosen_texts(given: histories.Pairs) -> types.Tokens:
  """Returns what people wrote or chose, `[U, E, T]`."""
  return jax.tree.map(lambda leaf: leaf[:, :, 0], memory_rows.texts(given))


def written(
  config: Any,
  params: types.PyTree,
  key: types.Key,
  rng: np.random.Generator,
  given: histories.Pairs,
) -> tuple[Traces, types.Tokens]:
  """Returns traces as they are told, and the selected as they were written.

  Written behind events before those that are held back, by which the selected
  is chosen; the unselected is the first that was written, and the generic one
  stands behind no events.

  Args:
    config: of the study.
    params: of the base model.
    key: of the words.
    rng: of the events that are told.
    given: events of the block.
  """
  U, E = given.topic.shape
  held, G = held_back(config, E), config.traces.number
  write = functools.partial(
    personal_thinking.write,
    config=fits.sizes(config),
    params=params,
    choices=histories.choices(),
  )
  texts = chosen_texts(people.earlier(given, held))
  many = write(
    jax.random.fold_in(key, 0),
    prompts=behind(texts, drawn(rng, U, G, E - held)),
  )
  pairs = memory_rows.texts(people.last(given, held))
  margin = personal_thinking.margins(
    fits.sizes(config), params, memory_rows.asked(many), pairs
  )
  best = personal_thinking.select(margin, jnp.ones((U, held)))
  selected = personal_thinking.kept(many, best)
  nothing = np.zeros((U, 1, 0), np.int32)
  generic = write(
    jax.random.fold_in(key, 1),
    prompts=memory_rows.asking(types.Tokens(nothing, nothing)),
  )
  first = jnp.zeros(U, jnp.int32)
  return {
    'selected': memory_rows.asked(selected),
    'unselected': memory_rows.asked(personal_thinking.kept(many, first)),
    'generic': memory_rows.asked(personal_thinking.kept(generic, first)),
  }, selected


def lessons(
  rng: np.random.Generator, given: histories.Pairs, trace: types.Tokens
) -> personal_adapters.Events:
  """Returns what teaches adapters to write a trace, and then to answer.

  Every event is answered behind others of the person and the trace.

  Args:
    rng: of the events that are told.
    given: events of the block.
    trace: `[U, S]`, as it was written.
  """
  U, E = given.topic.shape
  texts = chosen_texts(given)
  places = drawn(rng, U, E, E, without=True)
  return personal_thinking.distillation(
    behind(texts, places), trace, texts, jnp.ones((U, E))
  )


def distilled(
  config: Any,
  params: types.PyTree,
  key: types.Key,
  given: histories.Pairs,
  bank: banks.Bank,
) -> types.Tokens:
  """Returns what trained adapters write behind the latest events, as told.

  Args:
    config: of the study.
    params: of the base model.
    key: of nothing: what is likeliest is written.
    given: events of the block.
    bank: of adapters that were trained to.
  """
  U, E = given.topic.shape
  latest = np.arange(max(0, E - _TOLD), E)
  places = np.broadcast_to(latest, (U, 1, len(latest)))
  found = personal_thinking.write(
    key,
    fits.sizes(config),
    params,
    behind(chosen_texts(given), places),
    choices=histories.choices(),
    adapters=bank.people,
    temperature=0.0,
  )
  return memory_rows.asked(
    personal_thinking.kept(found, jnp.zeros(U, jnp.int32))
  )


def facts(trace: types.Tokens, queries: histories.Pairs) -> np.ndarray:
  """Returns the share of statements that are right of each person, `[U]`.

  Of what is liked in the topics that are asked about.

  Args:
    trace: `[U, 1 + A]`, as told.
    queries: Q of the block.
  """
  said = histories.stated(np.asarray(trace.ids)[:, 1:])
  return (said[:, None] == queries.liked).mean((1, 2))
