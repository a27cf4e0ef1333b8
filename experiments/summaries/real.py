"""Units of the study on real histories: what is written, and what readers say.

A reader is fitted on what is told of people of training, and then told of new
people the same, of another person, or of training people at large.
"""

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.reasoning_rewards import judges, real_fits
from experiments.summaries import real_people, real_reads, real_written
from prm_jax.data import user_histories
from prm_jax.data.user_histories import AskedPair, Episode
from prm_jax.lab import units

OWN, SWAPPED, POPULATION = 'own', 'swapped', 'population'
WHOSE = (OWN, SWAPPED, POPULATION)
TESTED = (real_people.SEEN, real_people.NEW)


class Asked(NamedTuple):
  """The n pairs of one part.

  Attributes:
    episodes: E, one a person.
    row: `[n]` of whose episode a pair is.
    pairs: n.
    giver: `[E]` whose history is given as another's; empty where nobody is
      tested.
    mixed: E histories of training people at large; likewise.
  """

  episodes: Sequence[Episode]
  row: np.ndarray
  pairs: Sequence[AskedPair]
  giver: np.ndarray
  mixed: Sequence[Episode]


Told = dict[str, np.ndarray]  # whose -> [n, D]


def asked(
  episodes: Sequence[Episode], known: Sequence[Episode], seed: int | None
) -> Asked:
  """Returns a part's pairs and controls.

  Args:
    episodes: of the part.
    known: of training.
    seed: of the draws; None where nobody is tested.
  """
  row = [e for e, one in enumerate(episodes) for _ in one.pairs]
  found = Asked(
    episodes,
    np.array(row, int),
    [pair for one in episodes for pair in one.pairs],
    np.zeros(0, int),
    (),
  )
  if seed is None:
    return found
  return found._replace(
    giver=real_people.givers(episodes, seed),
    mixed=user_histories.population(episodes, known, seed=seed),
  )


def _words(parts: Mapping[str, Asked], truth: Mapping[str, str]):
  """Yields every text that has to be embedded."""
  yield from truth.values()
  for part in parts.values():
    for pair in part.pairs:
      yield from (pair.prompt, pair.first, pair.second)
    for one in (*part.episodes, *part.mixed):
      for event in one.events:
        yield from (event.prompt, *event.shown)
        yield from real_people.texts(event)


# --------------------------------------------------------------- what is told


def _history(events, vectors: real_written.Embedded) -> np.ndarray:
  """Returns the mean of what events say, `[D]`."""
  each = [vectors.mean(real_people.texts(event)) for event in events]
  return np.mean(each or [vectors.mean(())], axis=0)


def _leaning(events, vectors: real_written.Embedded) -> np.ndarray:
  """Returns the mean of what was chosen less what was not, `[D]`."""
  found = [vectors.mean(())]
  for pair in real_people.past(events):
    first, second = vectors.of([pair.first, pair.second])
    found.append((2 * pair.label - 1) * (first - second))
  return np.sum(found, axis=0) / max(len(found) - 1, 1)


_OF_EVENTS = {'history': _history, 'vector': _leaning}


def _of_events(kind: str, part: Asked, vectors) -> Told:
  """Returns what is told of histories, without a writer."""

  def told(some):
    return np.stack([_OF_EVENTS[kind](events, vectors) for events in some])

  own = [one.events for one in part.episodes]
  found = {OWN: told(own)[part.row]}
  if len(part.giver):
    others = [
      real_people.without(own[give], one)
      for give, one in zip(part.giver, part.episodes, strict=True)
    ]
    found[SWAPPED] = told(others)[part.row]
    found[POPULATION] = told([one.events for one in part.mixed])[part.row]
  return found


def _of_people(own: np.ndarray, part: Asked, middle: np.ndarray) -> Told:
  """Returns what is told of people, `[E, D]` each, and of nobody `[D]`."""
  found = {OWN: own[part.row]}
  if len(part.giver):
    found[SWAPPED] = own[part.giver][part.row]
    found[POPULATION] = np.broadcast_to(middle, found[OWN].shape)
  return found


