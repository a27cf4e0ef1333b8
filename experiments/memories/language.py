"""Real histories told to a language model, and adapters of people on it.

Nothing but adapters is trained, one a person, beside weights that are the same
for all: x W + (x a) b. What is told and trained is of the person's own events;
controls are another person's.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.memories import real, real_recall, real_tables, words
from prm_jax import memory_texts
from prm_jax.data import history_sources, user_histories
from prm_jax.lab import units
from prm_jax.models import adapters as banks
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel
from prm_jax.systems import personal_adapters, personal_memories

Row = dict[str, Any]
Parts = personal_memories.Parts
NODES: Mapping[str, Parts] = {
  name: personal_memories.NODES[name]
  for name in (
    *('nothing', 'events_recency', 'events_similarity'),
    *('events_similarity_then_recency', 'adapter_task', 'adapter_dpo'),
    *('dual_task', 'another_events', 'another_adapter'),
  )
}


@functools.lru_cache(maxsize=1)
def _loaded(path: str) -> LanguageModel:
  return LanguageModel.load(Path(path) if path else None)


def model_of(config: Any) -> LanguageModel:
  """Returns the language model.

  Args:
    config: of the study.

  Raises:
    ValueError: it has other sizes than the config says.
  """
  node = config.language
  model = _loaded(node.model)
  if node.sizes:
    wanted = decoder.DecoderConfig(**node.sizes.to_dict())
    if wanted != model.config:
      raise ValueError(
        f'{node.model}: {model.config}, and language.sizes are {wanted}'
      )
  return model


def episodes(config: Any, name: str) -> list[user_histories.Episode]:
  """Returns new people's histories and what they are asked, one a person.

  Args:
    config: of the study.
    name: of the data.
  """
  node = config.language
  options = node.data[name].to_dict()
  known = history_sources.read(name, node.data_dir or None, **options)
  parts = user_histories.split(known, 0, least=1, most=node.events)
  rng = np.random.default_rng([config.seeds[0], 0x1A6])
  found: list[user_histories.Episode] = []
  seen: set[int] = set()
  some = parts[user_histories.NEW]
  for row in rng.permutation(len(some)).tolist():
    episode = some[row]
    strict = tuple(p for p in episode.pairs if p.label != 0.5)[: node.pairs]
    if strict and episode.user not in seen and len(found) < node.people:
      seen.add(episode.user)
      found.append(episode._replace(pairs=strict))
  return found


def run(config: Any, name: str) -> units.Unit:
  """Returns how often a language model that is told of people is right.

  Arrays `[n]`: `user`, `about`, and credits by node.

  Args:
    config: of the study.
    name: of the data.
  """
  began, node, model = time.process_time(), config.language, model_of(config)
  some = episodes(config, name)
  limits = memory_texts.Limits(events=node.events, **node.limits)
  histories = [episode.events for episode in some]
  pairs = [episode.pairs for episode in some]
  texts, there = memory_texts.asked(model.tokenizer, pairs, limits=limits)
  keys, query = _embedded(config, histories, pairs, texts.ids.shape[1])
  memories = personal_memories.Memories(
    memory_texts.kept(model.tokenizer, histories, keys, limits=limits),
    {},
    {
      objective: trained(config, model, histories, objective, limits)
      for objective in ('task', 'dpo')
    },
    {},
  )
  label = np.zeros(there.shape)
  for row, own in enumerate(pairs):
    label[row, : len(own)] = [pair.label for pair in own]
  known = there > 0
  users = np.array([episode.user for episode in some])
  arrays = {
    'user': np.repeat(users, known.sum(1)),
    'about': np.array([pair.about for own in pairs for pair in own]),
  }
  for which, parts in NODES.items():
    score = np.asarray(
      personal_memories.scored(
        jax.random.key(config.seeds[0]),
        model.config,
        model.params,
        memories,
        parts._replace(events=node.told),
        jnp.asarray(query),
        texts,
      )
    )
    lead = score[..., 0] - score[..., 1]
    credit = np.where(lead == 0, 0.5, (lead > 0) == (label > 0.5))
    arrays[which] = credit[known]
  record = {
    'data': name,
    'cpu_seconds': time.process_time() - began,
    'gigabytes': memory_texts.memory_gigabytes(
      model.config,
      rank=node.rank,
      people=len(some),
      together=node.together,
      batch=2 * node.batch,
      tokens=limits.text,
    ),
  }
  return units.Unit(record, arrays)


def trained(
  config: Any,
  model: LanguageModel,
  histories: Sequence[Sequence[user_histories.TextEvent]],
  objective: str,
  limits: memory_texts.Limits,
) -> banks.Bank:
  """Returns adapters of all people, trained some people at a time.

  Args:
    config: of the study.
    model: that is adapted.
    histories: of U people.
    objective: of the adapters.
    limits: of texts.
  """
  node = config.language
  start, U = jax.random.key(config.seeds[0]), len(histories)
  bank = banks.init(
    jax.random.fold_in(start, 0),
    model.config,
    model.params,
    people=node.together,
    rank=node.rank,
  )
  found = []
  for first in range(0, U, node.together):
    rows = np.arange(first, min(first + node.together, U))
    filled = np.concatenate([rows, np.full(node.together - len(rows), rows[0])])
    own = [histories[row] for row in filled]
    done, _ = personal_adapters.fit(
      jax.random.fold_in(start, 1),
      model.config,
      model.params,
      bank,
      memory_texts.lessons(model.tokenizer, own, limits=limits),
      objective=objective,
      steps=node.steps,
      batch=node.batch,
      hyper=personal_adapters.Hyper(jnp.float32(node.rate), node.beta),
    )
    found.append(banks.of(done, jnp.arange(len(rows))))
  people = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
  return bank._replace(people=people)


def _embedded(config, histories, pairs, size):
  """Returns keys of events `[E, D]` of each, and queries `[U, Q, D]`."""
  texts = [
    text
    for some in (*histories, *pairs)
    for each in real_recall.texts(some)
    for text in each
  ]
  vectors = real.embedded(config, texts)
  keys = [real_recall.seen(own, vectors).key for own in histories]
  dim = vectors.values.shape[1]
  query = np.zeros((len(pairs), size, dim), np.float32)
  for user, own in enumerate(pairs):
    query[user, : len(own)] = real_recall.seen(own, vectors).key
  return keys, query


def rows(name: str, made: units.Unit) -> list[Row]:
  """Returns how often each node is right, and above the model told of nobody.

  Args:
    name: of the data.
    made: its unit.
  """
  answers = real_tables.Answers(made.arrays, 'user', 'about')
  found = []
  for node in NODES:
    own = made.arrays[node]
    row: Row = {'data': name, 'method': node, **answers.mean('right', own)}
    if node != 'nothing':
      less = own - made.arrays['nothing']
      row |= answers.mean('over_nothing', less, least=-1.0)
    for other, mine in words.OWN.items():
      if mine == node and other in made.arrays:
        less = own - made.arrays[other]
        row |= answers.mean('over_another', less, least=-1.0)
    found.append({**row, **answers.counts(), **made.record['gigabytes']})
  return found


def work(config: Any) -> dict[str, units.Make]:
  """Returns all units."""
  return {
    f'language-{name}': functools.partial(run, config, name)
    for name in config.language.data
  }


def made(config: Any, folder: units.Folder) -> dict[str, list[Row]]:
  """Returns the table, of units that are done.

  Args:
    config: of the study.
    folder: of its units.
  """
  return {
    'language': [
      row
      for name in config.language.data
      for row in rows(name, folder.read(f'language-{name}'))
    ]
  }
