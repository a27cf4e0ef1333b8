"""Real people, their histories in words, and the pairs that they judge.

Histories are made from the source each time and kept nowhere: what people said
is their own.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prm_jax.data import history_sources, user_histories
from prm_jax.data.user_histories import AskedPair, Episode, TextEvent

PREFEVAL = 'prefeval'
TRAIN, VALIDATION = user_histories.TRAIN, user_histories.VALIDATION
SEEN, NEW = user_histories.SEEN, user_histories.NEW
PARTS = (TRAIN, VALIDATION, SEEN, NEW)
TIE = 0.5
_SHRINK = 4.0  # choices that say nothing, to which a person's are added


@functools.lru_cache(maxsize=3)
def _read(name: str, folder: str, options: str) -> user_histories.Histories:
  return history_sources.read(name, folder or None, **json.loads(options))


def histories(config: Any, name: str) -> user_histories.Histories:
  """Returns everybody's histories of a data set."""
  node = config.real
  options = json.dumps(node.data[name].source.to_dict())
  return _read(name, node.data_dir, options)


def folds(config: Any, name: str) -> int:
  """Returns how many folds of questions a data set has."""
  return 1 + max(histories(config, name).question_fold.values())


def parts(config: Any, name: str, fold: int) -> dict[str, list[Episode]]:
  """Returns some episodes of a fold's people, one of each person.

  Ties are not asked about, but stay in histories. Drawn are people, their
  episode, and its pairs.

  Args:
    config: of the study; `real.data[name]` says how many.
    name: of the data.
    fold: of questions, and of people over their number.
  """
  node = config.real.data[name]
  whole = user_histories.split(
    histories(config, name), fold, least=1, most=node.events
  )
  found = {}
  for number, part in enumerate(PARTS):
    rng = np.random.default_rng([config.seeds[0], 0x5EA1, fold, number])
    found[part] = list(_drawn(rng, whole[part], node.people[part], node.pairs))
  return found


def _drawn(rng, episodes, people: int, pairs: int) -> Iterator[Episode]:
  known = set[int]()
  for row in rng.permutation(len(episodes)).tolist():
    episode = episodes[row]
    strict = [pair for pair in episode.pairs if pair.label != TIE]
    if len(known) == people or episode.user in known or not strict:
      continue
    known.add(episode.user)
    some = np.sort(rng.permutation(len(strict))[:pairs])
    yield episode._replace(pairs=tuple(strict[i] for i in some))


def givers(episodes: Sequence[Episode], seed: int) -> np.ndarray:
  """Returns whose history each person is given as another's, `[E]`.

  It is one that says nothing of what is asked, where there is one.

  Args:
    episodes: of one part, one a person.
    seed: of the draw.

  Raises:
    ValueError: there is one person alone.
  """
  if len(episodes) < 2:
    raise ValueError('histories are swapped among two people or more')
  rng = np.random.default_rng([seed, 0x61FE])
  said = [{event.about for event in one.events} - {''} for one in episodes]
  asked = [{pair.about for pair in one.pairs} for one in episodes]
  found = []
  for row in range(len(episodes)):
    others = [int(i) for i in rng.permutation(len(episodes)) if i != row]
    free = [i for i in others if not said[i] & asked[row]]
    found.append((free or others)[0])
  return np.array(found)


def without(
  events: Sequence[TextEvent], episode: Episode
) -> tuple[TextEvent, ...]:
  """Returns another person's events that say nothing of what is asked."""
  asked = {pair.about for pair in episode.pairs}
  return tuple(event for event in events if event.about not in asked)


# ----------------------------------------------------------- what events say


def short(event: TextEvent, words: int) -> TextEvent:
  """Returns an event as the writer reads it: texts that are shown are cut.

  Args:
    event: with everything that was shown.
    words: that are kept of each text; with none, what was asked goes, too, and
      a judgement is its reason.
  """
  cut = tuple(' '.join(text.split()[:words]) for text in event.shown)
  prompt = ' '.join(event.prompt.split()[:words])
  return event._replace(shown=cut if words else (), prompt=prompt)


def texts(event: TextEvent) -> tuple[str, ...]:
  """Returns what an event says of a person: their words, else their choice.

  Both texts of a tie.
  """
  if event.said or len(event.shown) != 2 or event.label in (None, TIE):
    return (event.said,) if event.said else event.shown
  return (event.shown[0 if event.label > TIE else 1],)


def past(events: Sequence[TextEvent]) -> list[AskedPair]:
  """Returns the strict choices of a history as pairs."""
  return [
    AskedPair(
      *(event.about, event.about, event.time, event.prompt),
      *event.shown,
      event.label,
    )
    for event in events
    if len(event.shown) == 2 and event.label not in (None, TIE)
  ]


def habits(events: Sequence[TextEvent]) -> tuple[float, float]:
  """Returns how much a person leans to the first text, and to the longer one.

  Means of -1 and 1 over their strict choices and four that say nothing.

  Args:
    events: of the history.
  """
  choices = past(events)
  count = len(choices) + _SHRINK
  side = sum(2 * pair.label - 1 for pair in choices)
  longer = sum(
    (2 * pair.label - 1) * np.sign(len(pair.first) - len(pair.second))
    for pair in choices
  )
  return side / count, float(longer) / count


def written_about(config: Any, name: str) -> dict[tuple[TextEvent, ...], int]:
  """Returns the histories that summaries are written of: history -> number."""
  found: dict[tuple[TextEvent, ...], int] = {}
  for fold in range(folds(config, name)):
    for episodes in parts(config, name, fold).values():
      for episode in episodes:
        found.setdefault(episode.events, len(found))
  return found
