"""GSM8K: word problems, worked solutions, and four policies' solutions."""

import math
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table
from prm_jax.data.builders.alpaca_eval import alpaca_eval_dataset_builder

PEOPLE = 'written by people'
POLICIES = (
  '6b_finetuning',
  '6b_verification',
  '175b_finetuning',
  '175b_verification',
)


class Builder(alpaca_eval_dataset_builder.Builder, skip_registration=True):  # type: ignore[call-arg]
  """Grade-school mathematics (Cobbe et al. 2021), MIT (see README.md)."""

  name = 'gsm8k'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _split_generators(self, dl_manager):
    del dl_manager
    train, test, solutions = self.builder_config.files
    return {
      'train': enumerate(_people(train)),
      'test': enumerate(_people(test)),
      'outputs': enumerate(_outputs(solutions)),
    }


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/gsm8k`."""
  folder = data_dir / 'gsm8k'
  names = ('train', 'test', 'example_model_solutions')
  return table.source_config(
    [table.existing(folder / f'{name}.jsonl.gz') for name in names]
  )


def _people(path: Path) -> Iterator[dict]:
  split = path.name.split('.')[0]
  rows = table.json_rows(path, {'question': str, 'answer': str})
  for number, row in enumerate(rows, 1):
    if '####' not in row['answer']:
      raise schema.SchemaError(f'{path}:{number}: answer: no `####`')
    yield _row(f'{split}{number:04d}', row['question'], PEOPLE, row['answer'])


def _outputs(path: Path) -> Iterator[dict]:
  fields = {'question': str, **dict.fromkeys(POLICIES, dict)}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    for policy in POLICIES:
      known = row[policy]
      text, right = known.get('solution'), known.get('is_correct')
      if not isinstance(text, str) or not isinstance(right, bool):
        raise schema.SchemaError(
          f'{path}:{number}: {policy}: expected a solution and true or false'
        )
      name = f'test{number:04d}'
      yield _row(name, row['question'], policy, text, float(right))


def _row(name, question, policy, text, judge=math.nan) -> dict:
  return {
    'prompt_id': name,
    'prompt': question,
    'topic': 'gsm8k',
    'policy': policy,
    'response': text,
    'judge': judge,
  }