def truths(config: Any, name: str) -> dict[str, str]:
  """Returns preference -> its words, where the data set states them."""
  if name != real_people.PREFEVAL:
    return {}
  return {
    event.preference: event.said
    for events in real_people.histories(config, name).events
    for event in events
    if event.kind == 'statement'
  }


def _truth(part: Asked, vectors, words: Mapping[str, str], middle) -> Told:
  """Returns the preference that decides each pair; of another, of all."""
  own = vectors.of([words[pair.preference] for pair in part.pairs])
  found = {OWN: own}
  if len(part.giver):
    first = np.searchsorted(part.row, np.arange(len(part.episodes)))
    found[SWAPPED] = own[first[part.giver]][part.row]
    found[POPULATION] = np.broadcast_to(middle, own.shape)
  return found


# ------------------------------------------------------------------- reading


class Fold(NamedTuple):
  """One fold: who is asked what, as readers see it, and what they are told.

  Attributes:
    parts: by name, those that have people.
    pairs: likewise.
    told: kind -> part -> whose -> `[n, D]`.
    summaries: part -> `[E, samples, D]`.
    vectors: of all texts.
  """

  parts: dict[str, Asked]
  pairs: dict[str, real_reads.Pairs]
  told: dict[str, dict[str, Told]]
  summaries: dict[str, np.ndarray]
  vectors: real_written.Embedded


def gathered(config, folder: units.Folder, name: str, number: int) -> Fold:
  """Returns a fold, with all that is told but what readers choose."""
  unit = judges.made(
    folder,
    written_name(name),
    functools.partial(real_written.written, config, name),
  )
  drawn = real_people.parts(config, name, number)
  known, seed = drawn[real_people.TRAIN], config.seeds[0]
  parts = {
    part: asked(some, known, seed if part in TESTED else None)
    for part, some in drawn.items()
    if some
  }
  words = truths(config, name)
  vectors = real_written.embedded(config, _words(parts, words))
  pairs = {
    part: _pairs(each.pairs, each.episodes, each.row, vectors)
    for part, each in parts.items()
  }
  kinds = ('history', 'vector') if _choose(parts) else ('history',)
  told = {
    kind: {p: _of_events(kind, each, vectors) for p, each in parts.items()}
    for kind in kinds
  }
  if words:
    train = parts[real_people.TRAIN].pairs
    middle = vectors.mean([words[pair.preference] for pair in train])
    told['truth'] = {
      part: _truth(each, vectors, words, middle) for part, each in parts.items()
    }
  place = real_people.written_about(config, name)
  summaries = {
    part: unit.arrays['summary'][[place[one.events] for one in each.episodes]]
    for part, each in parts.items()
  }
  fold = Fold(parts, pairs, told, summaries, vectors)
  first = {part: some[:, 0] for part, some in summaries.items()}
  told['summary'] = _summaries(fold, first)
  return fold


def _pairs(given, episodes, row, vectors) -> real_reads.Pairs:
  habits = np.array([real_people.habits(one.events) for one in episodes])
  return real_reads.pairs(given, habits[row], vectors)


def _choose(parts: Mapping[str, Asked]) -> bool:
  """Returns whether histories have choices."""
  known = parts[real_people.TRAIN].episodes
  return any(real_people.past(one.events) for one in known)


def _summaries(fold: Fold, own: Mapping[str, np.ndarray]) -> dict[str, Told]:
  middle = own[real_people.TRAIN].mean(0)
  return {
    part: _of_people(some, fold.parts[part], middle)
    for part, some in own.items()
  }


