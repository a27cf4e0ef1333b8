"""Texts of different lengths in rows of one length, with nothing read twice.

On the host, in NumPy. What several texts begin with alike, their prompt, is a
stem; what follows in each is a branch, which sees the stem and itself. Rows
hold many of both, and who is in another's row is not seen.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.models import prefixes

HOW = ('padded', 'packed', 'shared')
_ROUND = 16  # tokens: rows of padded texts have few lengths, each one program


class Sequences(NamedTuple):
  """A stem and the branches that go on from it, token ids."""

  stem: list[int]
  branches: list[list[int]]

  def __len__(self) -> int:
    return len(self.stem) + sum(map(len, self.branches))


class Packed(NamedTuple):
  """Sequences packed into rows.

  Attributes:
    ids: `[B, T]` int32 token ids; the padding where nothing is.
    position: `[B, T]` int32, counted from each sequence's start.
    block: `[B, T]` int32, 1.. for the sequences of a row; 0 for padding.
    branch: `[B, T]` int32, 0 for the stem that a sequence's branches share.
    at: `[N, 2]` int32, row and column of every branch's last token.
  """

  ids: types.ArrayLike
  position: types.ArrayLike
  block: types.ArrayLike
  branch: types.ArrayLike
  at: types.ArrayLike


def separate(shared: Sequence[Sequences]) -> list[Sequences]:
  """Returns sequences of one branch each: every stem is read again."""
  return [Sequences(s.stem, [branch]) for s in shared for branch in s.branches]


def pack(
  given: Sequence[Sequences],
  length: int,
  *,
  pad: bool = False,
  rows: int | None = None,
  multiple: int = 1,
  padding: int = 0,
) -> Packed:
  """Returns the sequences in rows of `length` tokens.

  The longest first, each goes into the first row with room for it.

  Args:
    given: sequences, of whose branches none is empty; their order is kept.
    length: T.
    pad: whether every sequence gets a row of its own.
    rows: B, padded with empty rows; as many as are needed if None.
    multiple: of which the rows that are needed are made up to one.
    padding: the id where nothing is.

  Raises:
    ValueError: a sequence is longer than a row, a branch is empty, or the rows
      do not suffice.
  """
  place, count = _placed(given, length, pad)
  B = -(-count // multiple) * multiple if rows is None else rows
  if count > B:
    raise ValueError(f'{count} rows are needed, and {B} were given')
  ids = np.full((B, length), padding, np.int32)
  position, block, branch = (np.zeros((B, length), np.int32) for _ in range(3))
  at = []
  for i, (sequence, (row, start)) in enumerate(zip(given, place, strict=True)):
    stem = len(sequence.stem)
    here = slice(start, start + stem)
    ids[row, here], position[row, here] = sequence.stem, np.arange(stem)
    block[row, start : start + len(sequence)] = i + 1
    start += stem
    for number, tokens in enumerate(sequence.branches, 1):
      if not tokens:
        raise ValueError(f'branch {number} of sequence {i} has no token')
      here = slice(start, start + len(tokens))
      ids[row, here] = tokens
      position[row, here] = stem + np.arange(len(tokens))
      branch[row, here] = number
      start += len(tokens)
      at.append((row, start - 1))
  at_ = np.array(at, np.int32).reshape(-1, 2)
  return Packed(ids, position, block, branch, at_)


def _placed(
  given: Sequence[Sequences], length: int, pad: bool
) -> tuple[list[tuple[int, int]], int]:
  """Returns row and first column of every sequence, and how many rows."""
  free: list[int] = []
  place = [(0, 0)] * len(given)
  for i in sorted(range(len(given)), key=lambda i: -len(given[i])):
    size = len(given[i])
    if size > length:
      raise ValueError(f'sequence {i} has {size} tokens, a row {length}')
    row = next((r for r, f in enumerate(free) if f >= size and not pad), None)
    if row is None:
      row = len(free)
      free.append(length)
    place[i] = row, length - free[row]
    free[row] -= size
  return place, len(free)


@dataclasses.dataclass(frozen=True)
class Reader:
  """Texts that are packed anew for every batch; `pipelines.batches` calls it.

  Attributes:
    texts: M lists of token ids, prompt and response together.
    prompts: `[M]` which prompt each is to: only texts to one share a stem.
    length: tokens of a row; of padded texts the most, and rows are as long as
      the batch's longest needs, in sixteens.
    how: 'padded', a row a text; 'packed', many texts a row; 'shared', many
      prompts a row, each once before all responses to it.
    multiple: of which rows are made up to one: a multiple of the devices that
      split them, and large enough that few shapes are compiled.

  Raises:
    ValueError: a text is empty or longer than a row, or there is no such how.
  """

  texts: Sequence[Sequence[int]]
  prompts: types.ArrayLike
  length: int
  how: str = 'shared'
  multiple: int = 1

  def __post_init__(self) -> None:
    """Checks the texts, before any batch is made."""
    if self.how not in HOW:
      raise ValueError(f'how {self.how!r}: one of {HOW}')
    if len(self.texts) != len(np.asarray(self.prompts)):
      raise ValueError(
        f'{len(self.texts)} texts, {len(np.asarray(self.prompts))} prompts'
      )
    sizes = np.array([len(text) for text in self.texts])
    for row in np.flatnonzero((sizes == 0) | (sizes > self.length))[:1]:
      raise ValueError(
        f'text {row} has {sizes[row]} tokens, a row holds 1 to {self.length}: '
        'cut the text, or make rows longer'
      )

  def __call__(self, index: np.ndarray) -> types.Inputs:
    """Returns what is read of some candidates.

    Args:
      index: `[B, K]` texts; one that stands there twice is read once.

    Returns:
      Tokens `[R, T]` with E ends a row, R and E varying with the texts, and
      the index `[B, K]` into `[R * E]`.
    """
    known, where = np.unique(index, return_inverse=True)
    sequences, order = self._sequences(known)
    pad, length = self.how == 'padded', self.length
    if pad:
      length = min(length, _up(max(map(len, sequences)), _ROUND))
    made = pack(sequences, length, pad=pad, multiple=self.multiple)
    tokens, flat = read(made)
    if pad:  # one text a row, said by the shape: fused attention reads such
      tokens = tokens._replace(segment=None, branch=None)
    place = np.zeros(len(known), np.int32)
    place[order] = flat
    return types.Inputs(tokens, place[where.reshape(index.shape)])

  def _sequences(self, known: np.ndarray) -> tuple[list[Sequences], np.ndarray]:
    """Returns texts as sequences, and which text each branch in turn ends."""
    texts = [list(self.texts[m]) for m in known]
    if self.how != 'shared':
      return [Sequences([], [text]) for text in texts], np.arange(len(texts))
    groups = np.unique(np.asarray(self.prompts)[known], return_inverse=True)[1]
    # A text that another goes on from keeps a token of its own.
    least = np.full(len(texts), self.length)
    np.minimum.at(least, groups, [len(text) - 1 for text in texts])
    stems = np.minimum(prefixes.shared(texts, groups.tolist()), least[groups])
    order = np.argsort(groups, kind='stable')
    found: list[Sequences] = []
    last = None
    for m in order:
      stem, tail = texts[m][: stems[m]], texts[m][stems[m] :]
      fits = found and len(found[-1]) + len(tail) <= self.length
      if last == groups[m] and fits:
        found[-1].branches.append(tail)
      else:
        found.append(Sequences(stem, [tail]))
      last = groups[m]
    return found, order


def _up(count: int, multiple: int) -> int:
  return -(-count // multiple) * multiple


def read(packed: Packed) -> tuple[types.Tokens, np.ndarray]:
  """Returns packed sequences as a backbone reads them, and the flat index.

  Args:
    packed: N branches in B rows.

  Returns:
    Tokens `[B, T]` with `end` `[B, E]`, E a power of 2, and where each branch's
    end is in `[B * E]`, `[N]`.
  """
  at, block = np.asarray(packed.at), np.asarray(packed.block)
  row = at[:, 0]
  order = np.lexsort((at[:, 1], row))
  many = np.bincount(row, minlength=len(block))
  number = np.empty(len(at), np.int32)
  starts = np.cumsum(many) - many
  number[order] = np.arange(len(at)) - starts[row[order]]
  E = 1 << int(max(many.max(initial=1), 1) - 1).bit_length()
  end = np.zeros((len(block), E), np.int32)
  end[row, number] = at[:, 1]
  tokens = types.Tokens(
    packed.ids, (block > 0).astype(np.int32), block, packed.branch, end
  )
  return tokens, (row * E + number).astype(np.int32)
