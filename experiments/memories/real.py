"""Units of the study on real people: choices, preferences and personas.

A head is fitted on what is told of people of training, its ridge is chosen on
other people and questions, and new people are asked new questions: told their
own, another person's, and training people's memories.
"""

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.memories import real_people, real_recall
from experiments.reasoning_rewards import real_fits
from prm_jax.data import load, user_histories
from prm_jax.lab import units
from prm_jax.models import embeddings

OPTIONS = 'options'
OWN, SWAPPED, POPULATION = 'own', 'swapped', 'population'
WHOSE = (OWN, SWAPPED, POPULATION)
PREFEVAL, PERSONAS = 'prefeval', 'synthetic_persona_chat'
Arrays = dict[str, np.ndarray]


@functools.lru_cache(maxsize=1)
def _encoder(folder: str) -> embeddings.Encoder:
  return embeddings.Encoder.load(Path(folder) if folder else None)


def embedded(config: Any, texts: Iterable[str]) -> real_recall.Vectors:
  """Returns texts as unit vectors of one layer of the frozen encoder.

  Args:
    config: of the study; `real.layer` counts from 0, the embeddings.
    texts: any; one without a word is 0.
  """
  known = sorted(set(texts) - {''})
  values = embeddings.embed(
    known, _encoder(config.real.encoder), layers=(config.real.layer,)
  )
  length = np.linalg.norm(values, axis=1, keepdims=True)
  values = values / np.maximum(length, 1e-9)
  row = {text: i for i, text in enumerate(known)}
  return real_recall.Vectors(row, values, values.mean(0))


# --------------------------------------------------------------------- choices


def choices(config: Any, name: str, fold: int) -> units.Unit:
  """Returns what heads say of new people's answers to new questions.

  Arrays `[n]`: `user`, `about`, `label`, and logits `options` and
  `MEMORY|WHOSE`.

  Args:
    config: of the study.
    name: of the data.
    fold: of questions, and of people over their number.
  """
  began = time.process_time()
  node = config.real
  parts = real_people.parts(config, name, fold)
  vectors = embedded(config, _texts(parts.values()))
  known = real_recall.bank(parts.values(), vectors)
  asked = {
    part: real_recall.seen(some.pairs, vectors) for part, some in parts.items()
  }
  train, validation, new = real_people.PARTS
  axes = real_recall.axes(asked[train].way, node.dim)
  options = {
    part: np.column_stack([some.way @ axes, some.longer])
    for part, some in asked.items()
  }

  def told(part, histories):
    return real_recall.told(
      histories,
      asked[part],
      known,
      node.choices[name].events,
      seed=config.seeds[0],
    )

  own = {part: told(part, some.events) for part, some in parts.items()}
  others = {
    SWAPPED: told(new, parts[new].swapped),
    POPULATION: told(new, parts[new].population),
  }
  labels = {part: some.label for part, some in asked.items()}
  arrays: Arrays = {
    'user': parts[new].user,
    'about': parts[new].about,
    'label': labels[new],
  }
  chosen = {}

  def fit(seen):
    features = np.concatenate([seen[train], seen[validation]])
    row = np.arange(len(features))[:, None]
    count = len(labels[train])
    return real_fits.chosen_linear(
      features,
      real_fits.Examples(row[:count], labels[train]),
      real_fits.Examples(row[count:], labels[validation]),
      node.ridges,
    )

  head, chosen[OPTIONS] = fit(options)
  arrays[OPTIONS] = head.scores(options[new])
  for memory in own[train]:
    seen = {
      part: np.column_stack([options[part], own[part][memory]])
      for part in parts
    }
    head, chosen[memory] = fit(seen)
    for whose in WHOSE:
      numbers = own[new] if whose == OWN else others[whose]
      some = np.column_stack([options[new], numbers[memory]])
      arrays[f'{memory}|{whose}'] = head.scores(some)
  record = {
    'data': name,
    'fold': fold,
    'chosen': chosen,
    'trained_on': len(labels[train]),
    'training_people': len(np.unique(parts[train].user)),
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, arrays)


def _texts(parts: Iterable[real_people.Asked]):
  for part in parts:
    yield from (t for some in real_recall.texts(part.pairs) for t in some)
    for histories in (part.events, part.swapped, part.population):
      for events in set(histories):
        yield from (t for some in real_recall.texts(events) for t in some)


# ----------------------------------------------------------------- preferences