def chosen(
  fold: Fold, part: str, reader: real_reads.Reader
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the summaries that tell most of people's past choices.

  Of a person's samples the one is chosen behind which the reader gives their
  own past choices the greatest mean log sigma; the first where they have none.

  Args:
    fold: with samples.
    part: of the people.
    reader: of summaries.

  Returns:
    `[E, D]` summaries, and `[E]` which sample each is.
  """
  each, samples = fold.parts[part], fold.summaries[part]
  which = np.zeros(len(samples), int)
  for e, one in enumerate(each.episodes):
    past = real_people.past(one.events)
    if not past:
      continue
    known = _pairs(past, [one], np.zeros(len(past), int), fold.vectors)
    told = [np.broadcast_to(z, (len(past), len(z))) for z in samples[e]]
    lost = [
      real_fits.log_loss(reader.margins(known, some), known.label)
      for some in told
    ]
    which[e] = int(np.argmin(lost))
  return samples[np.arange(len(samples)), which], which


def kinds(fold: Fold, samples: int) -> Iterator[str]:
  """Yields what readers can be told in a fold, in an order that suits."""
  choose = _choose(fold.parts)
  for kind, sees in real_reads.SEES.items():
    by = real_reads.TOLD_BY.get(kind, kind)
    if by == 'chosen':
      there = choose and samples > 1
    elif 'habits' in sees:
      there = choose
    else:
      there = 'told' not in sees or by in fold.told
    if there:
      yield kind


def read(config, folder: units.Folder, name: str, number: int) -> units.Unit:
  """Returns what readers of a fold say of the held-out pairs.

  Arrays: of each part `PART|user`, `PART|about` (numbers), `PART|label`, and
  `PART|KIND|WHOSE`, the first text's lead.
  """
  started = time.process_time()
  fold = gathered(config, folder, name, number)
  train, validation = real_people.TRAIN, real_people.VALIDATION
  record: dict[str, Any] = {'data': name, 'fold': number, 'chosen': {}}
  samples = fold.summaries[train].shape[1]
  arrays: dict[str, np.ndarray] = {}
  names = sorted(real_people.histories(config, name).question_fold)
  about = {name: i for i, name in enumerate(names)}
  for part, each in fold.parts.items():
    user = np.array([one.user for one in each.episodes])
    arrays[f'{part}|user'] = user[each.row]
    arrays[f'{part}|label'] = fold.pairs[part].label
    arrays[f'{part}|about'] = np.array([about[p.about] for p in each.pairs])
  for kind in kinds(fold, samples):
    by = real_reads.TOLD_BY.get(kind, kind)
    told = fold.told.get(by) if 'told' in real_reads.SEES[kind] else None

    def of(part, whose, told=told):
      return None if told is None else told[part][whose]

    reader, choice = real_reads.fitted(
      kind,
      (fold.pairs[train], of(train, OWN)),
      (fold.pairs[validation], of(validation, OWN)),
      config.real,
    )
    record['chosen'][kind] = choice
    for part in TESTED:
      if part in fold.parts:
        for whose in WHOSE if told else (OWN,):
          margin = reader.margins(fold.pairs[part], of(part, whose))
          arrays[f'{part}|{kind}|{whose}'] = margin
    if kind == 'summary' and samples > 1 and _choose(fold.parts):
      best = {part: chosen(fold, part, reader) for part in fold.parts}
      fold.told['chosen'] = _summaries(
        fold, {p: z for p, (z, _) in best.items()}
      )
      record['moved'] = float((best[real_people.NEW][1] > 0).mean())
  record['pairs'] = len(fold.pairs[train].label)
  record['people'] = len(fold.parts[train].episodes)
  record['cpu_seconds'] = time.process_time() - started
  return units.Unit(record, arrays)


# --------------------------------------------------------------------- units


def written_name(name: str) -> str:
  """Returns the unit of a data set's summaries."""
  return f'real-{name}-written'


def read_name(name: str, number: int) -> str:
  """Returns the unit of a fold."""
  return f'real-{name}-{number}'


def work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns units by name."""
  found: dict[str, units.Make] = {}
  for name in config.real.data:
    found[written_name(name)] = functools.partial(
      real_written.written, config, name
    )
    for number in range(real_people.folds(config, name)):
      found[read_name(name, number)] = functools.partial(
        read, config, folder, name, number
      )
  return found
