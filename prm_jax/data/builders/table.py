"""What all builders share: a table of texts and one record a person.

Texts are judged many times, so they are stored once, in the split
`responses`; the split `people` refers to them by number. A record fills the
features of its split and leaves the others empty.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema

_RESPONSE = ('prompt_id', 'prompt', 'topic', 'response')
_PERSON = ('user_id', 'user_attributes')
_ANSWERS = {'first': np.int32, 'second': np.int32, 'value': np.float32}


@dataclasses.dataclass(eq=False, kw_only=True)
class SourceConfig(tfds.core.BuilderConfig):
  """Input files and options; the name is their hash.

  `download_and_prepare` looks at the name alone, so changed input must change
  it, or old rows would be answered.
  """

  files: tuple[Path, ...] = ()
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def existing(path: Path) -> Path:
  """Returns the path.

  Raises:
    SchemaError: no file is there.
  """
  if not path.is_file():
    raise schema.SchemaError(f'{path} is missing')
  return path


def json_rows(path: Path, fields: Mapping[str, type]) -> Iterator[dict]:
  """Yields a file's JSON objects.

  Args:
    path: .jsonl or .jsonl.gz.
    fields: name -> type of the fields that every row has.

  Raises:
    SchemaError: naming file, line and field.
  """
  for number, line in enumerate(schema.read_lines(path), 1):
    try:
      row = schema.parse_json(line)
    except schema.SchemaError as error:
      raise schema.SchemaError(f'{path}:{number}: {error}') from error
    for name, kind in fields.items():
      if not isinstance(row, dict) or not isinstance(row.get(name), kind):
        raise schema.SchemaError(
          f'{path}:{number}: {name}: expected {kind.__name__}'
        )
    yield row


def source_config(
  files: Sequence[Path], options: Mapping[str, Any] | None = None
) -> SourceConfig:
  """Returns the configuration of these inputs, named by their contents."""
  digest = hashlib.sha256()
  for path in files:
    digest.update(path.name.encode() + b'\0' + path.read_bytes() + b'\0')
  options = dict(options or {})
  digest.update(json.dumps(options, sort_keys=True).encode())
  name = digest.hexdigest()[:16]
  return SourceConfig(name=name, files=tuple(files), options=options)


class TableBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """A builder whose data are coded judgements or ratings."""

  VERSION = tfds.core.Version('1.1.0')  # of what is kept of a source
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def read(self) -> tuple[schema.Judgements | schema.Ratings, schema.Report]:
    """Returns the source's table, and how reading it went."""
    raise TypeError(f'{type(self).__name__} does not say how to read')

  def _info(self) -> tfds.core.DatasetInfo:
    features = {name: tfds.features.Text() for name in _RESPONSE + _PERSON}
    for name, dtype in _ANSWERS.items():
      features[name] = tfds.features.Sequence(dtype)
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict(features),
      metadata=tfds.core.MetadataDict(),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    table, report = self.read()
    self.info.metadata.update(
      kind='ratings' if isinstance(table, schema.Ratings) else 'judgements',
      total=report.total,
      malformed=report.malformed,
      examples=list(report.examples),
      notes=list(report.notes),
    )
    return {'responses': _responses(table), 'people': people(table)}

  def _generate_examples(self, records):
    yield from records


def _record(**known: Any) -> dict[str, Any]:
  empty: dict[str, Any] = dict.fromkeys(_RESPONSE + _PERSON, '')
  for name, dtype in _ANSWERS.items():
    empty[name] = np.zeros(0, dtype)
  return {**empty, **known}


def _responses(table: schema.Texts) -> Iterator[tuple[int, dict]]:
  for number, (text, prompt) in enumerate(
    zip(table.texts, table.item_prompt, strict=True)
  ):
    yield (
      number,
      _record(
        response=text,
        prompt=table.prompts[prompt],
        prompt_id=table.prompt_ids[prompt],
        topic=table.topics[prompt],
      ),
    )


def people(
  table: schema.Judgements | schema.Ratings,
) -> Iterator[tuple[int, dict]]:
  """Yields each person's record under its number."""
  if isinstance(table, schema.Ratings):
    first, value = table.item, table.rating
    second = np.full_like(first, -1)
  else:
    (first, second), value = table.items.T, table.label
  order = np.argsort(table.user, kind='stable')
  bounds = np.searchsorted(
    table.user[order], np.arange(len(table.user_ids) + 1)
  )
  for number, (user_id, attributes) in enumerate(
    zip(table.user_ids, table.attributes, strict=True)
  ):
    rows = order[bounds[number] : bounds[number + 1]]
    yield (
      number,
      _record(
        user_id=user_id,
        user_attributes=attributes,
        first=first[rows].astype(np.int32),
        second=second[rows].astype(np.int32),
        value=value[rows].astype(np.float32),
      ),
    )


def read_prepared(
  builder: TableBuilder,
) -> tuple[schema.Judgements | schema.Ratings, schema.Report]:
  """Returns what a prepared builder holds."""
  prompts: dict[str, int] = {}
  prompt_rows, texts, item_prompt = [], [], []
  for record in builder.as_data_source('responses'):
    name = record['prompt_id'].decode()
    if name not in prompts:
      prompts[name] = len(prompts)
      prompt_rows.append((record['prompt'].decode(), record['topic'].decode()))
    texts.append(record['response'].decode())
    item_prompt.append(prompts[name])
  user_ids, attributes, rows = [], [], []
  for number, record in enumerate(builder.as_data_source('people')):
    user_ids.append(record['user_id'].decode())
    attributes.append(record['user_attributes'].decode())
    answers = [np.asarray(record[name]) for name in _ANSWERS]
    rows.append([np.full(len(answers[0]), number, np.int32), *answers])
  user, first, second, value = (
    np.concatenate(column) for column in zip(*rows, strict=True)
  )
  known: dict[str, Any] = {
    'texts': texts,
    'item_prompt': np.array(item_prompt, np.int32),
    'prompts': [prompt for prompt, _ in prompt_rows],
    'prompt_ids': list(prompts),
    'topics': [topic for _, topic in prompt_rows],
    'user_ids': user_ids,
    'attributes': attributes,
    'user': user,
  }
  metadata = builder.info.metadata
  report = schema.Report(
    metadata['total'],
    metadata['malformed'],
    tuple(metadata['examples']),
    tuple(metadata['notes']),
  )
  if metadata['kind'] == 'ratings':
    return schema.Ratings(item=first, rating=value, **known), report
  items = np.stack([first, second], 1)
  return schema.Judgements(items=items, label=value, **known), report
