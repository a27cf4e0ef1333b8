"""The Vicuna questions: outputs of the policies of the QLoRA paper.

Nobody's judgement is read here. A policy without any generated text, or whose
answers all equal an earlier policy's, is dropped and named.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table
from prm_jax.data.builders.alpaca_eval import alpaca_eval_dataset_builder


class Builder(alpaca_eval_dataset_builder.Builder, skip_registration=True):  # type: ignore[call-arg]
  """Answers to the Vicuna questions (Dettmers et al. 2023), MIT."""

  name = 'qlora_vicuna'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=super()._info().features,
      metadata=tfds.core.MetadataDict(),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    generations, questions = self.builder_config.files
    fields = {'question_id': int, 'text': str, 'category': str}
    asked = {
      row['question_id']: row for row in table.json_rows(questions, fields)
    }
    answers = _answers(generations, asked)
    dropped = _dropped(answers)
    kept = {name: answers[name] for name in answers if name not in dropped}
    if not kept:
      raise schema.SchemaError(
        f'{generations}: no policy is left of {len(dropped)}: {dropped}'
      )
    self.info.metadata.update(dropped=dropped)
    return {'outputs': enumerate(_records(kept, asked))}


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/qlora_vicuna`."""
  folder = data_dir / 'qlora_vicuna'
  names = ('generations.jsonl.gz', 'vicuna_questions.jsonl.gz')
  return table.source_config([table.existing(folder / n) for n in names])


def read_prepared(builder: Builder) -> schema.PolicyOutputs:
  """Returns what a prepared builder holds, and which policies it dropped."""
  return dataclasses.replace(
    alpaca_eval_dataset_builder.read_prepared(builder),
    dropped=dict(builder.info.metadata['dropped']),
  )


def _records(
  answers: dict[str, dict[int, str]], asked: dict[int, dict]
) -> Iterator[dict]:
  for policy, texts in answers.items():
    for question, text in texts.items():
      yield {
        'prompt_id': f'vicuna{question:02d}',
        'prompt': asked[question]['text'],
        'topic': asked[question]['category'],
        'policy': policy,
        'response': text,
        'judge': math.nan,
      }


def _answers(path: Path, asked: dict[int, dict]) -> dict[str, dict[int, str]]:
  """Returns policy -> question -> answer."""
  answers: dict[str, dict[int, str]] = {}
  fields = {'policy': str, 'question_id': int, 'text': str}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    where, question = f'{path}:{number}', row['question_id']
    if question not in asked:
      raise schema.SchemaError(f'{where}: question_id: no question {question}')
    texts = answers.setdefault(row['policy'], {})
    if question in texts:
      raise schema.SchemaError(
        f'{where}: question_id: {row["policy"]} answers {question} twice'
      )
    texts[question] = _answer(row, asked[question]['text'], where)
  return answers


def _answer(row: dict, question: str, where: str) -> str:
  """Returns what the policy wrote.

  Of most policies, `text` repeats the question and `prompt` is what the model
  was given; what it wrote is `generation`, or whatever follows in `prompt`.
  """
  for name in ('generation', 'prompt'):
    if not isinstance(row.get(name, ''), str):
      raise schema.SchemaError(f'{where}: {name}: expected str')
  if 'generation' in row:
    return row['generation'].strip()
  if 'prompt' not in row:
    return row['text'].strip()
  scaffold = f'### Human: {question} ### Assistant:'
  _, found, rest = row['prompt'].partition(scaffold)
  if not found:
    raise schema.SchemaError(f'{where}: prompt: does not hold {scaffold!r}')
  return rest.strip()


def _dropped(answers: dict[str, dict[int, str]]) -> dict[str, str]:
  """Returns policy -> why it is dropped."""
  first: dict[tuple, str] = {}
  dropped = {}
  for name in sorted(answers):
    texts = answers[name]
    if not any(texts.values()):
      dropped[name] = 'no generated text'
      continue
    kept = first.setdefault(tuple(sorted(texts.items())), name)
    if kept != name:
      dropped[name] = f'a copy of {kept}'
  return dropped
