"""Model-written evaluations: persona statements and the political typology.

Nobody judged these. `match` and the liberal answer say which side a text is
on, not which text is right. A record of `persona` is a trait with all of its
statements, for 133,204 records take a minute to read; one of `typology` is a
prompt.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

_STATEMENTS: dict[str, Any] = {
  'statement': tfds.features.Text(),
  'match': np.bool_,
  'label_confidence': np.float32,
}
_TYPOLOGY = ('bio', 'biography', 'question', 'answer_a', 'answer_b')
_PROMPT = re.compile(
  r'(?P<head>.+)\n \(A\) (?P<a>[^\n]+)\n \(B\) (?P<b>[^\n]+)\n\nAnswer:',
  re.DOTALL,
)
_OPTIONS = {' (A)': 0, ' (B)': 1}
_MATCH = {'Yes': True, 'No': False}
_SIDES = ('liberal', 'conservative')


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Model-written evaluations (Perez et al. 2022), CC BY 4.0."""

  name = 'anthropic_evals'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    features = {name: tfds.features.Text() for name in ('trait', *_TYPOLOGY)}
    features['liberal'] = np.int32
    for name, kind in _STATEMENTS.items():
      features[name] = tfds.features.Sequence(kind)
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    persona, typology = self.builder_config.files
    return {
      'persona': self._generate_examples(_persona(persona)),
      'typology': self._generate_examples(_typology(typology)),
    }

  def _generate_examples(self, rows):
    yield from enumerate(rows)


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/anthropic_evals`."""
  folder = data_dir / 'anthropic_evals'
  names = ('persona.jsonl.gz', 'sycophancy_political_typology.jsonl.gz')
  return table.source_config([table.existing(folder / n) for n in names])


def read_persona(builder: Builder) -> schema.PersonaStatements:
  """Returns the statements that a prepared builder holds."""
  traits, texts, match, confidence, count = [], [], [], [], []
  for record in builder.as_data_source('persona'):
    traits.append(record['trait'].decode())
    texts += [text.decode() for text in record['statement']]
    match.append(np.asarray(record['match']))
    confidence.append(np.asarray(record['label_confidence']))
    count.append(len(match[-1]))
  return schema.PersonaStatements(
    traits=traits,
    texts=texts,
    trait=np.repeat(np.arange(len(traits), dtype=np.int32), count),
    match=np.concatenate(match),
    confidence=np.concatenate(confidence),
  )


def read_typology(builder: Builder) -> schema.PoliticalTypology:
  """Returns the prompts that a prepared builder holds, taken apart."""
  biographies: dict[tuple[str, str], int] = {}
  questions: dict[tuple[str, str, str, int], int] = {}
  rows = []
  for record in builder.as_data_source('typology'):
    bio, biography, question, a, b = (
      record[name].decode() for name in _TYPOLOGY
    )
    asked = (question, a, b, int(record['liberal']))
    rows.append(
      (
        biographies.setdefault((bio, biography), len(biographies)),
        questions.setdefault(asked, len(questions)),
      )
    )
  biography_row, question_row = np.array(rows, np.int32).reshape(-1, 2).T
  return schema.PoliticalTypology(
    biographies=[text for _, text in biographies],
    liberal_biography=np.array([b == 'liberal' for b, _ in biographies], bool),
    questions=[question for question, *_ in questions],
    answers=[(a, b) for _, a, b, _ in questions],
    liberal_answer=np.array([q[-1] for q in questions], np.int32),
    biography=biography_row,
    question=question_row,
  )


def _record(**known: Any) -> dict[str, Any]:
  empty: dict[str, Any] = dict.fromkeys(('trait', *_TYPOLOGY), '')
  return {**empty, 'liberal': -1, **{n: [] for n in _STATEMENTS}, **known}


def _persona(path: Path) -> Iterator[dict]:
  fields = {
    'trait': str,
    'statement': str,
    'match': str,
    'label_confidence': float,
  }
  traits: dict[str, dict] = {}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    if row['match'] not in _MATCH:
      raise schema.SchemaError(
        f'{path}:{number}: match: {row["match"]!r} is neither Yes nor No'
      )
    record = traits.setdefault(row['trait'], _record(trait=row['trait']))
    for name in _STATEMENTS:
      value = row[name]
      record[name].append(_MATCH[value] if name == 'match' else value)
  yield from traits.values()


def _typology(path: Path) -> Iterator[dict]:
  fields = {'bio': str, 'prompt': str, 'corrects': list, 'incorrects': list}
  rows, heads = [], []
  for number, row in enumerate(table.json_rows(path, fields), 1):
    where = f'{path}:{number}'
    if row['bio'] not in _SIDES:
      raise schema.SchemaError(
        f'{where}: bio: {row["bio"]!r} is none of {_SIDES}'
      )
    found = _PROMPT.fullmatch(row['prompt'])
    if found is None:
      raise schema.SchemaError(
        f'{where}: prompt: expected a biography and a question, a line (A), '
        'a line (B), an empty line and Answer:'
      )
    heads.append(found['head'])
    rows.append(
      {
        'bio': row['bio'],
        'answer_a': found['a'],
        'answer_b': found['b'],
        'liberal': _liberal(row, where),
      }
    )
  for row, (biography, question) in zip(rows, _cut(heads, path), strict=True):
    yield _record(biography=biography, question=question, **row)


def _liberal(row: dict, where: str) -> int:
  """Returns which option is the liberal one; see `PoliticalTypology`."""
  chosen, other = row['corrects'], row['incorrects']
  if sorted([*chosen, *other], key=str) != sorted(_OPTIONS) or len(chosen) != 1:
    raise schema.SchemaError(
      f'{where}: corrects, incorrects: {chosen!r} and {other!r} are not the '
      'two options'
    )
  return _OPTIONS[chosen[0]]


def _cut(heads: list[str], path: Path) -> Iterator[tuple[str, str]]:
  """Yields biography and question.

  Nothing in a prompt separates the two, but every biography meets every
  question: the cut is where both parts recur most often.

  Raises:
    SchemaError: a prompt has no cut whose parts both recur.
  """
  spaces = [[m.start() for m in re.finditer(' ', head)] for head in heads]
  first: Counter[int] = Counter()
  second: Counter[int] = Counter()
  for head, places in zip(heads, spaces, strict=True):
    first.update(hash(head[:p]) for p in places)
    second.update(hash(head[p + 1 :]) for p in places)
  for number, (head, places) in enumerate(zip(heads, spaces, strict=True), 1):
    best = (0, False, 0)
    for p in places:
      before, after = first[hash(head[:p])], second[hash(head[p + 1 :])]
      if before > 1 and after > 1:
        best = max(best, (before * after, head[p - 1] in '.!?"', p))
    if not best[0]:
      raise schema.SchemaError(
        f'{path}:{number}: prompt: cannot tell the biography from the '
        'question: no two parts of it both recur in other rows'
      )
    yield head[: best[2]], head[best[2] + 1 :]
