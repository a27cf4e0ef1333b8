"""PrefEval: a preference, in three forms, and a question that tests it.

Four files say the same 1,000 preferences; a record joins their rows.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

FILES = ('explicit', 'implicit_choice', 'implicit_persona', 'mcq')
OPTIONS = 4  # of a question and of a choice; the first follows the preference
_TEXTS = (
  'topic',
  'preference',
  'question',
  'explanation',
  'persona',
  'choice_query',
  'choice_offer',
  'choice_said',
  'choice_reply',
)
_LISTS = {'options': OPTIONS, 'choice_options': OPTIONS}
_TURNS = ('said', 'answered')
_CHOICE = {
  'choice_offer': 'assistant_options',
  'choice_said': 'user_selection',
  'choice_reply': 'assistant_acknowledgment',
}


class Turn(NamedTuple):
  """What a person said to an assistant, and what it answered."""

  said: str
  answered: str


@dataclasses.dataclass(frozen=True)
class StatedPreferences:
  """n preferences, each said in three forms and tested by one question.

  All texts are model-written and were filtered by people.

  Attributes:
    topics: n names; numbers: `[n]` int32, of each within its topic.
    preferences: n sentences that state them.
    questions: n, whose naive answer violates the preference.
    explanations: n, why it does; empty where the source says nothing.
    options: n answers in four; **the first follows the preference**, the
      others violate it. Deal them anew before anybody sees them.
    violation: `[n]` float32 share of naive answers that violated the
      preference; NaN where it was not measured.
    personas: n descriptions of who speaks in `turns`.
    turns: n conversations, in which the preference is said by the way.
    choice_queries: n other questions of the same person.
    choice_options: n answers to those in four; the first is the one chosen.
    choice_offers: n texts in which an assistant offers the four, in the
      order that the person saw.
    choice_said: n texts in which the person chooses; choice_replies: n
      answers to that.
  """

  topics: list[str]
  numbers: np.ndarray
  preferences: list[str]
  questions: list[str]
  explanations: list[str]
  options: list[tuple[str, ...]]
  violation: np.ndarray
  personas: list[str]
  turns: list[tuple[Turn, ...]]
  choice_queries: list[str]
  choice_options: list[tuple[str, ...]]
  choice_offers: list[str]
  choice_said: list[str]
  choice_replies: list[str]


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Stated preferences (Zhao et al. 2025, arXiv:2502.09597), CC BY-NC 4.0."""

  name = 'prefeval'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text()
    lists = {
      name: tfds.features.Sequence(text, length=length)
      for name, length in _LISTS.items()
    }
    turns = {name: tfds.features.Sequence(text) for name in _TURNS}
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict(
        {
          **dict.fromkeys(_TEXTS, text),
          **lists,
          **turns,
          'number': np.int32,
          'violation': np.float32,
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'preferences': self._generate_examples()}

  def _generate_examples(self):
    explicit, *others = self.builder_config.files
    readers = (_chosen, _talked, _asked)
    parts = [
      dict(_records(path, read))
      for path, read in zip(others, readers, strict=True)
    ]
    stated = list(_records(explicit, _stated))
    for number, (key, record) in enumerate(stated):
      for path, part in zip(others, parts, strict=True):
        if key not in part:
          raise schema.SchemaError(f'{path}: topic, k: no row {key}')
        if part[key]['question'] != record['question']:
          raise schema.SchemaError(
            f'{path}: question: that of row {key} is another one than in '
            f'{explicit}'
          )
        record = record | part[key]
      yield number, record
    for path, part in zip(others, parts, strict=True):
      if more := part.keys() - dict(stated).keys():
        raise schema.SchemaError(
          f'{explicit}: topic, k: no row {min(more)}, which {path} has'
        )


def _records(path: Path, read: Any) -> Iterator[tuple[tuple[str, int], dict]]:
  """Yields (topic, k) and what a reader takes of each of a file's rows."""
  known = set()
  fields = {'topic': str, 'k': int, 'question': str}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    key = row['topic'], row['k']
    try:
      if key in known:
        raise schema.SchemaError(f'topic, k: {key} occurs twice')
      record = read(row)
    except schema.SchemaError as error:
      raise schema.SchemaError(f'{path}:{number}: {error}') from None
    known.add(key)
    yield key, {'question': row['question'], **record}


def _stated(row: dict) -> dict:
  return {
    'topic': row['topic'],
    'number': row['k'],
    'preference': _text(row, 'preference'),
    'explanation': _text(row, 'explanation') if 'explanation' in row else '',
  }


def _chosen(row: dict) -> dict:
  options = _four(row, 'options')
  if row.get('aligned_op') != options[0]:
    raise schema.SchemaError('aligned_op: is not the first of options')
  talk = row.get('conversation')
  if not isinstance(talk, dict):
    raise schema.SchemaError('conversation: expected dict')
  said = {ours: _text(talk, theirs) for ours, theirs in _CHOICE.items()}
  query = _text(row, 'implicit_query')
  return {'choice_query': query, 'choice_options': options, **said}


def _talked(row: dict) -> dict:
  talk = row.get('conversation')
  if not isinstance(talk, dict) or not talk:
    raise schema.SchemaError('conversation: expected turns')
  if set(talk) != {str(turn) for turn in range(len(talk))}:
    raise schema.SchemaError('conversation: turns are not numbered 0, 1, ...')
  turns = [talk[str(turn)] for turn in range(len(talk))]
  if not all(isinstance(turn, dict) for turn in turns):
    raise schema.SchemaError('conversation: expected objects')
  return {
    'persona': _text(row, 'persona'),
    'said': [_text(turn, 'user') for turn in turns],
    'answered': [_text(turn, 'assistant') for turn in turns],
  }


def _asked(row: dict) -> dict:
  share = row.get('violation_probability', math.nan)
  if isinstance(share, bool) or not isinstance(share, int | float):
    raise schema.SchemaError('violation_probability: expected float')
  if not (math.isnan(share) or 0 <= share <= 1):
    raise schema.SchemaError(f'violation_probability: {share} is no share')
  options = _four(row, 'classification_task_options')
  return {'options': options, 'violation': share}


def _text(row: dict, name: str) -> str:
  if not isinstance(row.get(name), str):
    raise schema.SchemaError(f'{name}: expected str')
  return row[name]


def _four(row: dict, name: str) -> list[str]:
  options = row.get(name)
  if not isinstance(options, list) or len(options) != OPTIONS:
    raise schema.SchemaError(f'{name}: expected {OPTIONS} texts')
  if not all(isinstance(option, str) for option in options):
    raise schema.SchemaError(f'{name}: expected strings')
  if len(set(options)) < OPTIONS:
    raise schema.SchemaError(f'{name}: a text occurs twice')
  return options


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the four files in `data_dir/prefeval`."""
  folder = data_dir / 'prefeval'
  return table.source_config(
    [table.existing(folder / f'{name}.jsonl.gz') for name in FILES]
  )


def read_prepared(builder: Builder) -> StatedPreferences:
  """Returns what a prepared builder holds, in the file's order."""
  rows = list(builder.as_data_source('preferences'))
  text = {name: [row[name].decode() for row in rows] for name in _TEXTS}
  lists: dict[str, list[tuple[str, ...]]] = {
    name: [tuple(one.decode() for one in row[name]) for row in rows]
    for name in (*_LISTS, *_TURNS)
  }
  return StatedPreferences(
    topics=text['topic'],
    numbers=np.array([row['number'] for row in rows], np.int32),
    preferences=text['preference'],
    questions=text['question'],
    explanations=text['explanation'],
    options=lists['options'],
    violation=np.array([row['violation'] for row in rows], np.float32),
    personas=text['persona'],
    turns=[
      tuple(Turn(*turn) for turn in zip(*pair, strict=True))
      for pair in zip(lists['said'], lists['answered'], strict=True)
    ],
    choice_queries=text['choice_query'],
    choice_options=lists['choice_options'],
    choice_offers=text['choice_offer'],
    choice_said=text['choice_said'],
    choice_replies=text['choice_reply'],
  )
