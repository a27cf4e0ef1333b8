"""What a text looks like: length, layout, punctuation and small words.

Frozen hidden states hardly count; who wrote a text shows in counts.
"""

import re
from collections.abc import Sequence

import numpy as np

_MARKS = '!?,.:;"\'()#`*-\n'
_PATTERNS = (
  r'\*\*',
  r'\n\n',
  r'(?m)^\s*[-*\u2022]\s',
  r'(?m)^\s*\d+[.)]\s',
  r'(?m)^#+\s',
  r'```',
)
_WORDS = (
  ('the', 'a', 'an'),
  ('is', 'are', 'was', 'were', 'be'),
  ('you', 'your'),
  ('i', "i'm", 'my', 'me'),
  ('we', 'our', 'us'),
  ('can', 'may', 'might', 'could', 'would', 'should'),
  ('and', 'or', 'but'),
  ('however', 'additionally', 'overall', 'therefore'),
  ('sure', 'certainly', 'sorry', 'please', 'thank'),
)
_SPACE = re.compile(r'\S+')


def measure(texts: Sequence[str]) -> np.ndarray:
  """Returns surface features of texts, float32 `[M, F]`.

  Logarithms of lengths, and square roots of how often marks, layout and small
  words occur a word, which evens out what is rare and what is frequent.
  """
  found = np.array([_one(text) for text in texts], np.float32)
  return found.reshape(len(texts), len(_one('')))


def _one(text: str) -> list[float]:
  words = _SPACE.findall(text)
  count, size = max(len(words), 1), max(len(text), 1)
  lower = [word.strip('.,!?:;"()').lower() for word in words]
  first = text.split('\n', 1)[0]
  rates = [text.count(mark) / count for mark in _MARKS]
  rates += [len(re.findall(pattern, text)) / count for pattern in _PATTERNS]
  rates += [sum(word in group for word in lower) / count for group in _WORDS]
  rates += [
    sum(map(str.isdigit, text)) / size,
    sum(map(str.isupper, text)) / size,
    sum(ord(c) > 127 for c in text) / size,
    float(text[:1].isspace()),
    float(text[-1:].isspace()),
    float(text.rstrip()[-1:] in tuple('.!?')),
    float(lower[0] in _WORDS[-1]) if lower else 0.0,
  ]
  return [
    *(np.log1p([len(text), len(words), len(first)])),
    sum(map(len, words)) / count,
    len(set(lower)) / count,
    *np.sqrt(rates),
  ]
