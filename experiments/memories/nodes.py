"""All that may be told of people, and how well each predicts them."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.memories import fits, people, thinking
from prm_jax import memory_rows, types
from prm_jax.lab import units
from prm_jax.systems import personal_memories
from prm_jax.worlds import personal_histories as histories

Arrays = dict[str, np.ndarray]
Parts = personal_memories.Parts

# What a trace is put on top of, and traces.
BASES = {
  'nothing': Parts(),
  'events': personal_memories.NODES['events_recency'],
  'adapter': personal_memories.NODES['adapter_task'],
  'dual': personal_memories.NODES['dual_task'],
}
THOUGHTS: Mapping[str, Mapping[str, Any]] = {
  'selected': {'trace': 'selected'},
  'unselected': {'trace': 'unselected'},
  'generic': {'trace': 'generic'},
  "another's": {'trace': 'selected', 'swapped': ('trace',)},
}


def labelled(parts: Parts) -> str:
  """Returns what parts are called; of what is published its own name."""
  for label, known in personal_memories.NODES.items():
    if known == parts:
      return label
  if len(parts.swapped) > 1:
    raise ValueError(f'no name for {parts}')
  base = next(
    base
    for base, known in BASES.items()
    if known == parts._replace(trace='', swapped=())
  )
  kind = 'another' if parts.swapped else parts.trace
  return f'{base}_and_{kind}'


def thought(base: str, kind: str) -> Parts:
  """Returns parts with a trace on top, of `BASES` and of `THOUGHTS`."""
  return BASES[base]._replace(**THOUGHTS[kind])


NODES: dict[str, Parts] = {
  **personal_memories.NODES,
  **{
    labelled(thought(base, kind)): thought(base, kind)
    for base in BASES
    for kind in THOUGHTS
  },
}


class Asked:
  """Queries of a block, and what they are asked with."""

  def __init__(
    self, config: Any, params: types.PyTree, queries: histories.Pairs
  ):
    """Keeps what every node is scored with."""
    self.sizes, self.params = fits.sizes(config), params
    self.query = jnp.asarray(histories.embeddings(queries))
    self.texts = memory_rows.texts(queries)

  def __call__(
    self, key: types.Key, memories: personal_memories.Memories, parts: Parts
  ) -> tuple[np.ndarray, float]:
    """Returns how often everybody is predicted right, `[U]`, and CPU seconds.

    Args:
      key: of random events.
      memories: of the block.
      parts: that are told.
    """
    began = time.process_time()
    found = personal_memories.scored(
      key, self.sizes, self.params, memories, parts, self.query, self.texts
    )
    found = jax.block_until_ready(found)
    return fits.right(found), time.process_time() - began


def surprise(
  config: Any, params: types.PyTree, given: histories.Pairs
) -> np.ndarray:
  """Returns how unlikely the base model finds each event, `[U, E]`, nats."""
  texts = thinking.chosen_texts(given)
  texts = jax.tree.map(lambda leaf: leaf[:, :, None], texts)
  nothing = np.zeros((*given.topic.shape, 0), np.int32)
  found = personal_memories.scores(
    fits.sizes(config), params, None, types.Tokens(nothing, nothing), texts
  )
  return -np.asarray(found[..., 0])


def words_of(config: Any, given: histories.Pairs) -> dict[str, types.Tokens]:
  """Returns texts about people: what all, and what the latest events say."""
  return {
    'counts': memory_rows.counted(given),
    'latest_counts': memory_rows.counted(given, last=config.latest),
  }


def remembered(
  config: Any,
  params: types.PyTree,
  seed: int,
  number: int,
  given: histories.World,
  hyper: Mapping[str, Mapping[str, float]],
) -> tuple[personal_memories.Memories, dict[str, float]]:
  """Returns all memories of a block, and CPU seconds of training adapters.

  Args:
    config: of the study.
    params: of the base model.
    seed: of the study.
    number: of the block.
    given: the block.
    hyper: searched numbers of each objective.
  """
  size = fits.longest(config)
  bank, seconds = {}, {}
  for objective in fits.OBJECTIVES:
    events = memory_rows.trained_on(given.events, objective=objective)
    bank[objective], seconds[objective] = fits.adapter(
      config,
      params,
      seed,
      fits.padded(events, size),
      objective,
      hyper[objective],
    )
  rng = np.random.default_rng([seed, number])
  key = jax.random.fold_in(jax.random.key(seed), number)
  traces, selected = thinking.written(config, params, key, rng, given.events)
  lessons = thinking.lessons(rng, given.events, selected)
  bank['distilled'], seconds['distilled'] = fits.adapter(
    config,
    params,
    seed,
    fits.padded(lessons, size),
    'task',
    hyper['task'],
    batch=config.traces.batch,
  )
  own = thinking.distilled(config, params, key, given.events, bank['distilled'])
  kept = memory_rows.kept(
    given.events,
    capacity=given.events.topic.shape[1],
    complexity=surprise(config, params, given.events),
  )
  return personal_memories.Memories(
    kept, words_of(config, given.events), bank, {**traces, 'distilled': own}
  ), seconds


def run(config: Any, folder: units.Folder, place: str, seed: int) -> units.Unit:
  """Returns how well everything that may be told predicts people of a world.

  Arrays `right|NODE` and `facts|TRACE` are `[U]`, and so is what can be known:
  `best|read`, by who has read the histories.

  Raises:
    BusyError: another process is making what it needs.
  """
  began = time.process_time()
  params = fits.params_of(config, folder, seed)
  hyper = fits.chosen(config, folder, place, seed)
  everybody = people.world(config, place, seed)
  found: list[Arrays] = []
  asked_in: dict[str, list[float]] = {}
  trained_in: dict[str, list[float]] = {}
  sizes: dict[str, int] = {}
  for number in range(1, config.people.blocks + 1):
    given = people.block(config, everybody, number)
    memories, seconds = remembered(config, params, seed, number, given, hyper)
    ask = Asked(config, params, given.queries)
    arrays: Arrays = {}
    key = jax.random.fold_in(jax.random.key(seed + 1), number)
    for node, parts in NODES.items():
      arrays[f'right|{node}'], took = ask(key, memories, parts)
      asked_in.setdefault(node, []).append(took)
      sizes[node] = personal_memories.bytes_per_person(memories, parts)
    for kind, trace in memories.traces.items():
      arrays[f'facts|{kind}'] = thinking.facts(trace, given.queries)
    for name, took in seconds.items():
      trained_in.setdefault(name, []).append(took)
    arrays['best|read'] = read_best(given, people.setting(config, place))
    found.append(arrays)
  block = config.people.block
  record = {
    'world': place,
    'seed': seed,
    'hyper': hyper,
    'bytes': sizes,
    'query_milliseconds': per(asked_in, block * config.people.queries),
    'training_milliseconds': per(trained_in, block),
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, joined(found))


def per(seconds: Mapping[str, list[float]], count: int) -> dict[str, float]:
  """Returns CPU milliseconds of one of `count`, by name.

  Of the middle one of all blocks but the first, in which programs may have
  been compiled.
  """
  return {
    name: 1e3 * statistics.median(took[1:] or took) / count
    for name, took in seconds.items()
  }


def joined(found: list[Arrays]) -> Arrays:
  """Returns arrays of all blocks, and the number of each person."""
  whole = {
    name: np.concatenate([arrays[name] for arrays in found])
    for name in found[0]
  }
  return {**whole, 'person': np.arange(len(next(iter(whole.values()))))}


def read_best(given: histories.World, setting: histories.Setting) -> np.ndarray:
  """Returns how often who has read the histories is right, `[U]`."""
  chance = histories.predicted(given, setting)
  return (np.sign(chance - 0.5).mean(-1) + 1) / 2


# --------------------------------------------------------------------- lengths


def lengths(
  config: Any, folder: units.Folder, place: str, seed: int
) -> units.Unit:
  """Returns how well people are predicted from their latest events alone.

  Arrays `right|EVENTS|NODE` `[U]`, of the same people and queries; rates are
  those of the world's own length.

  Raises:
    BusyError: another process is making what it needs.
  """
  began = time.process_time()
  params = fits.params_of(config, folder, seed)
  hyper = fits.chosen(config, folder, place, seed)['task']
  most = max(config.lengths.events)
  everybody = people.world(config, place, seed, most)
  found: list[Arrays] = []
  for number in range(1, config.people.blocks + 1):
    whole = people.block(config, everybody, number)
    arrays: Arrays = {}
    for count in config.lengths.events:
      given = people.latest(whole, count)
      events = memory_rows.trained_on(given.events, objective='task')
      bank, _ = fits.adapter(
        config, params, seed, fits.padded(events, most), 'task', hyper
      )
      memories = personal_memories.Memories(
        memory_rows.kept(given.events, capacity=most),
        words_of(config, given.events),
        {'task': bank},
        {},
      )
      ask = Asked(config, params, whole.queries)
      for node in config.lengths.nodes:
        arrays[f'right|{count}|{node}'], _ = ask(
          jax.random.key(seed), memories, NODES[node]
        )
      setting = people.setting(config, place, count)
      arrays[f'right|{count}|best'] = read_best(given, setting)
    found.append(arrays)
  record = {
    'world': place,
    'seed': seed,
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, joined(found))