def preferences(config: Any) -> units.Unit:
  """Returns how PrefEval's preferences are recalled, and what they choose.

  A person has `stored` preferences, one of which each question is about; whole
  topics are in one fold. Arrays `[n]` of all folds: `user`, `topic`, `rank`,
  that of the right preference among the person's by similarity to the
  question, from 0; and margins `[n, 3]`, by which the answer that follows the
  preference leads the others: `options`, `MEMORY|WHOSE`. So that people of one
  fold share few topics, `any_user`, `any_topic` and `any_rank` `[m]` are of
  other people, with as many preferences of any topics.

  Args:
    config: of the study.
  """
  began, node = time.process_time(), config.real.preferences
  source = load.stated_preferences(config.real.data_dir or None)
  whole = _stored(config)
  place = {
    f'{topic}/{number}': row
    for row, (topic, number) in enumerate(
      zip(source.topics, source.numbers, strict=True)
    )
  }
  statement, question = (
    embedded(config, texts).of(texts)
    for texts in (source.preferences, source.questions)
  )
  flat = [text for options in source.options for text in options]
  option = embedded(config, flat).of(flat).reshape(len(question), 4, -1)
  users = [
    [place[event.preference] for event in events[: node.stored]]
    for events in whole.events
  ]
  person = np.repeat(np.arange(len(users)), [len(own) for own in users])
  row = np.concatenate([np.array(own, int) for own in users])
  fold = whole.person_fold[person]
  rng = np.random.default_rng([config.seeds[0], 0x9EF])
  giver = _givers(whole.person_fold, rng)
  kept: dict[str, Arrays] = {whose: {} for whose in (OWN, SWAPPED)}
  ranks = np.zeros(len(row), int)
  for i, (u, r) in enumerate(zip(person, row, strict=True)):
    for whose in kept:
      own = users[u] if whose == OWN else users[giver[u]]
      like = statement[own] @ question[r]
      order = np.argsort(-like, kind='stable')
      if whose == OWN:
        ranks[i] = int(np.flatnonzero(np.array(own)[order] == r)[0])
        right = r
      else:
        right = own[int(rng.integers(len(own)))]
      told = _of_statements(statement, own, order, right)
      for name, value in told.items():
        kept[whose].setdefault(name, np.zeros((len(row), len(value))))[i] = (
          value
        )
  arrays: Arrays = {
    'user': person,
    'topic': np.array([source.topics[r] for r in row]),
    'rank': ranks,
    **_of_any_topics(source.topics, statement, question, node.stored, rng),
  }
  picked = {}
  for name in (OPTIONS, *kept[OWN]):
    margins, picked[name] = _chosen_options(
      config, name, kept, question[row], option[row], fold
    )
    arrays |= {
      name if name == OPTIONS else f'{name}|{whose}': value
      for whose, value in margins.items()
    }
  record = {
    'stored': node.stored,
    'chosen': picked,
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, arrays)


def _of_any_topics(topics, statement, question, stored: int, rng) -> Arrays:
  """Returns ranks of people's right preferences, of any topics."""
  count = len(topics) // stored
  own = rng.permutation(len(topics))[: count * stored].reshape(count, stored)
  like = np.einsum('usd,utd->ust', question[own], statement[own])
  right = np.diagonal(like, axis1=1, axis2=2)
  # Of equally like ones the right one comes last.
  rank = (like >= right[..., None]).sum(-1) - 1
  return {
    'any_user': np.repeat(np.arange(count), stored),
    'any_topic': np.array(topics)[own.ravel()],
    'any_rank': rank.ravel(),
  }


def _stored(config: Any) -> user_histories.Histories:
  """Returns people of `stored` preferences each, of topics of one fold."""
  node = config.real.preferences
  return real_people.history_sources.read(
    PREFEVAL,
    config.real.data_dir or None,
    kinds=('statement',),
    preferences=node.stored,
    folds=node.folds,
    by_topic=True,
  )


def _givers(fold: np.ndarray, rng) -> np.ndarray:
  """Returns another person of the same fold for each, where there is one."""
  found = np.zeros(len(fold), int)
  for user in range(len(fold)):
    same = np.flatnonzero(fold == fold[user])
    others = same[same != user]
    others = (
      others if len(others) else np.flatnonzero(np.arange(len(fold)) != user)
    )
    found[user] = rng.choice(others)
  return found


def _of_statements(statement, own, order, right) -> Arrays:
  """Returns what is told of stored preferences, `[D]` each."""
  own = np.array(own)
  return {
    'similarity': statement[own[order[:1]]].mean(0),
    'three_similar': statement[own[order[:3]]].mean(0),
    'recency': statement[own[-1:]].mean(0),
    'whole_history': statement[own].mean(0),
    'right_preference': statement[right],
  }


def _chosen_options(config, name, kept, question, option, fold):
  """Returns margins `[n, 3]` of held-out folds by whose, and ridges."""
  node = config.real
  count = int(fold.max()) + 1
  whose = (OWN,) if name == OPTIONS else WHOSE
  margins = {each: np.zeros((len(question), 3)) for each in whose}
  ridges = []
  for new in range(count):
    held = fold == new
    validation = fold == (new + 1) % count
    train = ~held & ~validation
    axes = real_recall.axes(
      option[train].reshape(-1, option.shape[-1]), node.dim
    )

    def seen(told, axes=axes):
      return _sights(question, option, told, axes)

    own: Any = None if name == OPTIONS else kept[OWN][name]
    features = seen(own)
    width = features.shape[-1]
    head, ridge = real_fits.chosen_linear(
      features.reshape(-1, width),
      _against(np.flatnonzero(train)),
      _against(np.flatnonzero(validation)),
      node.ridges,
    )
    ridges.append(ridge)
    for each in whose:
      told = own
      if each == SWAPPED:
        told = kept[SWAPPED][name]
      elif each == POPULATION:
        told = np.broadcast_to(kept[OWN][name][train].mean(0), own.shape)
      score = head.scores(seen(told))
      margins[each][held] = (score[:, :1] - score[:, 1:])[held]
  return margins, ridges


