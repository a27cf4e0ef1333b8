"""One schema for everybody's data, and its integer-coded form.

A judgement row has the fields `user_id, prompt_id, prompt, response_a,
response_b, label`; label is 'a', 'b', 'tie', or the probability that a is
preferred. A rating row has `user_id, prompt_id, prompt, response, rating`.
Both may have `topic` (a grouping of prompts; the prompt itself if absent) and
`user_attributes` (one JSON object).
"""

import dataclasses
import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_TEXTS = ('user_id', 'prompt_id', 'prompt')
_LABELS = {'a': 1.0, 'b': 0.0, 'tie': 0.5}
_TOLERATED = 0.01  # share of malformed rows that is reported, not refused
_SHOWN = 10


class SchemaError(ValueError):
  """A row or file does not follow the schema."""


@dataclasses.dataclass(frozen=True)
class Judgement:
  """One person's choice between two responses; label is P(a preferred)."""

  user_id: str
  prompt_id: str
  prompt: str
  response_a: str
  response_b: str
  label: float
  topic: str
  user_attributes: str = '{}'


@dataclasses.dataclass(frozen=True)
class Rating:
  """One person's rating of a response."""

  user_id: str
  prompt_id: str
  prompt: str
  response: str
  rating: float
  topic: str
  user_attributes: str = '{}'


@dataclasses.dataclass(frozen=True)
class Report:
  """How reading went: rows, malformed ones, and the first of those."""

  total: int
  malformed: int
  examples: tuple[str, ...] = ()

  def lines(self) -> list[str]:
    """Returns what to tell a person; nothing if every row was well formed."""
    if not self.malformed:
      return []
    return [
      f'{self.malformed} of {self.total} rows are malformed and left out:',
      *self.examples,
    ]


@dataclasses.dataclass(frozen=True)
class Texts:
  """Responses and the prompts they answer.

  Attributes:
    texts: M responses; the same words to two prompts are two.
    item_prompt: `[M]` int32 row of the prompt.
    prompts: texts of the prompts.
    prompt_ids: their names.
    topics: of each prompt.
  """

  texts: list[str]
  item_prompt: np.ndarray
  prompts: list[str]
  prompt_ids: list[str]
  topics: list[str]


@dataclasses.dataclass(frozen=True)
class Judgements(Texts):
  """Judgements, integer-coded.

  Attributes:
    user_ids: U names; attributes: U JSON objects.
    user: `[n]` int32; items: `[n, 2]` int32; label: `[n]` float32.
    example_id: `[n]` int32.
  """

  user_ids: list[str]
  attributes: list[str]
  user: np.ndarray
  items: np.ndarray
  label: np.ndarray

  @property
  def example_id(self) -> np.ndarray:
    """Returns `[n]` int32, the row's number."""
    return np.arange(len(self.user), dtype=np.int32)


@dataclasses.dataclass(frozen=True)
class Ratings(Texts):
  """Ratings, integer-coded.

  Attributes:
    user_ids: U names; attributes: U JSON objects.
    user: `[n]` int32; item: `[n]` int32; rating: `[n]` float32.
  """

  user_ids: list[str]
  attributes: list[str]
  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray


@dataclasses.dataclass(frozen=True)
class PolicyOutputs(Texts):
  """What many policies answered to the same prompts.

  Attributes:
    policies: names; item_policy: `[M]` int32, who wrote each text.
    judge: `[M]` float32 probability that a judge model prefers the text to
      its reference policy's, or 1 and 0 where its final answer is right or
      wrong; NaN where nobody said.
    dropped: policies of the source that are left out, and why.
  """

  policies: list[str]
  item_policy: np.ndarray
  judge: np.ndarray
  dropped: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class InstructionPairs:
  """Two answers to an instruction, one of which is better.

  Attributes:
    prompts: n instructions, which may repeat; first, second: n answers.
    label: `[n]` int32: 1 where the first answer is better, else 0.
    subset: n names.
  """

  prompts: list[str]
  first: list[str]
  second: list[str]
  label: np.ndarray
  subset: list[str]


