"""One schema for everybody's data, and its integer-coded form.

A judgement row has the fields `user_id, prompt_id, prompt, response_a,
response_b, label`; label is 'a', 'b', 'tie', or the probability that a is
preferred. A rating row has `user_id, prompt_id, prompt, response, rating`.
Both may have `topic` (a grouping of prompts; the prompt itself if absent) and
`user_attributes` (one JSON object).
"""

import dataclasses
import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prm_jax.data import coding

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
  """How reading went.

  Attributes:
    total: rows.
    malformed: rows that are left out because they cannot be read.
    examples: the first of those, with file, line and field.
    notes: what else was done to the rows, a sentence each.
  """

  total: int
  malformed: int
  examples: tuple[str, ...] = ()
  notes: tuple[str, ...] = ()

  def lines(self) -> list[str]:
    """Returns what to tell a person; nothing if every row is used as it is."""
    if not self.malformed:
      return list(self.notes)
    return [
      f'{self.malformed} of {self.total} rows are malformed and left out:',
      *self.examples,
      *self.notes,
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

  @property
  def prompt_texts(self) -> list[str]:
    """Returns the prompt of each of the M responses."""
    return [self.prompts[prompt] for prompt in self.item_prompt]


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


@dataclasses.dataclass(frozen=True, repr=False)  # no vote in a log
class Opinions:
  """What real people think of each other's statements.

  What a person agrees with is special-category data (GDPR, article 9): for
  audits and worlds alone. Write figures over groups, never a person's row.

  Attributes:
    conversation: its name.
    statements: S texts, older ones first.
    accepted: `[S]` bool: moderators accepted it; else nobody moderated it.
    person: `[n]` int32; statement: `[n]` int32; vote: `[n]` int8, 1 agrees,
      -1 disagrees, 0 passes; not seen, no row.
    group: `[P]` int32 group that Polis found in these votes, -1 where none.
    notes: what was done to the rows, a sentence each.
  """

  conversation: str
  statements: list[str]
  accepted: np.ndarray
  person: np.ndarray
  statement: np.ndarray
  vote: np.ndarray
  group: np.ndarray
  notes: tuple[str, ...] = ()


def parse_row(row: Any) -> Judgement | Rating:
  """Returns the row as a judgement or rating.

  Raises:
    SchemaError: naming the field and the reason.
  """
  if isinstance(row, list):
    raise SchemaError(
      'is a JSON array: write one object a line, or let `prm convert` do it'
    )
  if not isinstance(row, Mapping):
    raise SchemaError(f'expected an object, found {type(row).__name__}')
  if {'chosen', 'rejected'} <= set(row) and 'label' not in row:
    raise SchemaError(
      'chosen, rejected: `prm convert --from=trl --user=NAME` writes them as '
      'response_a, response_b and label; NAME is who judged'
    )
  rated = 'rating' in row
  if rated and 'label' in row:
    raise SchemaError('rating and label: a row is one or the other')
  names = ('response',) if rated else ('response_a', 'response_b')
  values = {name: _text(row, name) for name in (*_TEXTS, *names)}
  if not values['user_id']:
    raise SchemaError('user_id: is empty')
  topic = values['prompt_id']
  if 'topic' in row:
    topic = _text(row, 'topic')
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
  refuse_halves(name, row[name])
  return row[name]


def refuse_halves(name: str, text: str) -> None:
  """Raises SchemaError where a field's text holds a lone surrogate."""
  if any('\ud800' <= letter <= '\udfff' for letter in text):
    raise SchemaError(
      f'{name}: holds half of a character (a lone surrogate): it was cut in two'
    )


def _number(value: Any, name: str) -> float:
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise SchemaError(f'{name}: {value!r} is not a number')
  try:
    number = float(value)
  except OverflowError:
    raise SchemaError(f'{name}: is too large a number') from None
  if not math.isfinite(number):
    raise SchemaError(f'{name}: {value!r} is not finite')
  return number


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

  Prompts of the same words are one prompt, whatever they are called. Rows
  that compare a response with itself are left out.

  Raises:
    SchemaError: naming file, lines and fields: more than 1 % of the rows are
      malformed, the file has nothing to learn from, or mixes judgements and
      ratings.
  """
  judged, rated = coding.Answers(), coding.Answers()
  prompts, errors, total, same = _Prompts(), list[str](), 0, 0
  for number, line in enumerate(read_lines(path), 1):
    if not line.strip():
      continue
    total += 1
    try:
      row = prompts.one_name(parse_row(parse_json(line)), number)
    except SchemaError as error:
      errors.append(f'{path}:{number}: {error}')
      continue
    if isinstance(row, Rating):
      rated.add(row, (row.response,), row.rating)
    elif row.response_a != row.response_b:
      judged.add(row, (row.response_a, row.response_b), row.label)
    else:
      same += 1
  shown = tolerated(path, errors, total)
  if len(rated) and len(judged) + same:
    raise SchemaError(
      f'{path}: {len(rated)} ratings among {len(judged) + same} judgements: '
      'put them in two files'
    )
  notes = prompts.notes()
  if same:
    notes.append(
      f'{same} of {total} rows compare a response with itself and are left out'
    )
  if not len(rated) and not len(judged):
    raise SchemaError(f'{path}: every row compares a response with itself')
  if len(judged) and (judged.value == _LABELS['tie']).all():
    notes.append('every row is a tie: nobody says which of two is better')
  report = Report(total, len(errors), shown, tuple(notes))
  return (_ratings(rated) if len(rated) else _judgements(judged)), report


def tolerated(path: Path, errors: list[str], total: int) -> tuple[str, ...]:
  """Returns the first errors of a file whose rows are read in spite of them.

  Args:
    path: the file.
    errors: one for every malformed row, with file, line and field.
    total: rows of the file.

  Raises:
    SchemaError: the file has no row, or more than 1 % of them are malformed.
  """
  shown = tuple(errors[:_SHOWN])
  if not total:
    raise SchemaError(f'{path} has no row')
  if len(errors) > _TOLERATED * total:
    raise SchemaError(
      f'{len(errors)} of {total} rows are malformed (at most 1 % may be):\n'
      + '\n'.join(shown)
    )
  return shown


class _Prompts:
  """Which words a prompt's name stands for; the same words have one name."""

  def __init__(self) -> None:
    self._first: dict[str, tuple[str, str, int]] = {}
    self._names: dict[tuple[str, str | None], str] = {}
    self._merged: set[str] = set()

  def one_name(
    self, row: Judgement | Rating, number: int
  ) -> Judgement | Rating:
    """Returns the row under the first name of its prompt.

    Args:
      row: of a file.
      number: its line.

    Raises:
      SchemaError: the name stands for another prompt in an earlier line.
    """
    name, topic = row.prompt_id, row.topic
    prompt, its_topic, line = self._first.setdefault(
      name, (row.prompt, topic, number)
    )
    if prompt != row.prompt:
      raise SchemaError(
        f'prompt_id: {name!r} is another prompt in line {line}: give every '
        'prompt an id of its own'
      )
    if its_topic != topic:
      raise SchemaError(
        f'topic: prompt {name!r} has topic {its_topic!r} in line {line} and '
        f'{topic!r} here'
      )
    if not row.prompt.strip():
      return row  # nothing is known of it but its name
    own = topic == name
    first = self._names.setdefault((row.prompt, None if own else topic), name)
    if first == name:
      return row
    self._merged.add(name)
    return dataclasses.replace(
      row, prompt_id=first, topic=first if own else topic
    )

  def notes(self) -> list[str]:
    """Returns what was done, if anything was."""
    if not self._merged:
      return []
    return [
      f'{len(self._merged)} prompts have the words of another one and are '
      'taken for it'
    ]


def parse_json(line: str) -> Any:
  """Returns what a line of JSON says.

  Raises:
    SchemaError: it is no JSON, or a name is given twice in one object.
  """
  try:
    return json.loads(line, object_pairs_hook=_object)
  except SchemaError:
    raise
  except (ValueError, RecursionError) as error:
    raise SchemaError(f'not JSON: {error}') from error


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
  known: dict[str, Any] = {}
  for name, value in fields:
    if name in known:
      raise SchemaError(f'{name}: is given twice in one object')
    known[name] = value
  return known


def read_texts(path: Path, *names: str) -> list[dict[str, Any]]:
  """Returns a file's objects, which hold strings under all names.

  Args:
    path: .jsonl or .jsonl.gz.
    names: of the fields that every row needs.

  Raises:
    SchemaError: naming file, line and field, or the file has no row.
  """
  rows = []
  for number, line in enumerate(read_lines(path), 1):
    if not line.strip():
      continue
    try:
      row = parse_json(line)
      if not isinstance(row, dict):
        raise SchemaError(f'expected an object, found {type(row).__name__}')
      for name in names:
        _text(row, name)
    except SchemaError as error:
      raise SchemaError(f'{path}:{number}: {error}') from error
    rows.append(row)
  if not rows:
    raise SchemaError(f'{path} has no row')
  return rows


def read_lines(path: Path) -> Iterator[str]:
  """Yields a UTF-8 file's lines, unpacked where it is gzipped.

  A byte-order mark at its start is no part of the first line.

  Raises:
    SchemaError: the file is not there, not UTF-8, or a broken archive.
  """
  if not path.is_file():
    raise SchemaError(f'{path} is not a file')
  reader = gzip.open if path.suffix == '.gz' else open
  try:
    with reader(path, 'rt', encoding='utf-8-sig') as file:
      yield from file
  except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
    raise SchemaError(f'{path} cannot be read: {error}') from error


def code_judgements(rows: Iterable[Judgement]) -> Judgements:
  """Returns judgements, integer-coded."""
  answers = coding.Answers()
  for row in rows:
    answers.add(row, (row.response_a, row.response_b), row.label)
  return _judgements(answers)


def code_ratings(rows: Iterable[Rating]) -> Ratings:
  """Returns ratings, integer-coded."""
  answers = coding.Answers()
  for row in rows:
    answers.add(row, (row.response,), row.rating)
  return _ratings(answers)


def _judgements(answers: coding.Answers) -> Judgements:
  return Judgements(
    user=answers.user,
    items=answers.items.reshape(-1, 2),
    label=answers.value,
    **answers.coder.texts(),
  )


def _ratings(answers: coding.Answers) -> Ratings:
  return Ratings(
    user=answers.user,
    item=answers.items.reshape(-1),
    rating=answers.value,
    **answers.coder.texts(),
  )


def judgement_lines(judged: Judgements) -> Iterator[str]:
  """Yields judgements as lines of JSON, each with its line end.

  `read_jsonl` reads the same rows in the same order. People, prompts and
  texts are numbered anew, by first appearance, as `code_judgements` does; a
  text that nobody judged is gone. What `read_jsonl` does to any file it does
  to this one: prompts of the same words become one, and a row that compares
  a text with itself is left out.

  Raises:
    SchemaError: a row is none that `read_jsonl` takes.
  """
  names = {value: name for name, value in _LABELS.items()}
  for user, (a, b), label in zip(
    judged.user, judged.items, judged.label.tolist(), strict=True
  ):
    prompt = judged.item_prompt[a]
    row = {
      'user_id': judged.user_ids[user],
      'prompt_id': judged.prompt_ids[prompt],
      'topic': judged.topics[prompt],
      'prompt': judged.prompts[prompt],
      'response_a': judged.texts[a],
      'response_b': judged.texts[b],
      'label': names.get(label, label),
      'user_attributes': parse_json(judged.attributes[user]),
    }
    parse_row(row)
    yield json.dumps(row) + '\n'
