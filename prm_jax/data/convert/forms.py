"""Any table, given which column is what; and TRL's preferences.

A set says what was preferred in one of five forms, named by the columns given:

    response_a, response_b, label   two responses, and which one
    chosen, rejected                the better one, and the other
    response, rating                one response, and how good
    responses, choice               several, and the best one's column
    responses, ratings              several, and how good each is

`responses`, `ratings` and `user_attributes` name several columns, joined by
'+'. `list[].field` is a field of every object in a list, which makes a row for
each: `user_id=annotations[].annotator`. A judgement that is empty was not
made.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prm_jax.data import schema
from prm_jax.data.convert import files, naming, texts

Convert = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]
_SEVERAL = ('responses', 'ratings', 'user_attributes')
_OPTIONAL = ('user_id', 'topic', 'user_attributes')
_TRL = ('prompt', 'chosen', 'rejected')
TRL_VERSION = (
  "TRL's preferences, standard and conversational, with a prompt or without "
  '(documentation of 0.12 to 0.24)'
)


@dataclasses.dataclass(frozen=True)
class _Place:
  """Where a value stands: a column, or a field of a list's objects."""

  column: str
  field: str | None = None

  @classmethod
  def parse(cls, text: str) -> '_Place':
    column, each, field = text.partition('[].')
    if not column or (each and not field):
      raise ValueError(
        f'--columns: {text!r} is neither COLUMN nor LIST[].FIELD'
      )
    return cls(column, field if each else None)

  @property
  def name(self) -> str:
    return self.field or self.column

  def value(self, row: dict[str, Any], element: Any) -> Any:
    if self.field is None:
      return row.get(self.column)
    if not isinstance(element, dict):
      raise schema.SchemaError(f'{self.column}: is no list of objects')
    return element.get(self.field)


def read(table: files.Table, options: naming.Options) -> Convert:
  """Returns what converts a row of any table, given its columns.

  Raises:
    ValueError: the columns or labels given make no form.
    SchemaError: the file does not have them.
  """
  if not options.columns:
    raise ValueError(
      '--from=columns: say what is where, such as --columns=user_id=annotator,'
      'prompt=question,response_a=first,response_b=second,label=winner'
    )
  return _by_map(table, options, 'the columns named in --columns')


def read_trl(table: files.Table, options: naming.Options) -> Convert:
  """Returns what converts a row of `prompt, chosen, rejected`.

  References:
    https://huggingface.co/docs/trl/dataset_formats
  """
  naming.check_columns(table.path, table.columns, _TRL[1:], TRL_VERSION, _TRL)
  own = {name: name for name in (*_TRL, 'user_id') if name in table.columns}
  return _by_map(table, dataclasses.replace(options, columns=own), TRL_VERSION)


def _by_map(
  table: files.Table, options: naming.Options, version: str
) -> Convert:
  columns = options.columns
  form = _form(columns)
  places = {
    name: [
      _Place.parse(text)
      for text in (value.split('+') if name in _SEVERAL else [value])
    ]
    for name, value in columns.items()
  }
  everywhere = [place for several in places.values() for place in several]
  naming.check_columns(
    table.path,
    table.columns,
    tuple(dict.fromkeys(place.column for place in everywhere)),
    version,
  )
  lists = {place.column for place in everywhere if place.field is not None}
  if len(lists) > 1:
    raise ValueError(f'--columns: only one list has rows, not {sorted(lists)}')
  _check_person(table, options)
  judgements = form(options, places)

  def convert(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for element in _elements(row, lists):
      found = {
        name: [place.value(row, element) for place in several]
        for name, several in places.items()
      }
      values = {
        name: several if name in _SEVERAL else several[0]
        for name, several in found.items()
      }
      for judged in judgements(values):
        yield {**judged, **_about(values, places, options.user)}

  return convert


def _elements(row: dict[str, Any], lists: set[str]) -> list[Any]:
  if not lists:
    return [None]
  (name,) = lists
  several = row.get(name)
  if several is not None and not isinstance(several, list):
    raise schema.SchemaError(f'{name}: is no list of objects')
  return several or []


def _check_person(table: files.Table, options: naming.Options) -> None:
  if options.user is not None and 'user_id' in options.columns:
    raise ValueError(
      f'--user={options.user}: column {options.columns["user_id"]!r} says who '
      'judged: leave one of the two out'
    )
  if options.user is None and 'user_id' not in options.columns:
    raise schema.SchemaError(
      f'{table.path}: nobody is named who judged. If a column does '
      f'({", ".join(table.columns)}), say so with '
      '--from=columns --columns=user_id=COLUMN,...; if all of it is to be one '
      "person's, with --user=NAME: what is trained on it is nobody's own"
    )


def _about(
  values: Mapping[str, Any],
  places: Mapping[str, list[_Place]],
  user: str | None,
) -> dict[str, Any]:
  """Returns who judged, and the topic, if it is given."""
  known: dict[str, Any] = {'user_id': user or name_of(values.get('user_id'))}
  topic = values.get('topic')
  if not _empty(topic):
    known['topic'] = name_of(topic)
  if 'user_attributes' in values:
    said = zip(
      places['user_attributes'], values['user_attributes'], strict=True
    )
    known['user_attributes'] = {
      place.name: value for place, value in said if not _empty(value)
    }
  return known


def name_of(value: Any) -> Any:
  """Returns a whole number as text, and everything else as it is."""
  if isinstance(value, int) and not isinstance(value, bool):
    return str(value)
  return value


def _empty(value: Any) -> bool:
  missing = isinstance(value, float) and math.isnan(value)
  return value is None or missing or value == ''


def _said(value: Any) -> str | None:
  """Returns what a label says as text, and None where nobody judged."""
  if _empty(value):
    return None
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _number(value: Any, name: str) -> Any:
  """Returns a number that is written as text, or the value as it is."""
  if not isinstance(value, str):
    return value
  try:
    return float(value)
  except ValueError:
    raise schema.SchemaError(f'{name}: {value!r} is not a number') from None


# ----------------------------------------------------------------- five forms

Judge = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]
Places = Mapping[str, list[_Place]]