@dataclasses.dataclass(frozen=True)
class PersonaStatements:
  """Statements that show a trait if one agrees with them, or the opposite.

  A label says what a statement shows, not whether it is right, and not what
  a good answer would be.

  Attributes:
    traits: names; texts: M statements.
    trait: `[M]` int32 row of `traits`.
    match: `[M]` bool: agreeing shows the trait; else disagreeing does.
    confidence: `[M]` float32 of the model that labelled, in `match`.
  """

  traits: list[str]
  texts: list[str]
  trait: np.ndarray
  match: np.ndarray
  confidence: np.ndarray


@dataclasses.dataclass(frozen=True)
class PoliticalTypology:
  """Political questions with two answers, asked after a biography.

  The source calls the liberal answer correct, under every biography. It is
  neither the right answer nor the sycophantic one: that is the liberal answer
  after a liberal biography and the other one after a conservative biography.

  Attributes:
    biographies: P texts; liberal_biography: `[P]` bool, the other half is
      conservative.
    questions: Q texts, which repeat where the answers differ.
    answers: Q pairs of texts, in the source's order; liberal_answer: `[Q]`
      int32, which of the two is the liberal one.
    biography: `[n]` int32, of each prompt; question: `[n]` int32.
  """

  biographies: list[str]
  liberal_biography: np.ndarray
  questions: list[str]
  answers: list[tuple[str, str]]
  liberal_answer: np.ndarray
  biography: np.ndarray
  question: np.ndarray


def parse_row(row: Any) -> Judgement | Rating:
  """Returns the row as a judgement or rating.

  Raises:
    SchemaError: naming the field and the reason.
  """
  if not isinstance(row, Mapping):
    raise SchemaError(f'expected an object, found {type(row).__name__}')
  rated = 'rating' in row
  if rated and 'label' in row:
    raise SchemaError('rating and label: a row is one or the other')
  names = ('response',) if rated else ('response_a', 'response_b')
  values = {name: _text(row, name) for name in (*_TEXTS, *names)}
  if not values['user_id']:
    raise SchemaError('user_id: is empty')
  topic = row.get('topic', values['prompt_id'])
  if not isinstance(topic, str):
    raise SchemaError('topic: is not a string')
  attributes = row.get('user_attributes', {})
  if not isinstance(attributes, Mapping):
    raise SchemaError('user_attributes: is not an object')
  known = {
    **values,
    'topic': topic,
    'user_attributes': json.dumps(attributes, sort_keys=True),
  }
  if rated:
    return Rating(rating=_number(row['rating'], 'rating'), **known)
  return Judgement(label=_label(row), **known)


def _text(row: Mapping, name: str) -> str:
  if name not in row:
    raise SchemaError(f'{name}: is missing')
  if not isinstance(row[name], str):
    raise SchemaError(f'{name}: is {type(row[name]).__name__}, not a string')
  return row[name]


def _number(value: Any, name: str) -> float:
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise SchemaError(f'{name}: {value!r} is not a number')
  if not math.isfinite(value):
    raise SchemaError(f'{name}: {value!r} is not finite')
  return float(value)


def _label(row: Mapping) -> float:
  if 'label' not in row:
    raise SchemaError('label: is missing (and so is rating)')
  value = row['label']
  if isinstance(value, str):
    if value not in _LABELS:
      raise SchemaError(f"label: {value!r} is none of 'a', 'b', 'tie'")
    return _LABELS[value]
  number = _number(value, 'label')
  if not 0 <= number <= 1:
    raise SchemaError(f'label: {number} is not a probability')
  return number


