"""Memories of people whose histories were tampered with, or lead a loop.

Parts of the study that examine memories do so on one block of people of one
world, at the rates that were chosen for the world.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.memories import fits, nodes, people, thinking
from prm_jax import memory_rows, types
from prm_jax.lab import units
from prm_jax.models import decoder
from prm_jax.systems import personal_memories
from prm_jax.worlds import personal_histories as histories

BLOCK = 1  # of a seed's people; 0 validates
_context = jax.jit(personal_memories.context, static_argnums=2)


class Subject(NamedTuple):
  """What is examined.

  Attributes:
    config: of the study.
    params: of the base model.
    hyper: searched numbers of each objective.
    seed: of the study.
    given: the block's people.
  """

  config: Any
  params: types.PyTree
  hyper: Mapping[str, Mapping[str, float]]
  seed: int
  given: histories.World

  @property
  def sizes(self) -> decoder.DecoderConfig:
    """Returns those of the base model."""
    return fits.sizes(self.config)

  @property
  def about(self) -> np.ndarray:
    """Returns the attribute of each person that is tampered with, `[U]`."""
    rng = np.random.default_rng([self.seed, 400])
    return rng.integers(0, histories.ATTRIBUTES, len(self.given.queries.topic))

  def memories(
    self, events: histories.Pairs, wanted: Iterable[str]
  ) -> personal_memories.Memories:
    """Returns what is kept of people who did something else.

    Args:
      events: of the block, as many as the world has.
      wanted: nodes that are to be told; what none of them reads is not made.
    """
    config, params, seed = self.config, self.params, self.seed
    parts = [nodes.NODES[node] for node in wanted]
    size = fits.longest(config)
    bank = {}
    for objective in dict.fromkeys(p.adapter for p in parts if p.adapter):
      own = memory_rows.trained_on(events, objective=objective)
      bank[objective], _ = fits.adapter(
        config,
        params,
        seed,
        fits.padded(own, size),
        objective,
        self.hyper[objective],
      )
    complexity = None
    if any(p.recall == 'most_complex' for p in parts):
      complexity = nodes.surprise(config, params, events)
    traces: thinking.Traces = {}
    if any(p.trace for p in parts):
      rng = np.random.default_rng([seed, BLOCK])
      key = jax.random.fold_in(jax.random.key(seed), BLOCK)
      traces, _ = thinking.written(config, params, key, rng, events)
    kept = memory_rows.kept(
      events, capacity=events.topic.shape[1], complexity=complexity
    )
    words = nodes.words_of(config, events)
    return personal_memories.Memories(kept, words, bank, traces)

  def told(
    self,
    memories: personal_memories.Memories,
    node: str,
    asked: histories.Pairs,
  ) -> types.Tokens:
    """Returns what stands in front of each text, `[U, Q, P]`.

    Args:
      memories: of the block.
      node: what is told.
      asked: Q prompts of everybody; their topics and subjects are read.
    """
    query = jnp.asarray(histories.embeddings(asked))
    return _context(
      jax.random.key(self.seed), memories, nodes.NODES[node], query
    )

  def scores(
    self,
    memories: personal_memories.Memories,
    node: str,
    told: types.Tokens,
    texts: types.Tokens,
  ) -> np.ndarray:
    """Returns scores `[U, Q, K]` of texts, nats.

    Args:
      memories: of the block, whose adapters are of the base model.
      node: of which the adapter is read.
      told: `[U, Q, P]` what stands in front.
      texts: `[U, Q, K, T]`.
    """
    name = nodes.NODES[node].adapter
    own = memories.adapters[name].people if name else None
    found = personal_memories.scores(self.sizes, self.params, own, told, texts)
    return np.asarray(found)


def subject(
  config: Any, folder: units.Folder, place: str, seed: int
) -> Subject:
  """Returns what is examined of a seed.

  Args:
    config: of the study.
    folder: of its units.
    place: the world.
    seed: of it.

  Raises:
    BusyError: another process is making what it needs.
  """
  everybody = people.world(config, place, seed)
  return Subject(
    config,
    fits.params_of(config, folder, seed),
    fits.chosen(config, folder, place, seed),
    seed,
    people.block(config, everybody, BLOCK),
  )


def worded(
  events: histories.Pairs,
  about: np.ndarray,
  places: np.ndarray,
  value: np.ndarray,
  *,
  text: int = 0,
) -> histories.Pairs:
  """Returns events in some of which another word is said.

  Args:
    events: E of U people.
    about: `[U]` the attribute.
    places: `[P]` of the events.
    value: `[U, P]` what is said, or what broadcasts to it.
    text: 0 for the chosen text, 1 for the rejected one.
  """
  words = events.value.copy()
  row = np.arange(len(about))[:, None]
  words[row, places, text, about[:, None]] = value
  return events._replace(value=words)
