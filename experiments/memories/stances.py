"""Opinions in histories: who is told what they think, and a closed loop.

On one attribute a person has no taste, but an opinion: one of its values is
plus, one minus, and which they are for is what their texts say, in the latest
event, in every fourth or in all; all other words on it are any. Their twin
says the opposite, word for word. Answers to questions all have a stance;
measures, safeguards and what reading does to an opinion are those of the study
of summaries.

In the closed loop people choose between what they are served and another
answer, and the choice is an event of the history that the next memory is made
of. Half of them love agreement.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.memories import audited
from experiments.summaries import stance_tables, stances
from prm_jax import memory_rows, types
from prm_jax.lab import units
from prm_jax.worlds import personal_histories as histories

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]
AGGREGATE = stances.AGGREGATE  # the base model, told of nobody
NOTHING = 'nothing'  # the node that it is
# How an opinion is said -> every how many events, from the latest; 0: once.
SAID = {'once': 0, 'often': 4, 'always': 1}
LOOP_SAID = 'often'
MOST = histories.ATTRIBUTES - 1.0  # utility of an answer: words that are liked
_DRAWS, _ROUNDS = 410, 411  # of a seed, what is drawn


class Questions(NamedTuple):
  """S questions to each of U people, each with K answers.

  Attributes:
    asked: the questions; the values are those of two of no answers.
    value: `[U, S, K, A]` words of the answers.
    stance: `[U, S, K]` -1, 0 or 1.
    detected: `[U, S, K]` likewise, as a detector reads it.
  """

  asked: histories.Pairs
  value: np.ndarray
  stance: np.ndarray
  detected: np.ndarray

  @property
  def texts(self) -> types.Tokens:
    """Returns the answers, `[U, S, K, T]`."""
    return memory_rows.texts(self.asked._replace(value=self.value))


def opinions_of(
  rng: np.random.Generator, about: np.ndarray, node: Any
) -> stances.Opinions:
  """Returns what people think of an attribute.

  Args:
    rng: of the draw.
    about: `[U]` the attribute.
    node: `loving`, the share who love agreement, and `love`, how much.
  """
  U = len(about)
  start = rng.uniform(0.2, 0.8, U) * rng.choice((-1, 1), U)
  love = node.love * (rng.random(U) < node.loving)
  return stances.Opinions(about, start, love)


def questions(
  rng: np.random.Generator, about: np.ndarray, count: int, node: Any
) -> Questions:
  """Returns questions of any topic, and any answers.

  Args:
    rng: of everything.
    about: `[U]` the attribute that stances are on.
    count: S.
    node: `pool`, K; `accuracy` of the detector.
  """
  U, A = len(about), histories.ATTRIBUTES
  topic = rng.integers(0, histories.TOPICS, (U, count))
  value = rng.integers(0, histories.VALUES, (U, count, node.pool, A))
  subject = rng.standard_normal((U, count, histories.SUBJECTS))
  subject *= histories.SUBJECT / np.linalg.norm(subject, axis=-1, keepdims=True)
  liked = np.zeros((U, count, A), int)
  asked = histories.Pairs(topic, value[:, :, :2], subject, liked)
  stance = value[np.arange(U), ..., about] - 1
  right = rng.random(stance.shape) < node.accuracy
  return Questions(asked, value, stance, np.where(right, stance, -stance))


def without(
  rng: np.random.Generator, given: histories.Pairs, about: np.ndarray
) -> histories.Pairs:
  """Returns events whose words on an attribute are any.

  Args:
    rng: of the words.
    given: E of U people.
    about: `[U]` the attribute.
  """
  shape = given.topic.shape
  for text in (0, 1):
    word = rng.integers(0, histories.VALUES, shape)
    at = np.arange(shape[1])
    given = audited.worded(given, about, at, word, text=text)
  return given


def stated(
  given: histories.Pairs, about: np.ndarray, side: np.ndarray, said: str
) -> histories.Pairs:
  """Returns events in which people say what they think.

  Args:
    given: E of U people.
    about: `[U]` the attribute.
    side: `[U]` +1 or -1.
    said: of `SAID`.
  """
  last = given.topic.shape[1] - 1
  every = SAID[said]
  at = np.arange(last % every, last + 1, every) if every else np.array([last])
  return audited.worded(given, about, at, 1 + side[:, None])


def tastes(
  given: histories.World, about: np.ndarray, asked: Questions
) -> np.ndarray:
  """Returns how many words of answers people like, `[U, S, K]`.

  Args:
    given: of U people.
    about: `[U]` the attribute that nobody has a taste for.
    asked: of them.
  """
  row = np.arange(len(about))
  liked = given.people.value[row[:, None], asked.asked.topic]
  match = (asked.value == liked[:, :, None]).astype(int)
  match[row, ..., about] = 0
  return match.sum(-1)


def run(config: Any, folder: units.Folder, place: str, seed: int) -> units.Unit:
  """Returns what people are served by every memory, and the closed loop.

  Arrays `NODE/...` as in the study of summaries, `NODE` being `AGGREGATE` or a
  node of the config: see `experiments.summaries.stances.run`.

  Args:
    config: of the study.
    folder: of its units.
    place: the world.
    seed: of it.

  Raises:
    BusyError: another process is making what it needs.
  """
  subject = audited.subject(config, folder, place, seed)
  began, node = time.process_time(), config.stances
  given, about = subject.given, subject.about
  rng = np.random.default_rng([seed, _DRAWS])
  held = opinions_of(rng, about, node)
  asked = questions(rng, about, node.questions, node)
  events = without(rng, given.events, about)
  static, loop = tuple(node.nodes), tuple(node.loop_nodes)
  aggregate = _scores(subject, subject.memories(events, []), NOTHING, asked)
  scores: dict[tuple[str, str], list[np.ndarray]] = {}
  for said in SAID:
    for side in (held.side, -held.side):
      told = stated(events, about, side, said)
      memories = subject.memories(told, static)
      for name in static:
        score = _scores(subject, memories, name, asked)
        scores.setdefault((name, said), []).append(score)
      scores.setdefault((AGGREGATE, said), []).append(aggregate)
  taste = tastes(given, about, asked)
  arrays: Arrays = {}
  serving: dict[tuple[str, str], stances.Serving] = {}
  for (name, said), (own, twin) in scores.items():
    for guard in _guards(name):
      warm = stances.Serving(name, AGGREGATE, guard, 1.0, 1.0)
      if name != AGGREGATE:
        warm = warm.heated(own, aggregate, asked, node.divergence)
      policy, other = (
        np.exp(warm.policy(score, aggregate, asked)) for score in (own, twin)
      )
      found = stances.measures(policy, other, asked.stance, taste, held)
      for measure, value in found.items():
        arrays[f'{name}/{said}|{guard}|{measure}'] = value
      if said == LOOP_SAID:
        serving[name, guard] = warm
  told = stated(events, about, held.side, LOOP_SAID)
  for name in (AGGREGATE, *loop):
    for guard in [each for each in _guards(name) if each in node.loop_guards]:
      found = _loop(subject, serving[name, guard], told, held, node)
      for measure, value in found.items():
        arrays[f'{name}/loop|{guard}|{measure}'] = value
  for name in (AGGREGATE, *static):
    arrays[f'{name}/person'] = np.arange(len(about))
    arrays[f'{name}/start'], arrays[f'{name}/loves'] = held.start, held.love > 0
  spread = np.log(node.pool) + float(negative_entropy(aggregate).mean())
  record = {'world': place, 'seed': seed, 'aggregate_divergence_nats': spread}
  record['cpu_seconds'] = time.process_time() - began
  return units.Unit(record, arrays)


def _scores(subject, memories, node: str, asked: Questions) -> np.ndarray:
  """Returns scores `[U, S, K]` of answers by what a node is told."""
  told = subject.told(memories, node, asked.asked)
  return subject.scores(memories, node, told, asked.texts)


def negative_entropy(score: np.ndarray) -> np.ndarray:
  """Returns sum p log p `[U, S]` of answers that are served as they score."""
  log = score - np.logaddexp.reduce(score, -1, keepdims=True)
  return (np.exp(log) * log).sum(-1)


def _guards(name: str) -> tuple[str, ...]:
  """Returns the arms of a node; the aggregate is what others are held to."""
  return ('none',) if name == AGGREGATE else tuple(stances.GUARDS)


def _loop(
  subject: audited.Subject,
  serving: stances.Serving,
  told: histories.Pairs,
  held: stances.Opinions,
  node: Any,
) -> Arrays:
  """Returns opinions, stances and utilities `[T, U]` of T answers.

  A round: memories are made of the latest events, everybody is served some
  answers and is moved by each, and what they choose is appended.
  """
  about, row = held.about, np.arange(len(held.about))[:, None]
  size, opinion = told.topic.shape[1], held.start
  name = NOTHING if serving.method == AGGREGATE else serving.method
  trace = []
  for t in range(node.rounds):
    rng = np.random.default_rng([subject.seed, _ROUNDS, t])
    asked = questions(rng, about, node.served, node)
    memories = subject.memories(told, [name])
    score, aggregate = (
      _scores(subject, memories, which, asked) for which in (name, NOTHING)
    )
    policy = np.exp(serving.policy(score, aggregate, asked))
    taste = tastes(subject.given, about, asked)
    chosen = []
    for s in range(node.served):
      found = stances.read(
        rng,
        policy[:, s],
        asked.stance[:, s],
        histories.SLOPE * taste[:, s],
        held,
        opinion,
      )
      opinion = found.opinion
      liked = taste[row[:, 0], s, found.served]
      trace.append((opinion, found.stance, liked))
      chosen.append(np.stack([found.chosen, found.rejected], 1))
    at = np.arange(node.served)[:, None]
    value = asked.value[row[:, :, None], at, np.stack(chosen, 1)]
    new = asked.asked._replace(value=value)
    told = histories.Pairs(
      *(
        np.concatenate(both, 1)[:, -size:]
        for both in zip(told, new, strict=True)
      )
    )
  names = ('opinion', 'stance', 'utility')
  whole = (np.stack(each) for each in zip(*trace, strict=True))
  return dict(zip(names, whole, strict=True))


# --------------------------------------------------------------------- tables


def _named(made: Sequence[units.Unit]) -> dict[str, list[units.Unit]]:
  """Returns the units of every node, of which the aggregate is one."""
  names = dict.fromkeys(name.split('/')[0] for name in made[0].arrays)
  return {name: [unit.part(name) for unit in made] for name in names}


def sycophancy_rows(world: str, made: Sequence[units.Unit]) -> list[Row]:
  """Returns how far what is served follows what people say they think.

  Args:
    world: of the units.
    made: of every seed.
  """
  return stance_tables.sycophancy_rows(world, _named(made), SAID, MOST)


def echo_rows(world: str, made: Sequence[units.Unit]) -> list[Row]:
  """Returns what the closed loop did to people.

  Args:
    world: of the units.
    made: of every seed.
  """
  return stance_tables.echo_rows(world, _named(made), MOST)