def _pair(options: naming.Options, places: Places) -> Judge:
  labels = naming.inverted(options.labels)

  def judge(row):
    said = _said(row['label'])
    if said is None:
      return
    names = ('response_a', 'response_b')
    prompt, a, b = texts.split(
      row.get('prompt'), row['response_a'], row['response_b'], names
    )
    label = naming.label_of(said, labels)
    yield {'prompt': prompt, 'response_a': a, 'response_b': b, 'label': label}

  return judge


def _chosen(options: naming.Options, places: Places) -> Judge:
  _no_labels(options, 'chosen, rejected')

  def judge(row):
    names = ('chosen', 'rejected')
    yield texts.sides(
      *texts.split(row.get('prompt'), row['chosen'], row['rejected'], names)
    )

  return judge


def _rating(options: naming.Options, places: Places) -> Judge:
  _no_labels(options, 'response, rating')

  def judge(row):
    yield from _rate(row, [row['response']], [row['rating']])

  return judge


def _choice(options: naming.Options, places: Places) -> Judge:
  names = tuple(place.name for place in places['responses'])
  if len(names) < 2 or len(set(names)) < len(names):
    raise ValueError(
      '--columns: responses names two columns or more, each once, joined by +'
    )
  labels = naming.inverted(options.labels, names)

  def judge(row):
    said = _said(row['choice'])
    if said is None:
      return
    best = labels.get(said) if labels else said
    if best not in names:
      raise schema.SchemaError(
        f'choice: {said!r} is none of {list(labels or names)}'
      )
    responses = dict(zip(names, row['responses'], strict=True))
    for name, response in responses.items():
      if name != best and not _empty(response):
        yield texts.sides(
          *texts.split(
            row.get('prompt'), responses[best], response, (str(best), name)
          )
        )

  return judge


def _ratings(options: naming.Options, places: Places) -> Judge:
  _no_labels(options, 'responses, ratings')
  if len(places['responses']) != len(places['ratings']):
    raise ValueError(
      f'--columns: {len(places["responses"])} responses have '
      f'{len(places["ratings"])} ratings'
    )

  def judge(row):
    yield from _rate(row, row['responses'], row['ratings'])

  return judge


def _rate(row: dict, responses: list, ratings: list) -> Iterator[dict]:
  for response, rating in zip(responses, ratings, strict=True):
    if not _empty(rating):
      yield {
        'prompt': texts.text(row.get('prompt'), 'prompt'),
        'response': texts.text(response, 'response'),
        'rating': _number(rating, 'rating'),
      }


def _no_labels(options: naming.Options, form: str) -> None:
  if options.labels:
    raise ValueError(f'--labels: {form} have no labels')


_FORMS: dict[tuple[str, ...], Callable[[naming.Options, Places], Judge]] = {
  ('response_a', 'response_b', 'label'): _pair,
  ('chosen', 'rejected'): _chosen,
  ('response', 'rating'): _rating,
  ('responses', 'choice'): _choice,
  ('responses', 'ratings'): _ratings,
}


def _form(
  columns: Mapping[str, str],
) -> Callable[[naming.Options, Places], Judge]:
  """Returns the form that the names given make.

  Raises:
    ValueError: they make none, or there is one name too many.
  """
  for names, form in _FORMS.items():
    if set(names) == set(columns) - {'prompt', *_OPTIONAL}:
      return form
  known = ' | '.join(', '.join(names) for names in _FORMS)
  raise ValueError(
    f'--columns: {", ".join(columns)} make no form. Give prompt, user_id if '
    'there are people, topic and user_attributes if you like, and one of: '
    f'{known}'
  )