def _sights(question, option, told, axes) -> np.ndarray:
  """Returns what a head sees of options, `[n, 4, F]`.

  The option, and its agreement with the question and with what is told, axis
  by axis and in all.
  """
  flat = option @ axes
  parts = [flat, flat * (question @ axes)[:, None]]
  parts.append((option * question[:, None]).sum(-1, keepdims=True))
  if told is not None:
    parts.append(flat * (told @ axes)[:, None])
    parts.append((option * told[:, None]).sum(-1, keepdims=True))
  return np.concatenate(parts, -1)


def _against(rows: np.ndarray) -> real_fits.Examples:
  """Returns the first option against each other one, of some questions."""
  first = np.repeat(rows * 4, 3)
  other = (rows[:, None] * 4 + np.arange(1, 4)).ravel()
  return real_fits.Examples(
    np.stack([first, other], 1), np.ones(len(first), np.float32)
  )


# -------------------------------------------------------------------- personas


def personas(config: Any) -> units.Unit:
  """Returns whose profile is recalled by what somebody says.

  A speaker's profile stands among `stored`, the others being of people of
  other conversations of the same split. Arrays `[n]`: `user`, number of the
  profile, and ranks, from 0, `TOLD|WHOSE`: by the speaker's own turns, or by
  the partner's.

  Args:
    config: of the study.
  """
  began, node = time.process_time(), config.real.personas
  rng = np.random.default_rng([config.seeds[0], 0x9E2])
  arrays: dict[str, list[np.ndarray]] = {}
  for split in ('valid', 'test'):
    found = load.persona_conversations(config.real.data_dir or None, split)
    some = _conversations(found, rng, node)
    for name, value in _ranks(config, found, some, rng, node).items():
      arrays.setdefault(name, []).append(value)
  record = {'stored': node.stored, 'cpu_seconds': time.process_time() - began}
  whole = {name: np.concatenate(leaves) for name, leaves in arrays.items()}
  return units.Unit(record, whole)


def _conversations(found, rng, node) -> list[int]:
  """Returns rows in which both speak, of profiles that are in none before."""
  known: set[tuple[str, ...]] = set()
  some: list[int] = []
  for row in rng.permutation(len(found.texts)).tolist():
    both = found.profiles[row]
    speak = {turn.person for turn in found.turns[row]}
    if speak == {0, 1} and all(both) and not known & set(both):
      known |= set(both)
      some.append(row)
    if len(some) == node.conversations:
      break
  return some


def _ranks(config, found, some, rng, node) -> Arrays:
  """Returns ranks of profiles of one split, and numbers of them."""
  profiles = [found.profiles[row][who] for row in some for who in (0, 1)]
  turns = [
    [turn.text for turn in found.turns[row] if turn.person == who]
    for row in some
    for who in (0, 1)
  ]
  vectors = embedded(config, [t for each in (*profiles, *turns) for t in each])
  profile = [vectors.of(each) for each in profiles]
  said = [vectors.of(each) for each in turns]
  number = np.arange(len(profiles))
  arrays: Arrays = {'user': np.array([_digest(each) for each in profiles])}
  others = [
    rng.permutation(number[number // 2 != i // 2])[: node.stored - 1]
    for i in number
  ]
  for name, choose in _TURNS.items():
    for whose, shift in ((OWN, 0), (SWAPPED, 1)):
      rank = []
      for i in number:
        told = choose(said[i ^ shift], rng)
        like = np.array(
          [_like(profile[j], told) for j in (i, *others[i].tolist())]
        )
        rank.append(int((like[1:] >= like[0]).sum()))
      arrays[f'{name}|{whose}'] = np.array(rank)
  return arrays


_TURNS: Mapping[str, Any] = {
  'all_turns': lambda said, rng: said,
  'first_turns': lambda said, rng: said[: real_recall.COUNT],
  'last_turns': lambda said, rng: said[-real_recall.COUNT :],
  'random_turns': lambda said, rng: said[
    rng.permutation(len(said))[: real_recall.COUNT]
  ],
}


def _like(profile: np.ndarray, said: np.ndarray) -> float:
  """Returns the mean over turns of the cosine to the nearest sentence."""
  return float((said @ profile.T).max(1).mean())


def _digest(profile: Sequence[str]) -> int:
  """Returns a number of a profile that tells nothing of it."""
  return int(real_people.splits.bucket(['\n'.join(profile)], 'p', 1 << 31)[0])


# ------------------------------------------------------------------------ work


def work(config: Any) -> dict[str, units.Make]:
  """Returns all units."""
  found: dict[str, units.Make] = {
    PREFEVAL: functools.partial(preferences, config),
    PERSONAS: functools.partial(personas, config),
  }
  for name, node in config.real.choices.items():
    for fold in range(node.folds_used):
      found[f'{name}-{fold}'] = functools.partial(choices, config, name, fold)
  return found
