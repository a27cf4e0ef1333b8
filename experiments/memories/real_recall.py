"""What real people's recalled events say of a question, in a few numbers.

An event says of its direction (the difference of two texts, or one text as
others are about it) that it was chosen or not. A memory is the events that a
recall chooses; a head reads the options, and how they agree with these.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.memories import real_people
from prm_jax import types
from prm_jax.data.user_histories import AskedPair, TextEvent
from prm_jax.users import episodic

Recall = Callable[[types.Key, episodic.Memory, types.Array], episodic.Recalled]
COUNT, POOL = 4, 16  # events that are told, and of which the latest are


def _recency(key, memory, query) -> episodic.Recalled:
  del key, query
  return episodic.recency(memory, count=COUNT)


def _similarity(key, memory, query) -> episodic.Recalled:
  del key
  return episodic.similarity(memory, query, count=COUNT)


def _both(key, memory, query) -> episodic.Recalled:
  del key
  return episodic.similarity_then_recency(memory, query, count=COUNT, pool=POOL)


def _random(key, memory, query) -> episodic.Recalled:
  del query
  return episodic.at_random(key, memory, count=COUNT)


def _all(key, memory, query) -> episodic.Recalled:
  del key, query
  return episodic.recency(memory, count=memory.latest.shape[1])


RECALLS: Mapping[str, Recall] = {
  'recency': _recency,
  'similarity': _similarity,
  'similarity_then_recency': _both,
  'random': _random,
  'whole_history': _all,
}


class Vectors(NamedTuple):
  """Texts as unit vectors.

  Attributes:
    row: text -> row.
    values: `[M, D]`.
    middle: `[D]` mean of all.
  """

  row: Mapping[str, int]
  values: np.ndarray
  middle: np.ndarray

  def of(self, some: Sequence[str]) -> np.ndarray:
    """Returns vectors of some texts, `[n, D]`; of no word 0."""
    found = np.zeros((len(some), self.values.shape[1]), np.float32)
    for place, text in enumerate(some):
      if text:
        found[place] = self.values[self.row[text]] - self.middle
    return found


class Seen(NamedTuple):
  """Events or questions as numbers, `[n, ...]`.

  Attributes:
    key: `[n, D]` what is recalled by: prompt and texts.
    way: `[n, D]` the direction: first less second text.
    longer: `[n]` log of the first text's words less the second's.
    said: `[n, D]` the person's own words.
    label: `[n]` 1 where the first was chosen, or the text said to be so.
  """

  key: np.ndarray
  way: np.ndarray
  longer: np.ndarray
  said: np.ndarray
  label: np.ndarray


def texts(some: Iterable[TextEvent | AskedPair]) -> list[tuple[str, ...]]:
  """Returns prompt, first and second text and own words of each."""
  found: list[tuple[str, ...]] = []
  for one in some:
    if isinstance(one, AskedPair):
      found.append((one.prompt, one.first, one.second, ''))
    else:
      found.append((one.prompt, *(*one.shown, '', '')[:2], one.said))
  return found


def seen(some: Sequence[TextEvent | AskedPair], vectors: Vectors) -> Seen:
  """Returns events or questions as numbers.

  Args:
    some: n, each with a label.
    vectors: of all their texts.
  """
  columns = [list(leaf) for leaf in zip(*texts(some), strict=True)]
  prompt, first, second, said = map(vectors.of, columns)
  words = [
    np.log1p([len(text.split()) for text in leaf]) for leaf in columns[1:3]
  ]
  return Seen(
    prompt + first + second,
    first - second,
    words[0] - words[1],
    said,
    np.array([one.label for one in some], np.float32),
  )


class Bank(NamedTuple):
  """Everything that happened, each event once.

  Attributes:
    row: event -> row.
    events: `[M, ...]`.
  """

  row: Mapping[TextEvent, int]
  events: Seen


def bank(asked: Iterable[real_people.Asked], vectors: Vectors) -> Bank:
  """Returns the events of some parts.

  Args:
    asked: the parts.
    vectors: of all texts.
  """
  known: dict[TextEvent, None] = {}
  for part in asked:
    for some in (part.events, part.swapped, part.population):
      for events in some:
        known.update(dict.fromkeys(events))
  return Bank({e: i for i, e in enumerate(known)}, seen(list(known), vectors))


def _placed(histories, known: Bank, size: int) -> np.ndarray:
  """Returns rows of events `[n, size]`, oldest first; -1 for none."""
  found = np.full((len(histories), size), -1)
  for row, events in enumerate(histories):
    own = [known.row[event] for event in events][-size:]
    found[row, : len(own)] = own
  return found


def _recalled(recalls, memory, query, key) -> dict[str, types.Array]:
  found = {}
  for name, run in recalls.items():
    taken = episodic.take(memory, run(key, memory, query))
    found[name] = jnp.where(taken.mask > 0, taken.content, -1)
  return found


_RUN = jax.jit(
  lambda memory, query, key: _recalled(RECALLS, memory, query, key)
)


def told(
  histories: Sequence[tuple[TextEvent, ...]],
  asked: Seen,
  known: Bank,
  size: int,
  *,
  seed: int,
  block: int = 128,
) -> dict[str, np.ndarray]:
  """Returns what each memory says of each question, `[n, F]` by recall.

  How often the label was 1; how its direction and its length agree with those
  that were chosen; how the options agree with what the person said, where they
  said anything. `counts` is the first and the third, over all events.

  Args:
    histories: n.
    asked: n questions.
    known: all events.
    size: events that are kept.
    seed: of random recall.
    block: questions at once.
  """
  place = _placed(histories, known, size)
  some = known.events
  found: dict[str, list[np.ndarray]] = {}
  dim = some.key.shape[1]
  blank = episodic.empty(block, size, dim, jnp.int32(0))
  time = np.broadcast_to(
    np.arange(float(size), dtype=np.float32), (block, size)
  )
  append = jax.jit(episodic.append)
  for start in range(0, len(place), block):
    rows = np.arange(start, min(start + block, len(place)))
    filled = np.concatenate([rows, np.full(block - len(rows), rows[0])])
    there = place[filled]
    events = episodic.Events(
      jnp.asarray(some.key[there]),
      jnp.asarray(time),
      jnp.ones(time.shape),
      jnp.asarray(there >= 0, jnp.float32),
      jnp.asarray(there, jnp.int32),
    )
    memory = append(blank, events)
    key = jax.random.fold_in(jax.random.key(seed), start)
    for name, chosen in _RUN(memory, asked.key[filled], key).items():
      numbers = _numbers(np.asarray(chosen)[: len(rows)], some, asked, rows)
      found.setdefault(name, []).append(numbers)
  whole = {name: np.concatenate(leaves) for name, leaves in found.items()}
  whole['counts'] = whole['whole_history'][:, [0, 2]]
  return whole


def _numbers(chosen, events: Seen, asked: Seen, rows) -> np.ndarray:
  there = chosen >= 0
  count = np.maximum(there.sum(1), 1)
  sign = np.where(there, 2 * events.label[chosen] - 1, 0.0)

  def mean(values):
    return values.sum(1) / count

  ways = np.einsum('nd,ned->ne', asked.way[rows], events.way[chosen])
  found = [
    mean(sign),
    mean(sign * ways),
    mean(sign * events.longer[chosen]) * asked.longer[rows],
  ]
  if events.said.any():
    said = np.einsum('nd,ned->ne', asked.way[rows], events.said[chosen])
    found.append(mean(np.where(there, said, 0.0)))
  return np.stack(found, 1)


def axes(values: np.ndarray, most: int) -> Any:
  """Returns the directions of greatest variance `[D, d]` of vectors `[M, D]`.

  Args:
    values: centred.
    most: d at most.
  """
  _, size, found = np.linalg.svd(values, full_matrices=False)
  return found[: min(most, int((size > 1e-6 * size[0]).sum()))].T
