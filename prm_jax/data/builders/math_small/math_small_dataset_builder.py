"""Problems of mathematics: sampled solutions, and arithmetic in words.

The split `outputs` has one policy's samples and a person's solution to every
problem; the split `problems` has texts without any answer.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table
from prm_jax.data.builders.alpaca_eval import alpaca_eval_dataset_builder

SAMPLED, PEOPLE = 'sampled', 'written by people'
_PROBLEMS = {
  'svamp': ('Body', 'Question'),
  'asdiv': ('body', 'question'),
  'mawps': ('input',),
}


class Builder(alpaca_eval_dataset_builder.Builder, skip_registration=True):  # type: ignore[call-arg]
  """Samples on MATH, and SVAMP, ASDiv and MAWPS (see README.md)."""

  name = 'math_small'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _split_generators(self, dl_manager):
    del dl_manager
    samples, *problems = self.builder_config.files
    return {
      'outputs': enumerate(_outputs(samples)),
      'problems': enumerate(_problems(problems)),
    }


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/math_small`."""
  folder = data_dir / 'math_small'
  names = ('math_cot_100_samples', *(f'{name}_test' for name in _PROBLEMS))
  return table.source_config(
    [table.existing(folder / f'{name}.jsonl.gz') for name in names]
  )


def read_problems(builder: Builder) -> list[str]:
  """Returns the arithmetic problems that a prepared builder holds."""
  records = builder.as_data_source('problems')
  return [record['prompt'].decode() for record in records]


def _outputs(path: Path) -> Iterator[dict]:
  fields = {
    'idx': int,
    'question': str,
    'level': str,
    'solution': str,
    'response': list,
    'score': list,
  }
  seen = set()
  for number, row in enumerate(table.json_rows(path, fields), 1):
    where = f'{path}:{number}'
    samples, right = row['response'], row['score']
    if not samples or not all(isinstance(text, str) for text in samples):
      raise schema.SchemaError(f'{where}: response: expected strings')
    if not all(isinstance(value, bool) for value in right):
      raise schema.SchemaError(f'{where}: score: expected true or false')
    if len(right) != len(samples):
      raise schema.SchemaError(
        f'{where}: score: {len(right)} of {len(samples)} responses'
      )
    if row['idx'] in seen:
      raise schema.SchemaError(f'{where}: idx: {row["idx"]} occurs twice')
    seen.add(row['idx'])
    answers = [(SAMPLED, *pair) for pair in zip(samples, right, strict=True)]
    for policy, text, judge in (*answers, (PEOPLE, row['solution'], math.nan)):
      yield {
        'prompt_id': f'math{row["idx"]:03d}',
        'prompt': row['question'],
        'topic': row['level'],
        'policy': policy,
        'response': text,
        'judge': float(judge),
      }


def _problems(paths: list[Path]) -> Iterator[dict]:
  seen = set()
  for path in paths:
    source = path.name.removesuffix('_test.jsonl.gz')
    names = _PROBLEMS[source]
    rows = table.json_rows(path, dict.fromkeys(names, str))
    for number, row in enumerate(rows, 1):
      text = _problem([' '.join(row[name].split()) for name in names])
      if not text:
        raise schema.SchemaError(f'{path}:{number}: {names[-1]}: is empty')
      if text.casefold() in seen:
        continue
      seen.add(text.casefold())
      yield {
        'prompt_id': f'{source}{number:04d}',
        'prompt': text,
        'topic': source,
        'policy': '',
        'response': '',
        'judge': math.nan,
      }


def _problem(parts: list[str]) -> str:
  """Returns body and question, with a full stop between where none is."""
  *body, question = parts
  ended = [text if text[-1:] in '.,;:!?"' else f'{text}.' for text in body]
  return ' '.join(text for text in (*ended, question) if text)
