"""Worlds of a few judgements or problems, on which every entry is fitted.

Contract tests build and fit each entry of the registry on the world that the
entry names; a method that is added needs no list elsewhere.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from prm_jax import (
  history_rows,
  judging_rows,
  judging_tasks,
  types,
  world_tasks,
)
from prm_jax.learners import directive
from prm_jax.models import decoder
from prm_jax.policy import critics, padding, phases, tasks
from prm_jax.worlds import arithmetic, histories, judging

FEATURES, PEOPLE, TEXTS, LENGTH = 5, 6, 30, 4
VOCABULARY = 12
PROBLEMS = 4  # of one step
READER = decoder.DecoderConfig(VOCABULARY, 8, 16, 2, 2, 1, 4)
DECODER = decoder.DecoderConfig(
  len(arithmetic.TOKENS), 16, 32, 2, 2, 1, 8, tie_word_embeddings=True
)
WRITER = history_rows.writer(dataclasses.replace(DECODER, num_hidden_layers=1))
JUDGE = dataclasses.replace(DECODER, vocab_size=len(judging.TOKENS))


class World(NamedTuple):
  """What an entry is built with, and fitted on.

  Attributes:
    options: of the factory.
    data: the whole training data; None where nothing is fitted.
    spec: sizes that `Learner.init` needs.
  """

  options: Mapping[str, Any]
  data: types.Batch | None = None
  spec: types.Spec = types.Spec(FEATURES, PEOPLE)


def options(**given: Any) -> Callable[[], World]:
  """Returns the world of an entry that is built and not fitted."""
  return lambda: World(given)


def judgements(seed: int = 0, n: int = 299, **given: Any) -> World:
  """Returns judgements of people who mostly share a taste.

  Args:
    seed: of texts, people and judgements.
    n: judgements.
    given: options of the factory.
  """
  rng = np.random.default_rng(seed)
  table = rng.normal(size=(TEXTS, FEATURES)).astype(np.float32)
  shared = np.array([2.0, -1, 0, 0, 0])
  taste = shared + 0.5 * rng.normal(size=(PEOPLE, FEATURES))
  user = rng.integers(0, PEOPLE, n).astype(np.int32)
  items = np.stack([rng.permutation(TEXTS)[:2] for _ in range(n)])
  margin = np.sum((table[items[:, 0]] - table[items[:, 1]]) * taste[user], 1)
  said = types.Judgements(
    user,
    (margin > 0).astype(np.float32),
    np.ones(n, np.float32),
    np.arange(n, dtype=np.int32),
  )
  inputs = types.Inputs(table, items.astype(np.int32))
  return World(given, types.Batch(said, inputs))


def said(form: str = 'choices', n: int = 240, **given: Any) -> World:
  """Returns what people say of candidates, in the form that a head reads.

  Args:
    form: 'choices', 'ties', 'levels' (seven), 'ranks' (of four), 'ratings',
      'attributes' (two, some of them missing), 'steps' (four, some missing)
      or 'lengths' (choices, with the log lengths of both).
    n: rows.
    given: options of the head.
  """
  world = judgements(n=n, **given)
  assert world.data is not None
  rng = np.random.default_rng(1)
  table, rows = np.asarray(world.data.inputs.value), world.data.rows
  count = {'ranks': 4, 'steps': 4, 'ratings': 1, 'attributes': 1}.get(form, 2)
  index = np.stack([rng.permutation(TEXTS)[:count] for _ in range(n)])
  good = table[index] @ np.array([2.0, -1, 0, 0, 0])
  heard = good + 0.5 * rng.normal(size=good.shape)
  apart = heard[:, 0] - heard[:, -1]
  missing = np.where(rng.random((n, 4)) < 0.2, np.nan, 0.0)
  second = table[index[:, 0], 2] + 0.3 * rng.normal(size=n)
  first = (apart > 0).astype(float)
  label = {
    'choices': lambda: first,
    'ties': lambda: (np.sign(np.round(apart / 1.5)) + 1) / 2,
    'levels': lambda: (np.clip(np.round(apart), -3, 3) + 3) / 6,
    'ranks': lambda: (-heard).argsort(1).argsort(1),
    'ratings': lambda: heard[:, 0],
    'attributes': lambda: np.stack([heard[:, 0], second + missing[:, 0]], 1),
    'steps': lambda: (heard > 0) + missing,
    'lengths': lambda: np.column_stack([first, rng.normal(size=(n, 2))]),
  }[form]()
  rows = rows._replace(label=np.asarray(label, np.float32))
  inputs = types.Inputs(table, index.astype(np.int32))
  return World(given, types.Batch(rows, inputs), world.spec)


def rated(seed: int = 0, n: int = 299, **given: Any) -> World:
  """Returns judgements of texts that were rated by three attributes.

  The first two are what the people's shared taste is made of, the third is
  verbosity, which the first one follows a little; a fifth is missing.

  Args:
    seed: of texts, people and judgements.
    n: judgements.
    given: options of the factory, beside the ratings.
  """
  world = judgements(seed, n, **given)
  assert world.data is not None
  rng, x = np.random.default_rng(seed + 1), np.asarray(world.data.inputs.value)
  ratings = np.stack([2 * x[:, 0] + 0.3 * x[:, 2], -x[:, 1], x[:, 2]], 1)
  ratings = ratings + 3.0 + 0.3 * rng.normal(size=ratings.shape)
  ratings[rng.random(ratings.shape) < 0.2] = np.nan
  return world._replace(options={'ratings': ratings, **given})


def texts(seed: int = 0, n: int = 60, **given: Any) -> World:
  """Returns judgements of texts as token ids, padded on either side.

  Args:
    seed: of texts, people and judgements.
    n: judgements.
    given: options of the factory.
  """
  world = judgements(seed, n, **given)
  rng = np.random.default_rng(seed)
  length = rng.integers(2, LENGTH + 2, TEXTS)
  place = np.arange(2 * LENGTH)[None] - rng.integers(0, 2, (TEXTS, 1))
  mask = (place >= 0) & (place < length[:, None])
  ids = rng.integers(1, VOCABULARY, mask.shape) * mask
  tokens = types.Tokens(ids.astype(np.int32), mask.astype(np.int32))
  assert world.data is not None
  spec = types.Spec(READER.hidden_size, PEOPLE)
  return World(given, world.data.over(tokens), spec)


def triples(n: int = 23, **given: Any) -> World:
  """Returns texts of policies that favour different tokens, as token ids.

  A row's first text and its reference are of the row's policy, the second of
  another one.

  Args:
    n: rows.
    given: options of the factory.
  """
  rng = np.random.default_rng(0)
  policy = np.arange(TEXTS) % PEOPLE
  favoured = 1 + policy[:, None] + rng.integers(0, 2, (TEXTS, LENGTH))
  table = favoured.astype(np.int32)
  user = rng.integers(0, PEOPLE, n).astype(np.int32)
  place = np.stack([rng.permutation(TEXTS // PEOPLE)[:2] for _ in range(n)])
  other = (user + rng.integers(1, PEOPLE, n)) % PEOPLE
  items = np.stack(
    [user + PEOPLE * place[:, 0], other, user + PEOPLE * place[:, 1]], 1
  )
  ones = np.ones(n, np.float32)
  said = types.Judgements(user, ones, ones, np.arange(n, dtype=np.int32))
  inputs = types.Inputs(table, items.astype(np.int32))
  sizes = decoder.DecoderConfig(VOCABULARY, 8, 16, 1, 2, 1, 4)
  return World(
    {'config': sizes, 'length': LENGTH, **given},
    types.Batch(said, inputs),
    types.Spec(LENGTH, PEOPLE),
  )


def problems(**given: Any) -> World:
  """Returns one-step problems of arithmetic, for learners of policies.

  Args:
    given: options of the factory, beside task and decoder.
  """
  rng = np.random.default_rng(0)
  world = arithmetic.draw(
    rng, arithmetic.tables(rng), (arithmetic.EASY,), PROBLEMS
  )

  task = world_tasks.arithmetic_task(world)

  def verify(problem, tokens):
    # Half a point for the length, so that groups of a tiny policy differ.
    return task.verify(problem, tokens) + 0.25 * (tokens.ids[:, 0] % 2)

  parts = {
    'task': task._replace(verify=verify),
    'config': DECODER,
    'critic': _critic(world),
    'replies': _replies(world),
    'shown': _shown(world),
    'training': phases.Training(1e-2, 2),
  }
  wanted = {name: parts[name] for name in given.pop('needs')}
  data = tasks.problems(np.arange(PROBLEMS))
  return World({**wanted, **given}, data, types.Spec(1, 1))


def judged(**given: Any) -> World:
  """Returns solutions of one step, judged one by one, for learners of judges.

  Args:
    given: options of the factory, beside task and decoder.
  """
  rows = _solutions()
  task = judging_tasks.judgements(rows)

  def verify(problem, tokens):
    # A tiny judge writes no trace: half of its texts are right nevertheless.
    return task.verify(problem, tokens) + 1.0 * (tokens.ids[:, 0] % 2)

  parts = {
    'task': task._replace(verify=verify),
    'config': JUDGE,
    'shown': judging_tasks.traces(rows, batch=len(rows.right)),
    'training': phases.Training(1e-2, 2),
  }
  wanted = {name: parts[name] for name in given.pop('needs')}
  data = tasks.problems(np.arange(len(rows.right)))
  return World({**wanted, **given}, data, types.Spec(1, 1))


def criticised(**given: Any) -> World:
  """Returns choices between solutions of one step, with critiques that judge.

  Args:
    given: options of the factory, beside critiques and decoder.
  """
  rows = _solutions()
  task = judging_tasks.judgements(rows)
  parts = {
    'shown': judging_tasks.traces(rows, batch=len(rows.right)),
    'backbone': {'config': JUDGE, 'trains': 'whole', 'learning_rate': 1e-2},
    'max_new_tokens': task.max_new_tokens,
    'stop_ids': task.stop_ids,
  }
  spec = types.Spec(JUDGE.hidden_size, 1)
  return World({**parts, **given}, judging_rows.choices(rows), spec)


def summarised(**given: Any) -> World:
  """Returns histories of a few people, and what they choose.

  Args:
    given: options of the factory, beside the writer.
  """
  rng = np.random.default_rng(0)
  known = histories.training(rng, PEOPLE, histories_each=1, pairs_each=3)
  spec = types.Spec(WRITER.config.hidden_size, PEOPLE)
  return World({'writer': WRITER, **given}, history_rows.contexts(known), spec)


def _solutions() -> judging.Judgements:
  rng = np.random.default_rng(0)
  world = judging.draw(
    rng, judging.tables(rng), np.ones(PROBLEMS, int), width=1, unseen=False
  )
  return judging.pointwise(rng, world, np.ones(PROBLEMS, bool))


def _critic(world: arithmetic.Problems) -> critics.Critic:
  return world_tasks.arithmetic_critic(world, 'step_by_step')


def _replies(world: arithmetic.Problems) -> directive.Replies:
  critic = _critic(world)

  def replies(key, problem, answers):
    zeros = np.zeros(len(problem))
    said, _ = critic(key, None, problem, answers, zeros, zeros)
    hinted = arithmetic.refinements(world.take(problem), answers.ids, said.ids)
    verdict = np.where(answers.ids[:, 0] % 2, 1.0, -1.0)
    return directive.Reply(
      verdict, padding.full(hinted), np.ones(len(problem), bool)
    )

  return replies


def _shown(world: arithmetic.Problems):
  def shown(key, start):
    del key, start
    answers = arithmetic.responses(arithmetic.chains(world))
    return (padding.full(arithmetic.prompts(world)), padding.full(answers))

  return shown
