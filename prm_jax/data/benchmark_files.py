"""Benchmarks of reward models, read from files as they are published.

RewardBench 1 and 2, RM-Bench, JudgeBench and LLMBar, and judgements of one's
own. Which one a file is of is told by its fields.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prm_jax.data import schema
from prm_jax.data.convert import files

NAMES = ('reward_bench', 'reward_bench_2', 'rm_bench', 'judge_bench', 'llmbar')
OWN = 'judgements'
TIES = 'Ties'
# Fields of each, beside which there may be others; the first that fits.
_FIELDS: dict[str, tuple[str, ...]] = {
  OWN: ('user_id', 'prompt', 'response_a', 'response_b', 'label'),
  'judge_bench': ('question', 'response_A', 'response_B', 'label', 'source'),
  'llmbar': ('input', 'output_1', 'output_2', 'label', 'subset'),
  'reward_bench_2': ('id', 'prompt', 'chosen', 'rejected', 'num_correct'),
  'reward_bench': ('prompt', 'chosen', 'rejected', 'subset'),
  'rm_bench': ('id', 'prompt', 'chosen', 'rejected'),
}
_SUFFIXES = ('.jsonl', '.json', '.parquet', '.jsonl.gz', '.json.gz')


class Rows(NamedTuple):
  """N prompts with answers, some of which are right.

  Attributes:
    name: one of `NAMES`, or `OWN`.
    prompts: N texts.
    answers: N lists, in the file's order.
    right: N tuples of places in them.
    group: N names: subsets, domains or sources; people of `OWN`.
    unit: `[N]` int, what is resampled: rows of one number together.
  """

  name: str
  prompts: list[str]
  answers: list[list[str]]
  right: list[tuple[int, ...]]
  group: list[str]
  unit: np.ndarray

  def take(self, index: np.ndarray) -> 'Rows':
    """Returns some rows.

    Args:
      index: `[M]` of rows.
    """
    chosen = index.tolist()
    return Rows(
      self.name,
      [self.prompts[i] for i in chosen],
      [self.answers[i] for i in chosen],
      [self.right[i] for i in chosen],
      [self.group[i] for i in chosen],
      self.unit[index],
    )


def read(data: str | Path, data_dir: str | Path | None = None) -> Rows:
  """Returns the benchmark in a file, in all files of a folder, or of a name.

  Args:
    data: a path, or one of `NAMES`, which is a folder in `data_dir`.
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    SchemaError: it is not there, or no benchmark; or a row is malformed, which
      is named.
  """
  path = Path(data)
  if str(data) in NAMES and not path.exists():
    home = data_dir or os.environ.get('PRM_DATA_DIR')
    if not home:
      raise schema.SchemaError(
        f'--data={data}: give a path, or say in PRM_DATA_DIR where data are'
      )
    path = Path(home) / str(data)
  if path.is_dir():
    paths = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
    if not paths:
      raise schema.SchemaError(f'{path} holds none of {(*_SUFFIXES,)}')
  else:
    paths = [path]
  tables = [files.read(path) for path in paths]
  name = _name(tables[0])
  found: list[tuple[Any, ...]] = []
  for table in tables:
    for number, row in table.rows:
      try:
        if isinstance(row, schema.SchemaError):
          raise row
        parts = _READERS[name](row, table.path)
      except schema.SchemaError as error:
        raise schema.SchemaError(f'{table.path}:{number}: {error}') from error
      if parts is not None:
        found.append(parts)
  if not found:
    raise schema.SchemaError(f'{path}: no row says which of two is better')
  prompts, answers, right, group, units = map(list, zip(*found, strict=True))
  own = [at if unit is None else unit for at, unit in enumerate(units)]
  number_of = {unit: at for at, unit in enumerate(dict.fromkeys(own))}
  unit_of = np.array([number_of[unit] for unit in own], int)
  return Rows(name, prompts, answers, right, group, unit_of)


def _name(table: files.Table) -> str:
  """Returns which benchmark a file is of."""
  known = set(table.columns)
  first: dict[str, Any] = next(table.objects(), {})
  styled = isinstance(first.get('chosen'), list)  # RM-Bench has subsets, too
  for name, fields in _FIELDS.items():
    if known >= set(fields) and not (name == 'reward_bench' and styled):
      return name
  raise schema.SchemaError(
    f'{table.path} has the fields {sorted(known)[:12]}: of no benchmark '
    f'({", ".join(NAMES)}), and no judgements'
  )


# Each returns prompt, answers, places of the right ones, group, unit.


def _chosen(row: Mapping[str, Any], path: Path):
  del path
  prompt, chosen, rejected = _texts(row, 'prompt', 'chosen', 'rejected')
  return prompt, [chosen, rejected], (0,), *_texts(row, 'subset'), None


def _several(row: Mapping[str, Any], path: Path):
  """Of RewardBench 2; ids of Ties are `ref:NUMBER` and `tied:NUMBER`."""
  del path
  (prompt, group), chosen = (
    _texts(row, 'prompt', 'subset'),
    _list(row, 'chosen'),
  )
  rejected = _list(row, 'rejected')
  unit = None
  if group == TIES:
    kind, _, unit = str(row['id']).partition(':')
    if kind not in ('ref', 'tied') or (kind == 'ref') != (len(chosen) == 1):
      raise schema.SchemaError(
        f'id: {row["id"]!r}: of Ties it is ref:NUMBER, of one right answer, '
        'or tied:NUMBER, of several'
      )
  elif len(chosen) != 1:
    raise schema.SchemaError(f'chosen: {len(chosen)} right answers of {group}')
  places = tuple(range(len(chosen)))
  return prompt, [*chosen, *rejected], places, group, unit


def _styled(row: Mapping[str, Any], path: Path):
  """Of RM-Bench; the domain is the row's, or the file's name."""
  (prompt,) = _texts(row, 'prompt')
  chosen, rejected = _list(row, 'chosen', 3), _list(row, 'rejected', 3)
  domain = row.get('domain') or path.name.partition('.')[0]
  return prompt, [*chosen, *rejected], (0, 1, 2), str(domain), None


def _judged(row: Mapping[str, Any], path: Path):
  del path
  prompt, one, other, label, source = _texts(row, *_FIELDS['judge_bench'])
  places = {'A>B': (0,), 'B>A': (1,)}
  if label not in places:
    raise schema.SchemaError(f'label: {label!r} is one of {list(places)}')
  return prompt, [one, other], places[label], source, None


def _pairs(row: Mapping[str, Any], path: Path):
  del path
  prompt, one, other = _texts(row, 'input', 'output_1', 'output_2')
  if row['label'] not in (1, 2):
    raise schema.SchemaError(f'label: {row["label"]!r} is neither 1 nor 2')
  return prompt, [one, other], (row['label'] - 1,), *_texts(row, 'subset'), None


def _own(row: Mapping[str, Any], path: Path):
  """Of judgements; ties say nothing and are left out."""
  del path
  told = schema.parse_row({'prompt_id': row['prompt'], **row})
  if not isinstance(told, schema.Judgement) or told.label == 0.5:
    return None
  answers = [told.response_a, told.response_b]
  right = (0,) if told.label > 0.5 else (1,)
  return told.prompt, answers, right, told.user_id, None


_READERS = {
  OWN: _own,
  'judge_bench': _judged,
  'llmbar': _pairs,
  'reward_bench_2': _several,
  'reward_bench': _chosen,
  'rm_bench': _styled,
}


def _texts(row: Mapping[str, Any], *names: str) -> list[str]:
  for name in names:
    if not isinstance(row.get(name), str):
      raise schema.SchemaError(f'{name}: is missing, or no text')
    schema.refuse_halves(name, row[name])
  return [row[name] for name in names]


def _list(
  row: Mapping[str, Any], name: str, count: int | None = None
) -> Sequence[str]:
  found = row.get(name)
  if not isinstance(found, list) or not found:
    raise schema.SchemaError(f'{name}: is no list of texts')
  if not all(isinstance(text, str) for text in found):
    raise schema.SchemaError(f'{name}: holds what is no text')
  for text in found:
    schema.refuse_halves(name, text)
  if count is not None and len(found) != count:
    raise schema.SchemaError(f'{name}: {len(found)} texts, and {count} needed')
  return found
