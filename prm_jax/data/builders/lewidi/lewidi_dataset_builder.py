"""LeWiDi: the label that each annotator gave a text, who gave it being known.

A rating is the source's label as a number, and what it means goes by the set:

  csc           1..6   how sarcastic the response to the context is, 6 most
  mp            0, 1   1: the reply to the post is ironic
  paraphrase   -5..5   -5: the second question asks something else, 5: the same
  md_agreement  0, 1   1: the text is offensive
  hs_brexit     0, 1   1: the text is hate speech
  convabuse    -3..1   1: the user's turn is not abusive, 0: ambivalent,
                       -3: very strongly abusive

No label says that a text is good, and more is not better: a rating says what
a person perceives. The labels of varierrnli are sets of names and have no
order; that set is not read.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prm_jax.data import schema
from prm_jax.data.builders import table


class Soft(NamedTuple):
  """What a text's annotators said, as shares.

  Attributes:
    values: `[L]` float32 the ratings that occur, in order.
    share: `[M, L]` float32 of each text's ratings; a row adds up to 1.
    people: `[M]` int32 who rated each text.
  """

  values: np.ndarray
  share: np.ndarray
  people: np.ndarray


class _Set(NamedTuple):
  """How a set is read: its labels, and what is the prompt and the response."""

  labels: range
  prompt: str = ''
  response: str = ''


SETS = {
  'convabuse': _Set(range(-3, 2)),
  'csc': _Set(range(1, 7), 'context', 'response'),
  'hs_brexit': _Set(range(2)),
  'md_agreement': _Set(range(2)),
  'mp': _Set(range(2), 'post', 'reply'),
  'paraphrase': _Set(range(-5, 6), 'Question1', 'Question2'),
}
# The turns of a conversation in convabuse; the last is what is judged.
_TURNS = ('prev_agent', 'prev_user', 'agent', 'user')


class Builder(table.TableBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Annotators' own labels (Learning With Disagreements, 2023 and 2025)."""

  name = 'lewidi'

  def read(self):
    """Returns the ratings of one set."""
    (path,) = self.builder_config.files
    options = self.builder_config.options
    rows, again = [], 0
    seen: set[tuple[str, str, str]] = set()
    for row in _rows(path, **options):
      key = row.user_id, row.prompt_id, row.response
      if key in seen:
        again += 1
      else:
        seen.add(key)
        rows.append(row)
    if not rows:
      raise schema.SchemaError(f'{path}: no text is in {options["language"]!r}')
    notes = []
    if again:
      notes.append(
        f"{again} of {len(rows) + again} labels are a person's second of the "
        'same text and are left out'
      )
    report = schema.Report(len(rows) + again, 0, notes=tuple(notes))
    return schema.code_ratings(rows), report


def config(
  *, data_dir: Path, subset: str, language: str = ''
) -> table.SourceConfig:
  """Returns the configuration of a file in `data_dir/lewidi`.

  Args:
    data_dir: of real data.
    subset: one of SETS.
    language: such as 'en': texts of that language alone; all if empty.

  Raises:
    ValueError: there is no such set, or its file is missing.
  """
  if subset not in SETS:
    raise ValueError(f'lewidi: subset {subset!r}: one of {sorted(SETS)}')
  path = table.existing(data_dir / 'lewidi' / f'{subset}.jsonl.gz')
  return table.source_config([path], {'subset': subset, 'language': language})


def soft_labels(rated: schema.Ratings) -> Soft:
  """Returns which share of its annotators gave a text each rating.

  Args:
    rated: ratings of whole values.
  """
  values, column = np.unique(rated.rating, return_inverse=True)
  count = np.zeros((len(rated.texts), len(values)), np.int32)
  np.add.at(count, (rated.item, column), 1)
  total = count.sum(1)
  share = count / np.maximum(total, 1)[:, None]
  return Soft(values, share.astype(np.float32), total.astype(np.int32))


def _rows(path: Path, subset: str, language: str) -> Iterator[schema.Rating]:
  """Yields the ratings of a file, in its order."""
  how = SETS[subset]
  labels = {str(label): float(label) for label in how.labels}
  kind = dict if how.prompt else str
  fields = {'text': kind, 'lang': str, 'annotations': dict}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    if language and row['lang'] != language:
      continue
    where = f'{path}:{number}'
    prompt, response = _texts(row['text'], subset, where)
    if not row['annotations']:
      raise schema.SchemaError(f'{where}: annotations: is empty')
    name = hashlib.sha256(prompt.encode()).hexdigest()[:16] if prompt else ''
    name = f'{subset}-{name}' if name else subset
    for annotator, label in row['annotations'].items():
      if label not in labels:
        raise schema.SchemaError(
          f'{where}: annotations: {annotator}: {label!r} is none of '
          f'{list(labels)}'
        )
      yield schema.Rating(
        user_id=f'{subset}-{annotator}',
        prompt_id=name,
        prompt=prompt,
        response=response,
        rating=labels[label],
        topic=name,
      )


def _texts(text: Any, subset: str, where: str) -> tuple[str, str]:
  """Returns what a response answers, empty where nothing, and the response."""
  how = SETS[subset]
  if how.prompt:
    prompt, response = _strings(text, (how.prompt, how.response), where)
    return prompt, response
  if subset != 'convabuse':
    return '', text
  try:
    turns = schema.parse_json(text)
  except schema.SchemaError as error:
    raise schema.SchemaError(f'{where}: text: {error}') from error
  *before, last = _strings(turns, _TURNS, where)
  speakers = (name.removeprefix('prev_').capitalize() for name in _TURNS)
  said = zip(speakers, before, strict=False)
  return '\n'.join(f'{who}: {what}' for who, what in said if what), last


def _strings(text: Any, names: tuple[str, ...], where: str) -> tuple[str, ...]:
  for name in names:
    if not isinstance(text, Mapping) or not isinstance(text.get(name), str):
      raise schema.SchemaError(f'{where}: text: {name}: expected str')
  return tuple(text[name] for name in names)