def read_jsonl(path: Path) -> tuple[Judgements | Ratings, Report]:
  """Returns the rows of a .jsonl or .jsonl.gz file, and how reading went.

  Raises:
    SchemaError: naming file, lines and fields: more than 1 % of the rows are
      malformed, the file is empty, or mixes judgements and ratings.
  """
  rows: list[Judgement | Rating] = []
  errors, total = [], 0
  for number, line in enumerate(read_lines(path), 1):
    if not line.strip():
      continue
    total += 1
    try:
      rows.append(parse_row(json.loads(line)))
    except json.JSONDecodeError as error:
      errors.append(f'{path}:{number}: not JSON: {error}')
    except SchemaError as error:
      errors.append(f'{path}:{number}: {error}')
  shown = '\n'.join(errors[:_SHOWN])
  if not total:
    raise SchemaError(f'{path} has no row')
  if len(errors) > _TOLERATED * total:
    raise SchemaError(
      f'{len(errors)} of {total} rows are malformed (at most 1 % may be):\n'
      f'{shown}'
    )
  report = Report(total, len(errors), tuple(errors[:_SHOWN]))
  rated = [row for row in rows if isinstance(row, Rating)]
  if rated and len(rated) < len(rows):
    raise SchemaError(
      f'{path}: {len(rated)} ratings among {len(rows) - len(rated)} '
      'judgements: put them in two files'
    )
  if rated:
    return code_ratings(rated), report
  return code_judgements(r for r in rows if isinstance(r, Judgement)), report


def read_lines(path: Path) -> Iterator[str]:
  """Yields a UTF-8 file's lines, unpacked where it is gzipped.

  Raises:
    SchemaError: the file is not there, not UTF-8, or a broken archive.
  """
  if not path.is_file():
    raise SchemaError(f'{path} is not a file')
  reader = gzip.open if path.suffix == '.gz' else open
  try:
    with reader(path, 'rt', encoding='utf-8') as file:
      yield from file
  except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
    raise SchemaError(f'{path} cannot be read: {error}') from error


class _Coder:
  """Numbers people, prompts and responses in order of first appearance."""

  def __init__(self) -> None:
    self.users: dict[str, int] = {}
    self.attributes: list[str] = []
    self.prompts: dict[str, int] = {}
    self.prompt_rows: list[tuple[str, str]] = []
    self.items: dict[tuple[int, str], int] = {}

  def person(self, row: Judgement | Rating) -> int:
    if row.user_id not in self.users:
      self.users[row.user_id] = len(self.users)
      self.attributes.append(row.user_attributes)
    return self.users[row.user_id]

  def item(self, row: Judgement | Rating, response: str) -> int:
    if row.prompt_id not in self.prompts:
      self.prompts[row.prompt_id] = len(self.prompts)
      self.prompt_rows.append((row.prompt, row.topic))
    key = (self.prompts[row.prompt_id], response)
    return self.items.setdefault(key, len(self.items))

  def texts(self) -> dict[str, Any]:
    return {
      'texts': [text for _, text in self.items],
      'item_prompt': np.array([prompt for prompt, _ in self.items], np.int32),
      'prompts': [prompt for prompt, _ in self.prompt_rows],
      'prompt_ids': list(self.prompts),
      'topics': [topic for _, topic in self.prompt_rows],
      'user_ids': list(self.users),
      'attributes': self.attributes,
    }


def code_judgements(rows: Iterable[Judgement]) -> Judgements:
  """Returns judgements, integer-coded."""
  coder = _Coder()
  coded = [
    (
      coder.person(row),
      coder.item(row, row.response_a),
      coder.item(row, row.response_b),
      row.label,
    )
    for row in rows
  ]
  user, a, b, label = zip(*coded, strict=True) if coded else ((),) * 4
  return Judgements(
    user=np.array(user, np.int32),
    items=np.stack([a, b], 1).astype(np.int32).reshape(-1, 2),
    label=np.array(label, np.float32),
    **coder.texts(),
  )


def code_ratings(rows: Iterable[Rating]) -> Ratings:
  """Returns ratings, integer-coded."""
  coder = _Coder()
  coded = [
    (coder.person(row), coder.item(row, row.response), row.rating)
    for row in rows
  ]
  user, item, rating = zip(*coded, strict=True) if coded else ((),) * 3
  return Ratings(
    user=np.array(user, np.int32),
    item=np.array(item, np.int32),
    rating=np.array(rating, np.float32),
    **coder.texts(),
  )


def file_digest(path: Path) -> str:
  """Returns the hexadecimal SHA-256 of a file."""
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
