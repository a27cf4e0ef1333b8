"""BIG-Bench Mistake: chains of thought, and the step of the first mistake."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

_TEXTS = ('task', 'input', 'target', 'answer')


@dataclasses.dataclass(frozen=True)
class Chains:
  """n chains of thought.

  Attributes:
    prompts: n questions; a choice of answers stands in them.
    steps: n chains, of several steps each, without numbers.
    mistake: `[n]` int32, the step of the first mistake, from 0; -1 if none.
    answers: n final answers, empty where the chain gives none.
    targets: n right answers.
    tasks: n names.
  """

  prompts: list[str]
  steps: list[tuple[str, ...]]
  mistake: np.ndarray
  answers: list[str]
  targets: list[str]
  tasks: list[str]

  @property
  def right(self) -> np.ndarray:
    """Returns `[n]` bool: the final answer is the right one, in its words.

    A right answer may follow from a mistake, and a wrong one from none.
    """
    return np.array(self.answers) == np.array(self.targets)


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Chains of PaLM 2, first mistakes marked (Tyen et al. 2023), Apache-2.0."""

  name = 'bigbench_mistake'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    features = {name: tfds.features.Text() for name in _TEXTS}
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict(
        {
          **features,
          'steps': tfds.features.Sequence(tfds.features.Text()),
          'mistake': np.int32,
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'chains': self._generate_examples()}

  def _generate_examples(self):
    (path,) = self.builder_config.files
    texts = dict.fromkeys(('task', 'input', 'target'), str)
    for number, row in enumerate(table.json_rows(path, texts), 1):
      try:
        record = _chain(row)
      except schema.SchemaError as error:
        raise schema.SchemaError(f'{path}:{number}: {error}') from None
      yield number - 1, record


def _chain(row: dict) -> dict:
  """Returns a row's record, refusing what is none."""
  steps, mistake = row.get('steps'), row.get('mistake_index', '')
  answer = row.get('answer', 0)
  if not isinstance(steps, list) or not steps:
    raise schema.SchemaError('steps: expected a list')
  if not all(isinstance(step, str) for step in steps):
    raise schema.SchemaError('steps: expected strings')
  if not isinstance(answer, str | None):
    raise schema.SchemaError('answer: expected str or null')
  if mistake is None:
    mistake = -1
  elif type(mistake) is not int:  # true is no step
    raise schema.SchemaError('mistake_index: expected int or null')
  elif not 0 <= mistake < len(steps):
    raise schema.SchemaError(
      f'mistake_index: {mistake} is none of {len(steps)} steps'
    )
  record = {name: row[name] for name in ('task', 'input', 'target')}
  return record | {'answer': answer or '', 'steps': steps, 'mistake': mistake}


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the file in `data_dir/bigbench_mistake`."""
  path = data_dir / 'bigbench_mistake' / 'bigbench_mistake.jsonl.gz'
  return table.source_config([table.existing(path)])


def read_prepared(builder: Builder) -> Chains:
  """Returns what a prepared builder holds, in the file's order."""
  rows = list(builder.as_data_source('chains'))
  text = {name: [row[name].decode() for row in rows] for name in _TEXTS}
  return Chains(
    prompts=text['input'],
    steps=[tuple(step.decode() for step in row['steps']) for row in rows],
    mistake=np.array([row['mistake'] for row in rows], np.int32),
    answers=text['answer'],
    targets=text['target'],
    tasks=text['task'],
  )
