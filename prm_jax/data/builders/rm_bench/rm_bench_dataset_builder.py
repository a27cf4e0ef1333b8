"""RM-Bench: a right and a subtly wrong answer, each in three styles."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

STYLES = ('concise', 'detailed', 'markdown')
DOMAINS = ('chat', 'math', 'code', 'safety-refuse', 'safety-response')
_MISSING = 'math'  # larger than the snapshot's files: read where it is there
_TEXTS = ('prompt', 'domain', 'subset')


@dataclasses.dataclass(frozen=True)
class StyledAnswers:
  """n prompts with right and wrong answers.

  Attributes:
    prompts: n texts.
    chosen, rejected: n answers each, in each of `STYLES`.
    domains: n of `DOMAINS`; `audits.benchmarks.rm_bench` reads these.
    subsets: n names of where the prompts are from; empty if not said.
    ids: `[n]` numbers of the source, unique within a domain.
  """

  prompts: list[str]
  chosen: list[tuple[str, str, str]]
  rejected: list[tuple[str, str, str]]
  domains: list[str]
  subsets: list[str]
  ids: list[int]


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Answers in three styles (Liu et al. 2024); no licence stated."""

  name = 'rm_bench'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    texts = tfds.features.Sequence(tfds.features.Text(), length=len(STYLES))
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict(
        {
          **{name: tfds.features.Text() for name in _TEXTS},
          'id': np.int64,
          'chosen': texts,
          'rejected': texts,
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'prompts': self._generate_examples()}

  def _generate_examples(self):
    key = 0
    for path in self.builder_config.files:
      known: set[int] = set()
      rows = table.json_rows(path, {'id': int, 'prompt': str})
      for number, row in enumerate(rows, 1):
        try:
          record = _prompt(row, known)
        except schema.SchemaError as error:
          raise schema.SchemaError(f'{path}:{number}: {error}') from None
        yield key, record | {'domain': path.name.split('.')[0]}
        key += 1


def _prompt(row: dict, known: set[int]) -> dict:
  """Returns a row's record, and adds its number to those that are known."""
  for name in ('chosen', 'rejected'):
    texts = row.get(name)
    if not isinstance(texts, list) or len(texts) != len(STYLES):
      raise schema.SchemaError(f'{name}: expected {len(STYLES)} texts')
    if not all(isinstance(text, str) for text in texts):
      raise schema.SchemaError(f'{name}: expected strings')
  if set(row['chosen']) & set(row['rejected']):
    raise schema.SchemaError('chosen, rejected: share a text')
  if not isinstance(row.get('subset', ''), str):
    raise schema.SchemaError('subset: expected str')
  if row['id'] in known:
    raise schema.SchemaError(f'id: {row["id"]} occurs twice')
  known.add(row['id'])
  kept = ('id', 'prompt', 'chosen', 'rejected')
  return {'subset': row.get('subset', ''), **{name: row[name] for name in kept}}


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/rm_bench`.

  Args:
    data_dir: with a file of each of `DOMAINS`; that of mathematics may be
      missing.

  Raises:
    SchemaError: another one is.
  """
  paths = [data_dir / 'rm_bench' / f'{name}.jsonl.gz' for name in DOMAINS]
  return table.source_config(
    [
      table.existing(path)
      for path, name in zip(paths, DOMAINS, strict=True)
      if name != _MISSING or path.is_file()
    ]
  )


def read_prepared(builder: Builder) -> StyledAnswers:
  """Returns what a prepared builder holds, by domain, in the files' order."""
  rows = list(builder.as_data_source('prompts'))
  text = {name: [row[name].decode() for row in rows] for name in _TEXTS}
  answers: dict[str, list[tuple[str, str, str]]] = {
    name: [tuple(t.decode() for t in row[name]) for row in rows]
    for name in ('chosen', 'rejected')
  }
  return StyledAnswers(
    prompts=text['prompt'],
    chosen=answers['chosen'],
    rejected=answers['rejected'],
    domains=text['domain'],
    subsets=text['subset'],
    ids=[int(row['id']) for row in rows],
  )
