"""Final answers of worked solutions, and whether two of them are equal.

Nothing is evaluated: an answer is compared as text, as an exact fraction, or
part by part. What cannot be read is no answer, and equals nothing.
"""

import re
from fractions import Fraction

_NUMBER = r'[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?'
_MARKED = (
  re.compile(r'####[ \t]*([^\n]+)'),
  re.compile(r'^[ \t]*A:[ \t]*([^\n]+)', re.MULTILINE),
  re.compile(
    r'answer(?: is|:|=)[ \t]*:?[ \t]*([^\n]+?)\.?[ \t]*(?:\n|$)', re.IGNORECASE
  ),
)
_ANY_NUMBER = re.compile(r'[-+]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+')
_WRAPPED = re.compile(r'\\(?:text|mathrm|textbf|mbox|mathbf)\s*\{([^{}]*)\}')
_FRACTION = re.compile(r'\\[dt]?frac\s*(\{[^{}]*\}|\d)\s*(\{[^{}]*\}|\d)')
_DROPPED = (
  '\\left',
  '\\right',
  '\\!',
  '\\,',
  '\\;',
  '\\:',
  '\\ ',
  '\\$',
  '$',
  '^\\circ',
  '^{\\circ}',
  '\\degree',
  '\\%',
  '%',
  '\\(',
  '\\)',
  '\\[',
  '\\]',
)
_VALUE = re.compile(
  r'([-+]?)(?:(\d+)\+)?\(?(\d+\.?\d*|\.\d+)\)?(?:/\(?(\d+\.?\d*)\)?)?'
)
# A number that ends its sentence, and what is said after it.
_SAID_MORE = re.compile(
  r'[*_]*(\$?[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?)'
  r'[*_]*[.!;][*_]*\s+[A-Z].*'
)
_LONGEST = 200  # characters of an answer; more is no answer


def final(text: str) -> str | None:
  r"""Returns the final answer that a solution states, None if it has none.

  The last `\boxed{...}`; else what follows the last `####`, `A:` at the start
  of a line, or `answer is`, without emphasis or a sentence after it; else the
  last number.

  Args:
    text: a solution, as somebody or a model wrote it.
  """
  found = _boxed(text)
  for pattern in _MARKED:
    if found is None:
      matches = pattern.findall(text)
      found = matches[-1] if matches else None
  if found is None:
    numbers = _ANY_NUMBER.findall(text)
    found = numbers[-1] if numbers else None
  if found is None:
    return None
  more = _SAID_MORE.fullmatch(found.strip())
  found = more.group(1) if more else found.strip().strip('*_')
  return found.strip() if found and len(found) <= _LONGEST else None


def _boxed(text: str) -> str | None:
  """Returns what the last box holds, braces balanced; None if none closes."""
  for start in reversed(
    [m.end() for m in re.finditer(r'\\f?boxed\s*\{', text)]
  ):
    depth = 1
    for place in range(start, len(text)):
      depth += {'{': 1, '}': -1}.get(text[place], 0)
      if depth == 0:
        return text[start:place]
  return None


def equal(first: str | None, second: str | None) -> bool:
  """Returns whether two answers say the same.

  Numbers are equal as exact fractions, so that 0.5, 1/2 and 50% are (percent
  signs are dropped: 50% is 50 too); lists and pairs part by part, in order;
  anything else as text, but for white space, case, units and LaTeX's spelling.

  Args:
    first: an answer; None equals nothing.
    second: another.
  """
  if first is None or second is None:
    return False
  one, two = normalized(first), normalized(second)
  if not one or not two:
    return False
  if one == two:
    return True
  parts = _parts(one), _parts(two)
  if len(parts[0]) > 1 or len(parts[1]) > 1:
    return len(parts[0]) == len(parts[1]) and all(
      equal(a, b) for a, b in zip(*parts, strict=True)
    )
  numbers = value(one), value(two)
  return numbers[0] is not None and numbers[0] == numbers[1]


def normalized(answer: str) -> str:
  """Returns an answer as plain text: no LaTeX, units, spaces or capitals."""
  text = answer.strip().rstrip('.').replace('\u2212', '-')
  text = _WRAPPED.sub(r' \1', text)
  for old in _DROPPED:
    text = text.replace(old, '')
  while (again := _FRACTION.sub(_ratio, text)) != text:
    text = again
  text = re.sub(r'(?<=\d),(?=\d{3}(?:\D|$))', '', text)
  text = re.sub(r'^[a-z]\s*(?:=|\\in)\s*', '', text)  # x = 3
  if re.fullmatch(rf'{_NUMBER}\s+[A-Za-z][A-Za-z. ]*', text):
    text = text.split()[0]  # 18 dollars
  text = text.replace('\\cdot', '*').replace('\\times', '*')
  return re.sub(r'\s+', '', text).lower()


def _ratio(match: re.Match) -> str:
  above, below = (part.strip('{}') for part in match.groups())
  before = match.string[: match.start()].rstrip()[-1:]
  mixed = '+' if before.isdigit() else ''
  return f'{mixed}({above})/({below})'


def value(answer: str) -> Fraction | None:
  """Returns the number that a normalised answer is; None if it is none.

  Args:
    answer: an integer, a decimal, a ratio of two of these, or an integer plus
      such a ratio.
  """
  match = _VALUE.fullmatch(answer)
  if match is None:
    return None
  sign, whole, above, below = match.groups()
  if below is not None and not Fraction(below):
    return None
  found = Fraction(whole or 0) + Fraction(above) / Fraction(below or 1)
  return -found if sign == '-' else found


def _parts(text: str) -> list[str]:
  """Returns the elements of `(1,2)` or `1,2`; the text alone if it is one."""
  if text[:1] in '([{' and text[-1:] in ')]}' and ',' in text:
    text = text[1:-1]
  found, depth, last = [], 0, 0
  for place, letter in enumerate(text):
    depth += (letter in '([{') - (letter in ')]}')
    if letter == ',' and depth == 0:
      found.append(text[last:place])
      last = place + 1
  return [*found, text[last:]]
