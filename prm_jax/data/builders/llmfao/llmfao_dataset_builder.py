"""LLMFAO: crowd workers compared real models' outputs to the same prompt.

Two language models judged the same pairs. Their choices are kept apart from
people's, in splits of their own, which `read_judges` reads.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prm_jax.data import schema
from prm_jax.data.builders import table

JUDGES = ('gpt3', 'gpt4')
_LABELS = {'left': 1.0, 'right': 0.0, 'tie': 0.5}
_CHOICE = {'pair': int, 'prompt': int, 'left': int, 'right': int, 'winner': str}


class Judges(NamedTuple):
  """What language models chose on the pairs that people judged.

  Texts and rows are numbered as in `load.judgements('llmfao')`. Where several
  models wrote the same words, several pairs of models have the same items.

  Attributes:
    names: of the judges.
    items: `[n, 2]` int32 of each pair of models, in the order people saw.
    label: float32, a row `[n]` of each judge: 1 the first, 0 the second, 0.5
      a tie.
    pair: `[m]` int32, of each of the people's judgements, its row of `items`.
    writers: of each text, the names of the models that wrote it.
  """

  names: list[str]
  items: np.ndarray
  label: np.ndarray
  pair: np.ndarray
  writers: list[tuple[str, ...]]


class Builder(table.TableBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Choices between models' outputs (Ustalov 2023), CC BY 4.0."""

  name = 'llmfao'

  def read(self):
    """Returns the people's judgements; left is a, right is b."""
    people = _read(self.builder_config.files)
    return people.judged, people.report

  def _split_generators(self, dl_manager):
    splits = super()._split_generators(dl_manager)
    source = _read(self.builder_config.files)
    self.info.metadata.update(writers=source.writers)
    numbers = np.stack([source.pair, source.pair], 1)
    paired = dataclasses.replace(source.judged, items=numbers)
    return {
      **splits,
      'judges': table.people(source.judges),
      'pairs': table.people(paired),
    }


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/llmfao`."""
  judges = [f'{name}_choices' for name in JUDGES]
  return table.source_config(
    [
      table.existing(data_dir / 'llmfao' / f'{name}.jsonl.gz')
      for name in ('prompts', 'outputs', 'choices', *judges)
    ]
  )


def read_judges(builder: Builder) -> Judges:
  """Returns what a prepared builder holds of the judges."""
  records = list(builder.as_data_source('judges'))
  pairs = builder.as_data_source('pairs')
  items = [np.asarray(records[0][side]) for side in ('first', 'second')]
  return Judges(
    names=[record['user_id'].decode() for record in records],
    items=np.stack(items, 1),
    label=np.stack([np.asarray(record['value']) for record in records]),
    pair=np.concatenate([np.asarray(record['first']) for record in pairs]),
    writers=[tuple(names) for names in builder.info.metadata['writers']],
  )


class _Source(NamedTuple):
  """Everybody's choices; the people's rows are in the file's order."""

  judged: schema.Judgements
  judges: schema.Judgements
  pair: np.ndarray
  writers: list[list[str]]
  report: schema.Report


class _Outputs:
  """What was asked and answered, and which two answers each pair shows."""

  def __init__(self, prompts: Path, outputs: Path) -> None:
    fields = {'prompt': int, 'slug': str, 'text': str}
    self.prompts: dict[int, dict] = {}
    for number, row in enumerate(table.json_rows(prompts, fields), 1):
      if self.prompts.setdefault(row['prompt'], row) is not row:
        raise schema.SchemaError(f'{prompts}:{number}: prompt: occurs twice')
    slugs = [row['slug'] for row in self.prompts.values()]
    if len(set(slugs)) < len(slugs):
      raise schema.SchemaError(f'{prompts}: slug: one of two prompts')
    self.texts: dict[tuple[int, int], str] = {}
    self.writers: dict[tuple[str, str], list[str]] = {}
    self.pairs: dict[int, tuple[int, int, int]] = {}
    fields = {'prompt': int, 'model': int, 'name': str, 'text': str}
    for number, row in enumerate(table.json_rows(outputs, fields), 1):
      where, key = f'{outputs}:{number}', (row['prompt'], row['model'])
      if row['prompt'] not in self.prompts:
        raise schema.SchemaError(f'{where}: prompt: no prompt {row["prompt"]}')
      if key in self.texts:
        raise schema.SchemaError(f'{where}: model: answers a prompt twice')
      self.texts[key] = row['text']
      slug = self.prompts[row['prompt']]['slug']
      self.writers.setdefault((slug, row['text']), []).append(row['name'])

  def choices(self, path: Path, **more: type) -> Iterator[dict]:
    """Yields choices between known outputs; a pair is the same in all rows."""
    for number, row in enumerate(table.json_rows(path, {**_CHOICE, **more}), 1):
      where, prompt = f'{path}:{number}', row['prompt']
      if row['winner'] not in _LABELS:
        raise schema.SchemaError(
          f'{where}: winner: {row["winner"]!r} is none of {tuple(_LABELS)}'
        )
      for side in ('left', 'right'):
        if (prompt, row[side]) not in self.texts:
          raise schema.SchemaError(
            f'{where}: {side}: model {row[side]} has no output to prompt '
            f'{prompt}'
          )
      shown = (prompt, row['left'], row['right'])
      if self.pairs.setdefault(row['pair'], shown) != shown:
        raise schema.SchemaError(
          f'{where}: pair: {row["pair"]} shows other outputs, or the same in '
          'another order, in an earlier row'
        )
      yield row

  def texts_of(self, pair: int) -> tuple[str, str]:
    """Returns the two texts of a pair, left and right."""
    prompt, left, right = self.pairs[pair]
    return self.texts[prompt, left], self.texts[prompt, right]


def _read(files: Sequence[Path]) -> _Source:
  prompts, outputs, choices, *judges = files
  known = _Outputs(prompts, outputs)
  chosen = list(known.choices(choices, worker=str))
  judged_pairs = list(known.pairs)
  labels = [_labels(known, path, judged_pairs) for path in judges]
  alike = {pair for pair in judged_pairs if len(set(known.texts_of(pair))) == 1}
  useful = [row for row in chosen if row['pair'] not in alike]
  if not useful:
    raise schema.SchemaError(f'{choices}: no row compares two texts')
  notes = []
  if alike:
    notes.append(
      f'{len(chosen) - len(useful)} of {len(chosen)} rows compare a response '
      'with itself and are left out'
    )
  judged = schema.code_judgements(_judgement(known, row) for row in useful)
  place = {
    pair: row
    for row, pair in enumerate(p for p in judged_pairs if p not in alike)
  }
  pair = np.array([place[row['pair']] for row in useful], np.int32)
  _, first = np.unique(pair, return_index=True)
  return _Source(
    judged=judged,
    judges=dataclasses.replace(
      judged,
      user_ids=list(JUDGES),
      attributes=['{}'] * len(JUDGES),
      user=np.repeat(np.arange(len(JUDGES), dtype=np.int32), len(place)),
      items=np.tile(judged.items[first], (len(JUDGES), 1)),
      label=np.array([one[p] for one in labels for p in place], np.float32),
    ),
    pair=pair,
    writers=[
      known.writers[judged.prompt_ids[prompt], text]
      for text, prompt in zip(judged.texts, judged.item_prompt, strict=True)
    ],
    report=schema.Report(len(chosen), 0, notes=tuple(notes)),
  )


def _judgement(known: _Outputs, row: dict) -> schema.Judgement:
  prompt = known.prompts[row['prompt']]
  left, right = known.texts_of(row['pair'])
  return schema.Judgement(
    user_id=row['worker'],
    prompt_id=prompt['slug'],
    prompt=prompt['text'],
    response_a=left,
    response_b=right,
    label=_LABELS[row['winner']],
    topic=prompt['slug'],
  )


def _labels(
  known: _Outputs, path: Path, pairs: Sequence[int]
) -> dict[int, float]:
  """Returns pair -> a judge's label, of exactly the pairs people judged."""
  labels: dict[int, float] = {}
  for number, row in enumerate(known.choices(path), 1):
    if row['pair'] in labels:
      raise schema.SchemaError(f'{path}:{number}: pair: occurs twice')
    labels[row['pair']] = _LABELS[row['winner']]
  other = set(pairs) ^ set(labels)
  if other:
    raise schema.SchemaError(
      f'{path}: pair: {len(other)} are judged by people or here alone, such '
      f'as {min(other)}'
    )
  return labels
