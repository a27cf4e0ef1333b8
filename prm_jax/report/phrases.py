"""Words of the sentences: where, how many, by how much."""

import math
from collections.abc import Sequence
from typing import Any

from prm_jax.report import tables, verdicts

Row = tables.Row

_ON = {
  'new_pairs': 'on new pairs by people who were seen',
  'new_prompts': 'on new prompts',
  'new_topics': 'on new topics',
  'new_lexicon': 'on new topics with new words',
  'new_people': 'for new people',
  'new_people_new_prompts': 'for new people on new prompts',
}
_EACH = ' of each'
_NAMED = 2  # data sets that a sentence names


def on_split(split: Any) -> str:
  """Returns where a model was asked, such as `on new prompts`."""
  return _ON.get(str(split), f'on {tables.word(split)}')


def on(row: Row) -> str:
  """Returns where a row's model was asked, and how much it knew."""
  split = row.get('split')
  words = on_split(split)
  answers = row.get('answers', 'all')
  if split == verdicts.NEW_PEOPLE and answers != 'all':
    words += with_answers(answers)
  return words


def counted(row: Row) -> str:
  """Returns how many people and prompts, such as `100 people, 50 prompts`."""
  text = f'{tables.number(row, "people"):,.0f} people'
  units = tables.number(row, 'units')
  if not math.isfinite(units):
    return text if math.isfinite(tables.number(row, 'people')) else 'people'
  name = str(row.get('resampled') or '').rpartition(' and ')[2] or 'prompts'
  return f'{text}, {units:,.0f} {name}'


def _digits(row: Row, name: str) -> int:
  """Returns 1, or 2 where an end of the interval would be rounded to zero."""
  found = [abs(100 * x) for x in tables.interval(row, name) if math.isfinite(x)]
  return 2 if any(0 < value < 0.05 for value in found) else 1


def told(row: Row, name: str = 'gain') -> tuple[str, str]:
  """Returns a value without its sign, in points, and its interval."""
  digits = _digits(row, name)
  value, low, high = (
    round(100 * x, digits) + 0.0 for x in tables.interval(row, name)
  )
  return f'{abs(value):.{digits}f}', f'[{low:+.{digits}f}, {high:+.{digits}f}]'


def sign(row: Row, name: str = 'gain') -> str:
  """Returns the sign of a value as it is shown."""
  value = round(100 * tables.number(row, name), _digits(row, name))
  return '-' if value < 0 else '+'


def by(row: Row, name: str = 'gain') -> str:
  """Returns a difference, such as `+3.4 points [+2.9, +4.0]`."""
  if not math.isfinite(tables.number(row, name)):
    return tables.MISSING
  value, between = told(row, name)
  if not math.isfinite(tables.number(row, f'{name}_low')):
    between = ''
  return f'{sign(row, name)}{value} points {between}'.rstrip()


def interval(row: Row, name: str) -> str:
  """Returns a difference with two decimals, as tables show it."""
  value, _, between = tables.points(row, name, signed=True).partition(' ')
  return f'{value} points {between}'.rstrip()


def points(share: float) -> str:
  """Returns a share in points, with a digit more where it is tiny."""
  return f'{100 * share:.1f}' if share >= 5e-4 else f'{100 * share:.2f}'


def span(shares: Sequence[float]) -> str:
  """Returns the smallest and the largest share in points, or the only."""
  low, high = points(min(shares)), points(max(shares))
  return low if low == high else f'{low} to {high}'


def some(names: Sequence[str]) -> str:
  """Returns two names, and how many more there are."""
  if len(names) <= _NAMED + 1:
    return listed(names)
  return f'{", ".join(names[:_NAMED])} and {len(names) - _NAMED} more'


def listed(words: Sequence[str]) -> str:
  """Returns words with commas and a last `and`."""
  *first, last = words
  return f'{", ".join(first)} and {last}' if first else last


def capital(text: str) -> str:
  """Returns a text that begins with a capital."""
  return text[:1].upper() + text[1:]


def with_answers(answers: Any) -> str:
  """Returns ` with 5 answers`, nothing where all are known."""
  return '' if answers == 'all' else f' {known(answers)}'.removesuffix(_EACH)


def known(answers: Any) -> str:
  """Returns how much is known of each person."""
  if answers == 'all':
    return 'with all their answers'
  return f'with {answers} answer{"" if answers == 1 else "s"}{_EACH}'
