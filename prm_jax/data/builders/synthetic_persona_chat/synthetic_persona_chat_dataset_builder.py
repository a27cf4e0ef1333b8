"""Synthetic-Persona-Chat: two people's profiles, and what they say."""

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

SPLITS = ('valid', 'test')  # the snapshot has no training split
_PROFILES = ('user 1 personas', 'user 2 personas')
_CONVERSATION = 'Best Generated Conversation'
# Names stand in bold or after bullets in some conversations.
_SPEAKER = re.compile(r'[*\s]*User ([12]):')
_AROUND = '* \t\r'  # emphasis, bullets and rules


class Spoken(NamedTuple):
  """What one of two people says; `person` is 0 or 1."""

  person: int
  text: str


@dataclasses.dataclass(frozen=True)
class Conversations:
  """n conversations of two people.

  Profiles are PersonaChat's, written by crowd workers; conversations are
  written by a model.

  Attributes:
    profiles: n pairs of profiles, each of a few sentences.
    texts: n conversations as they are in the source.
    turns: what of those is said by somebody whose name is before it, in
      order; none where no name is. Lines without a name, such as stage
      directions, belong to the turn before them.
  """

  profiles: list[tuple[tuple[str, ...], tuple[str, ...]]]
  texts: list[str]
  turns: list[tuple[Spoken, ...]]


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Profiles and conversations (Jandaghi et al. 2023), CC BY 4.0."""

  name = 'synthetic_persona_chat'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text()
    profiles = {
      name: tfds.features.Sequence(text) for name in ('first', 'second')
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict({**profiles, 'text': text}),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      split: self._generate_examples(path)
      for split, path in zip(SPLITS, self.builder_config.files, strict=True)
    }

  def _generate_examples(self, path):
    fields = dict.fromkeys((*_PROFILES, _CONVERSATION), str)
    for number, row in enumerate(table.json_rows(path, fields), 1):
      profiles = [
        [line.strip() for line in row[name].splitlines() if line.strip()]
        for name in _PROFILES
      ]
      for name, sentences in zip(_PROFILES, profiles, strict=True):
        if not sentences:
          raise schema.SchemaError(f'{path}:{number}: {name}: is empty')
      first, second = profiles
      record = {'first': first, 'second': second, 'text': row[_CONVERSATION]}
      yield number - 1, record


def spoken(text: str) -> tuple[Spoken, ...]:
  r"""Returns the turns of a conversation.

  Args:
    text: lines, of which those that begin with `User 1:` or `User 2:` open a
      turn; emphasis about them and rules of asterisks are no words. What
      stands before the first of them has no speaker and is left out.

  Examples:
    >>> spoken('**User 1:** Hi!\n\n* User 2: Bye. *\n[Later]')
    (Spoken(person=0, text='Hi!'), Spoken(person=1, text='Bye.\n[Later]'))
  """
  turns: list[Spoken] = []
  for line in text.splitlines():
    if found := _SPEAKER.match(line):
      said = line[found.end() :].strip(_AROUND)
      turns.append(Spoken(int(found[1]) - 1, said))
    elif turns and line.strip(_AROUND):
      before = turns.pop()
      whole = f'{before.text}\n{line.strip()}'.strip()
      turns.append(Spoken(before.person, whole))
  return tuple(turns)


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of `data_dir/synthetic_persona_chat`."""
  folder = data_dir / 'synthetic_persona_chat'
  return table.source_config(
    [table.existing(folder / f'{name}.jsonl.gz') for name in SPLITS]
  )


def read_prepared(builder: Builder, split: str) -> Conversations:
  """Returns what a prepared builder holds of a split, in the file's order."""
  rows = list(builder.as_data_source(split))
  texts = [row['text'].decode() for row in rows]

  def profile(row, name):
    return tuple(sentence.decode() for sentence in row[name])

  return Conversations(
    profiles=[(profile(row, 'first'), profile(row, 'second')) for row in rows],
    texts=texts,
    turns=[spoken(text) for text in texts],
  )
