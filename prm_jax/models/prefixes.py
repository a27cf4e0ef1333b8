"""Prompts in two parts: first tokens that many share, and what follows.

A question whose answers are judged in both orders, or a list's in k, is read
once for all of its texts, and each text's own part after it.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax import types


class Suffix(NamedTuple):
  """Q texts that follow prompts.

  Attributes:
    ids: `[Q, S]` int32.
    mask: `[Q, S]` 0 for padding, on either side; a row may be empty.
    of: `[R]` the suffix of each row; rows of one continue the same prompt.
      0..R-1, Q = R, if None.
  """

  ids: types.ArrayLike
  mask: types.ArrayLike
  of: types.ArrayLike | None = None


class Sizes(NamedTuple):
  """The least shape of packed texts, so that batches of some are one program.

  Attributes:
    rows: texts.
    head: tokens of a first part; of more that texts share, the rest is read
      with the second.
    tails: second parts.
    tail: tokens of one.
  """

  rows: int
  head: int
  tails: int
  tail: int


class Packed(NamedTuple):
  """R texts, of which nothing is held twice.

  Attributes:
    prompts: B first parts, `[B, P]`.
    source: `[R]` int32, the prompt of each text.
    suffix: Q second parts; None where none has a token.
    first: `[B]` int32, a text that begins with each prompt.
  """

  prompts: types.Tokens
  source: np.ndarray
  suffix: Suffix | None
  first: np.ndarray


def shared(texts: Sequence[Sequence[int]], groups: Sequence[int]) -> np.ndarray:
  """Returns how many first tokens all texts of a text's group share, `[R]`.

  Args:
    texts: R, token ids.
    groups: `[R]` the group of each.
  """
  lowest: dict[int, list[int]] = {}
  highest: dict[int, list[int]] = {}
  for text, group in zip(map(list, texts), groups, strict=True):
    lowest[group] = min(lowest.get(group, text), text)
    highest[group] = max(highest.get(group, text), text)

  def common(group):  # in order of ids, the first and the last differ most
    pairs = zip(lowest[group], highest[group], strict=False)
    differ = (i for i, (one, other) in enumerate(pairs) if one != other)
    return next(differ, min(len(lowest[group]), len(highest[group])))

  length = {group: common(group) for group in lowest}
  return np.array([length[group] for group in groups], np.int32)


def packed(
  texts: Sequence[Sequence[int]],
  split: Sequence[int],
  *,
  most: int,
  kinds: Sequence[Hashable] | None = None,
  least: Sizes | None = None,
) -> Packed:
  """Returns texts as arrays of few shapes, since each is compiled.

  Lengths are rounded up, and so are numbers of parts, by copies.

  Args:
    texts: R, token ids.
    split: `[R]` where the second part of each begins.
    most: parts, at least as many as there are: what is rounded is not above.
    kinds: `[R]`; texts of different kinds share nothing. All are one if None.
    least: shapes that are filled up; its rows are not looked at. None: there
      are no others but those of the texts.
  """
  kinds = [None] * len(texts) if kinds is None else kinds
  heads: dict[tuple[Any, ...], int] = {}
  tails: dict[tuple[Any, ...], int] = {}
  source, of = np.zeros((2, len(texts)), np.int32)
  first: list[int] = []
  for row, (text, at, kind) in enumerate(zip(texts, split, kinds, strict=True)):
    source[row] = heads.setdefault((kind, *text[:at]), len(heads))
    of[row] = tails.setdefault((source[row], *text[at:]), len(tails))
    if len(first) < len(heads):
      first.append(row)
  least = Sizes(0, 0, 0, 0) if least is None else least
  prompts = _padded([head[1:] for head in heads], most, tokens=least.head)
  first += [first[0]] * (len(prompts.ids) - len(first))
  ends = [tail[1:] for tail in tails]
  suffix = None
  if any(ends) or least.tail:
    tail = _padded(ends, most, tokens=least.tail, count=least.tails)
    suffix = Suffix(*tail[:2], of)
  return Packed(prompts, source, suffix, np.array(first, np.int32))


def rounded(count: int, most: int) -> int:
  """Returns the next power of 2, if it is not above `most`."""
  return min(1 << (count - 1).bit_length(), most)


def _padded(parts, most, *, tokens=0, count=0) -> types.Tokens:
  """Returns parts padded on the left, and copies of the first."""
  T = max(1, tokens, *map(len, parts))
  T = -(-T // 16) * 16 if T <= 128 else -(-T // 64) * 64
  size = rounded(max(len(parts), min(count, most)), most)
  ids, mask = np.zeros((2, size, T), np.int32)
  for row in range(len(ids)):
    part = parts[row] if row < len(parts) else parts[0]
    ids[row, T - len(part) :], mask[row, T - len(part) :] = part, 1
  return types.Tokens(ids, mask)
