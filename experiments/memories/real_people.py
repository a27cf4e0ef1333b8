"""Real people: what is kept of them, and what they are asked afterwards.

An event is a choice between two texts, or what was said of one: whether a joke
was liked, whether a text is offensive. Everything is made from the source each
time and kept nowhere.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.data import history_sources, load, splits, user_histories
from prm_jax.data.user_histories import AskedPair, Episode, TextEvent

PARTS = (user_histories.TRAIN, user_histories.VALIDATION, user_histories.NEW)
TIE = 0.5


class Asked(NamedTuple):
  """n questions, each with the memories that may be told before it.

  Attributes:
    user: `[n]` number of the person.
    about: `[n]` name of what is asked about.
    pairs: n.
    events: n histories.
    swapped: n of other people.
    population: n of training people at large.
  """

  user: np.ndarray
  about: np.ndarray
  pairs: Sequence[AskedPair]
  events: Sequence[tuple[TextEvent, ...]]
  swapped: Sequence[tuple[TextEvent, ...]]
  population: Sequence[tuple[TextEvent, ...]]


@functools.lru_cache(maxsize=2)
def _read(name: str, folder: str, options: str) -> user_histories.Histories:
  given = json.loads(options)
  if name in ('jester', 'lewidi'):
    return of_ratings(name, folder, **given)
  return history_sources.read(name, folder or None, **given)


def histories(config: Any, name: str) -> user_histories.Histories:
  """Returns everybody's histories of a data set.

  Args:
    config: of the study.
    name: of the data.
  """
  node = config.real
  options = json.dumps(node.choices[name].source.to_dict())
  return _read(name, node.data_dir, options)


def of_ratings(
  name: str,
  folder: str,
  *,
  folds: int,
  people_folds: int,
  least: int,
  **options: Any,
) -> user_histories.Histories:
  """Returns people who said something of single texts, in the source's order.

  Of a rating on a scale, whether it is above the person's own mean of those
  that came before it, from the fifth on; of two labels, the label.

  Args:
    name: 'jester' or 'lewidi'.
    folder: of real data; the environment variable PRM_DATA_DIR if ''.
    folds: of texts, by hash; of equal texts one.
    people_folds: of people, by hash.
    least: ratings that a person has.
    **options: of the source, such as a `subset`.
  """
  rated = load.ratings(name, data_dir=folder or None, **options)
  own: dict[int, list[int]] = {}
  for row, user in enumerate(rated.user.tolist()):
    own.setdefault(user, []).append(row)
  known = {u: rows for u, rows in own.items() if len(rows) >= least}
  scale = len(np.unique(rated.rating)) > 2
  events, pairs = [], []
  for rows in known.values():
    values = rated.rating[rows].astype(float)
    label = values == values.max() if not scale else _above(values)
    first = 4 if scale else 0
    mine, asked = [], []
    for place in range(first, len(rows)):
      text = rated.texts[rated.item[rows[place]]]
      about, said = splits.plain(text), float(label[place])
      mine.append(
        TextEvent('judgement', about, place, shown=(text,), label=said)
      )
      asked.append(AskedPair(about, about, place, '', text, '', said))
    events.append(tuple(mine))
    pairs.append(tuple(asked))
  names = sorted({pair.about for some in pairs for pair in some})
  fold = splits.bucket(names, 'question', folds).tolist()
  users = [rated.user_ids[user] for user in known]
  return user_histories.Histories(
    user_ids=users,
    events=events,
    pairs=pairs,
    person_fold=splits.bucket(users, 'person', people_folds),
    question_fold=dict(zip(names, fold, strict=True)),
    timed=False,
  )


def _above(values: np.ndarray) -> np.ndarray:
  """Returns which values are above the mean of those before, `[n]` bool."""
  before = np.concatenate([[0.0], values.cumsum()[:-1]])
  return values > before / np.maximum(np.arange(len(values)), 1)


def folds(config: Any, name: str) -> int:
  """Returns how many folds of questions a data set has."""
  return 1 + max(histories(config, name).question_fold.values())


def parts(config: Any, name: str, fold: int) -> dict[str, Asked]:
  """Returns questions of training, validation and new people of a fold.

  New people are asked about new questions. Drawn are people and their pairs;
  ties are not asked about, and not kept.

  Args:
    config: of the study; `real.choices[name]` says how many.
    name: of the data.
    fold: of questions, and of people over their number.
  """
  node = config.real.choices[name]
  whole = user_histories.split(
    histories(config, name), fold, least=1, most=node.events
  )
  drawn = {}
  for number, part in enumerate(PARTS):
    rng = np.random.default_rng([config.seeds[0], 0x3E3, fold, number])
    drawn[part] = list(
      _drawn(rng, whole[part], node.people[number], node.pairs)
    )
  seed = config.seeds[0]
  found = {}
  for part, episodes in drawn.items():
    known = drawn[PARTS[0]]
    found[part] = Asked(
      np.array([one.user for one in episodes]),
      np.array([one.pairs[0].about for one in episodes]),
      [one.pairs[0] for one in episodes],
      *(
        [one.events for one in some]
        for some in (
          episodes,
          user_histories.swapped(episodes, seed=seed),
          user_histories.population(episodes, known, seed=seed),
        )
      ),
    )
  return found


def _drawn(rng, episodes, people: int, pairs: int) -> Iterator[Episode]:
  """Yields episodes of one pair each, of some people and their pairs."""
  own: dict[int, list[Episode]] = {}
  for episode in episodes:
    kept = tuple(e for e in episode.events if e.label != TIE)
    for pair in episode.pairs:
      if pair.label != TIE and kept:
        one = episode._replace(events=kept, pairs=(pair,))
        own.setdefault(episode.user, []).append(one)
  for user in rng.permutation(sorted(own))[:people].tolist():
    some = np.sort(rng.permutation(len(own[user]))[:pairs])
    yield from (own[user][i] for i in some)
