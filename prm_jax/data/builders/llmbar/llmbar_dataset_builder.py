"""LLMBar: which of two answers follows the instruction.

In the subsets `LLMBar/...` one answer is objectively better; `Processed/...`
are aggregated human preferences of other sets.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

_TEXTS = ('subset', 'input', 'output_1', 'output_2')


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Pairs of answers to an instruction (Zeng et al. 2024), MIT."""

  name = 'llmbar'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    features = {name: tfds.features.Text() for name in _TEXTS}
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict({**features, 'label': np.int32}),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'pairs': self._generate_examples()}

  def _generate_examples(self):
    (path,) = self.builder_config.files
    rows = table.json_rows(path, {**dict.fromkeys(_TEXTS, str), 'label': int})
    for number, row in enumerate(rows, 1):
      if row['label'] not in (1, 2):
        raise schema.SchemaError(
          f'{path}:{number}: label: {row["label"]} is neither 1 nor 2'
        )
      record = {name: row[name] for name in _TEXTS}
      yield number - 1, {**record, 'label': int(row['label'] == 1)}


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the file in `data_dir/llmbar`."""
  path = table.existing(data_dir / 'llmbar' / 'llmbar.jsonl.gz')
  return table.source_config([path])


def read_prepared(builder: Builder) -> schema.InstructionPairs:
  """Returns what a prepared builder holds."""
  columns: dict[str, list[str]] = {name: [] for name in _TEXTS}
  label = []
  for record in builder.as_data_source('pairs'):
    for name in _TEXTS:
      columns[name].append(record[name].decode())
    label.append(int(record['label']))
  return schema.InstructionPairs(
    prompts=columns['input'],
    first=columns['output_1'],
    second=columns['output_2'],
    label=np.array(label, np.int32),
    subset=columns['subset'],
  )
