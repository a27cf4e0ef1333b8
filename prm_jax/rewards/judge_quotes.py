"""Texts of others in a judge's prompt: what would break its form is changed.

What an answer, a question or a criterion holds is not the judge's: a tag in it
could end the part that it stands in, and a special token its turn. Such
strings stay readable and are no longer what they were: '<answer>' becomes
'{answer}', '[[A]]' '((A))', one without brackets is parted behind its first
letter, a heading's line begins with a bar. A text without them stays as it is.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_SOFT = str.maketrans('<>[]{}', '{}()()')
_BAR = '| '
_LINE = r'(?:^|(?<=[\n\r\x0b\x0c\x85\u2028\u2029]))'
_COMMON = (
  r'<\|[^|<>\n]{0,64}\|>',  # special tokens, and those of other models
  r'<\uff5c[^\uff5c<>\n]{0,64}\uff5c>',
  r'</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>',
  r'\[/?INST\]|<</?SYS>>',
  r'\[\[[^\[\]\n]{1,8}\]\]',  # verdicts
  r'\[The (?:Start|End) of the Criterion\]',
)
_TAGS = ('think', 'answer')
_DEPTH = 100  # of fields inside one another


class Fields(NamedTuple):
  """The strings that a format is made of.

  Attributes:
    inside: those that are no part of a text, wherever they stand.
    lines: those that are none at the beginning of a line; None where a format
      has no headings.
  """

  inside: re.Pattern[str]
  lines: re.Pattern[str] | None


def fields(
  *,
  tags: Sequence[str] = (),
  brackets: Sequence[str] = (),
  strings: Sequence[str] = (),
  headings: Sequence[str] = (),
  labels: Sequence[str] = (),
) -> Fields:
  """Returns the fields of a format; special tokens are always among them.

  Case does not matter, for a model reads '<ANSWER>' as a tag, too.

  Args:
    tags: names in angle brackets; 'think' and 'answer' always are.
    brackets: regular expressions of what stands in square brackets.
    strings: regular expressions of others.
    headings: regular expressions of lines after '#'.
    labels: regular expressions of what a line begins with, before a colon.
  """
  names = '|'.join(map(re.escape, (*_TAGS, *tags)))
  inside = [
    *_COMMON,
    rf'<\s{{0,4}}/?\s{{0,4}}(?:{names})\b[^<>]{{0,64}}>',
    *(rf'\[\s{{0,4}}(?:{text})\s{{0,4}}\]' for text in brackets),
    *strings,
  ]
  lines = []
  if headings:
    lines.append(rf'#{{1,6}}[ \t]{{0,8}}(?:{"|".join(headings)})')
  if labels:
    lines.append(rf'[*_]{{0,3}}(?:{"|".join(labels)})[*_]{{0,3}}[ \t]{{0,8}}:')
  return Fields(
    re.compile('|'.join(inside), re.IGNORECASE),
    re.compile(rf'{_LINE}(?=[ \t]{{0,8}}(?:{"|".join(lines)}))', re.IGNORECASE)
    if lines
    else None,
  )


def quoted(text: str, known: Fields) -> str:
  """Returns a text in which none of a format's fields stands.

  Quoting twice changes nothing more.

  Args:
    text: of somebody else.
    known: of the format.
  """
  for _ in range(_DEPTH):  # fields stand inside one another
    before, text = text, known.inside.sub(_parted, text)
    if text == before:
      break
  return text if known.lines is None else known.lines.sub(_BAR, text)


def without(text: str, tokens: Sequence[str]) -> str:
  """Returns a text in which none of some strings stands.

  Args:
    text: of somebody else.
    tokens: such as a tokenizer's special tokens, which it would read as such.
  """
  long_first = sorted(filter(None, tokens), key=len, reverse=True)
  if not long_first:
    return text
  pattern = re.compile('|'.join(map(re.escape, long_first)))
  return pattern.sub(_parted, text)


def _parted(found: re.Match[str]) -> str:
  soft = found[0].translate(_SOFT)
  return soft if soft != found[0] else f'{soft[0]} {soft[1:]}'
