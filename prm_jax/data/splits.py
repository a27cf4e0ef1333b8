"""Splits by hash, so that they do not depend on the order of rows."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np


def bucket(names: Sequence[str], salt: str, buckets: int) -> np.ndarray:
  """Returns the bucket of every name, `[n]` int in [0, buckets).

  Args:
    names: of people, prompts or pairs; equal names share a bucket.
    salt: gives another split.
    buckets: how many.

  Examples:
    >>> part = bucket(['ann', 'bob', 'ann'], 'seed0', buckets=3)
    >>> bool(part[0] == part[2]), bool((part < 3).all())
    (True, True)
  """
  known: dict[str, int] = {}
  for name in names:
    if name not in known:
      known[name] = _hash(salt, name) % buckets
  return np.array([known[name] for name in names], int)


def plain(text: str) -> str:
  """Returns what a reader sees of a text: its near-duplicates are the same.

  One form of every character, no case, single spaces, and nothing that is not
  shown, such as a zero-width space.
  """
  text = unicodedata.normalize('NFKC', text).casefold()
  shown = (
    letter
    for letter in text
    if letter.isspace() or unicodedata.category(letter) not in ('Cc', 'Cf')
  )
  return ' '.join(''.join(shown).split())


def linked(rows: Sequence[Iterable[str]]) -> np.ndarray:
  """Returns the group of every row, `[n]` int: rows that share a text are one.

  Directly or through others. Texts are compared as a reader sees them
  (`plain`); one without anything to see links nothing.

  Args:
    rows: n, of some texts each.

  Examples:
    >>> linked([['a', 'b'], ['c'], ['B ', 'd'], ['d'], ['']]).tolist()
    [0, 1, 0, 0, 4]
  """
  group = list(range(len(rows)))

  def first(row: int) -> int:
    while group[row] != row:
      group[row] = group[group[row]]
      row = group[row]
    return row

  seen: dict[str, int] = {}
  shown: dict[str, str] = {}  # texts stand in many rows
  for row, texts in enumerate(rows):
    for text in texts:
      if text not in shown:
        shown[text] = plain(text)
      if shown[text]:
        low, high = sorted(
          (first(row), first(seen.setdefault(shown[text], row)))
        )
        group[high] = low
  return np.array([first(row) for row in range(len(rows))], int)


def folds(topics: Sequence[str], count: int, salt: str) -> np.ndarray:
  """Returns the fold of every row, whole topics together, near-equal in rows.

  Topics are dealt from the largest to the fold with the fewest rows; ties and
  equal sizes go by hash.

  Args:
    topics: of each row.
    count: folds.
    salt: gives another deal.

  Raises:
    ValueError: there are fewer topics than folds.
  """
  size = Counter(topics)
  if len(size) < count:
    raise ValueError(f'{len(size)} topics do not make {count} folds')
  order = sorted(size, key=lambda topic: (-size[topic], _hash(salt, topic)))
  rank = sorted(range(count), key=lambda fold: _hash(salt, f'fold{fold}'))
  rows, fold_of = [0] * count, {}
  for topic in order:
    fold = min(rank, key=lambda f: rows[f])
    fold_of[topic] = fold
    rows[fold] += size[topic]
  return np.array([fold_of[topic] for topic in topics], int)


def _hash(salt: str, name: str) -> int:
  digest = hashlib.sha256(f'{salt}\0{name}'.encode()).digest()
  return int.from_bytes(digest[:8], 'big')
