"""Trajectories as token ids: the published format, truncation and packing.

On the host, in NumPy. A sequence is

    reference's prompt, reference, SEPARATOR, prompt, candidate, SCORE

and everything up to the SEPARATOR, and what the candidates begin with alike,
their prompt, is the stem that they share.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from prm_jax import types

# What is not a token of a text; no tokenizer knows them, so no text holds them.
PADDING, SEPARATOR, SCORE = -1, -2, -3


class Limits(NamedTuple):
  """What a sequence has room for, in tokens, as published.

  Attributes:
    total: of a sequence.
    answer: of the reference, and of the candidate; what follows is cut.
    reserve: kept free of `total` for markers and line breaks.
  """

  total: int = 16_384
  answer: int = 4_096
  reserve: int = 4


class Trajectory(NamedTuple):
  """A prompt's and a response's token ids; `joint` those between them."""

  prompt: Sequence[int]
  joint: Sequence[int]
  response: Sequence[int]

  def ids(self, room: int) -> list[int]:
    """Returns the ids with the last `room` tokens of the prompt."""
    prompt = list(self.prompt[max(len(self.prompt) - room, 0) :])
    return prompt + list(self.joint) + list(self.response)


class Packed(NamedTuple):
  """Sequences packed into rows.

  Attributes:
    ids: `[B, T]` int32 token ids and markers; PADDING where nothing is.
    position: `[B, T]` int32, counted from each sequence's start.
    block: `[B, T]` int32, 1.. for the sequences of a row; 0 for padding.
    branch: `[B, T]` int32, 0 for the stem that a sequence's branches share.
    at: `[N, 2]` int32, row and column of every SCORE.
  """

  ids: types.ArrayLike
  position: types.ArrayLike
  block: types.ArrayLike
  branch: types.ArrayLike
  at: types.ArrayLike


class Sequences(NamedTuple):
  """A stem and the branches that go on from it, token ids."""

  stem: list[int]
  branches: list[list[int]]

  def __len__(self) -> int:
    return len(self.stem) + sum(map(len, self.branches))


def tokenize(
  tokenizer: Tokenizer,
  prompts: Sequence[str],
  responses: Sequence[str],
  *,
  answer: int = Limits().answer,
  end: int | None = None,
) -> list[Trajectory]:
  """Returns trajectories, responses cut to `answer` tokens.

  Prompt and response are joined by a line break, unless one is empty.

  Args:
    tokenizer: of the decoder.
    prompts: N texts.
    responses: N texts.
    answer: tokens of a response that are kept, the first.
    end: id of the token that ends a response which is not cut; none if None.

  Raises:
    ValueError: not as many responses as prompts.
  """
  if len(prompts) != len(responses):
    raise ValueError(f'{len(prompts)} prompts, {len(responses)} responses')
  kept = tokenizer.encode_special_tokens
  tokenizer.encode_special_tokens = True  # a text that spells one is a text
  try:
    line = tokenizer.encode('\n', add_special_tokens=False).ids
    ids = _encode_each(tokenizer, [*prompts, *responses])
  finally:
    tokenizer.encode_special_tokens = kept
  found = []
  for prompt, response in zip(prompts, responses, strict=True):
    tokens = ids[response]
    if end is not None and len(tokens) < answer:
      tokens = [*tokens, end]
    joint = line if prompt and response else []
    found.append(Trajectory(ids[prompt], joint, tokens[:answer]))
  return found


def _encode_each(tokenizer, texts) -> dict[str, list[int]]:
  """Returns the ids of every text; equal texts are encoded once."""
  known = sorted(set(texts))
  encodings = tokenizer.encode_batch(known, add_special_tokens=False)
  return {t: e.ids for t, e in zip(known, encodings, strict=True)}


def sequences(
  references: Sequence[Trajectory | None],
  candidates: Sequence[Sequence[Trajectory]],
  limits: Limits = Limits(),  # noqa: B008 - immutable
) -> list[Sequences]:
  """Returns what the decoder reads of every reference and its candidates.

  Prompts get what reference and longest candidate leave,
  (total - reserve - reference - candidate) / 2 tokens each, and keep their
  ends: the candidates of one reference are cut alike.

  Args:
    references: N trajectories; None for none, which leaves the separator.
    candidates: N lists of trajectories.
    limits: in tokens.

  Raises:
    ValueError: the limits leave no room for a prompt, or there is no
      candidate.
  """
  found = []
  for number, (reference, given) in enumerate(
    zip(references, candidates, strict=True)
  ):
    if not given:
      raise ValueError(f'reference {number} has no candidate')
    answers = [len(t.response[: limits.answer]) for t in given]
    length = len(reference.response[: limits.answer]) if reference else 0
    room = (limits.total - limits.reserve - length - max(answers)) // 2
    if room < 0:
      raise ValueError(
        f'two answers of {limits.answer} tokens do not fit into '
        f'{limits.total} less {limits.reserve}: lower the answer limit'
      )
    stem = _cut(reference, limits).ids(room) if reference else []
    branches = [[*_cut(t, limits).ids(room), SCORE] for t in given]
    shared = _common(branches)
    found.append(
      Sequences(
        [*stem, SEPARATOR, *branches[0][:shared]],
        [branch[shared:] for branch in branches],
      )
    )
  return found


def _common(branches: list[list[int]]) -> int:
  """Returns how many tokens several branches begin with alike, not SCORE."""
  if len(branches) < 2:
    return 0
  columns = zip(*(branch[:-1] for branch in branches), strict=False)
  same = itertools.takewhile(lambda column: len(set(column)) == 1, columns)
  return sum(1 for _ in same)


def _cut(trajectory: Trajectory, limits: Limits) -> Trajectory:
  return trajectory._replace(response=trajectory.response[: limits.answer])


def separate(shared: Sequence[Sequences]) -> list[Sequences]:
  """Returns sequences of one branch each: every stem is read again."""
  return [Sequences(s.stem, [branch]) for s in shared for branch in s.branches]


def pack(
  given: Sequence[Sequences],
  length: int,
  *,
  pad: bool = False,
  rows: int | None = None,
) -> Packed:
  """Returns the sequences in rows of `length` tokens.

  The longest first, each goes into the first row with room for it.

  Args:
    given: sequences; their branches' scores keep the order.
    length: T.
    pad: whether every sequence gets a row of its own.
    rows: B, padded with empty rows; as many as are needed if None.

  Raises:
    ValueError: a sequence is longer than a row, or the rows do not suffice.
  """
  order = sorted(range(len(given)), key=lambda i: -len(given[i]))
  free: list[int] = []
  place = {}
  for i in order:
    size = len(given[i])
    if size > length:
      raise ValueError(f'sequence {i} has {size} tokens, a row {length}')
    row = next((r for r, f in enumerate(free) if f >= size and not pad), None)
    if row is None:
      row = len(free)
      free.append(length)
    place[i] = row, length - free[row]
    free[row] -= size
  B = len(free) if rows is None else rows
  if len(free) > B:
    raise ValueError(f'{len(free)} rows are needed, and {B} were given')
  ids = np.full((B, length), PADDING, np.int32)
  position, block, branch = (np.zeros((B, length), np.int32) for _ in range(3))
  at = []
  for i, sequence in enumerate(given):
    row, start = place[i]
    stem = len(sequence.stem)
    here = slice(start, start + stem)
    ids[row, here], position[row, here] = sequence.stem, np.arange(stem)
    block[row, start : start + len(sequence)] = i + 1
    start += stem
    for number, tokens in enumerate(sequence.branches, 1):
      here = slice(start, start + len(tokens))
      ids[row, here] = tokens
      position[row, here] = stem + np.arange(len(tokens))
      branch[row, here] = number
      start += len(tokens)
      at.append((row, start - 1))
  found = Packed(ids, position, block, branch, np.array(at, np.int32))
  check(found)
  return found


def check(packed: Packed) -> None:
  """Raises ValueError unless every score is read at a SCORE, and each once."""
  ids, at = np.asarray(packed.ids), np.asarray(packed.at).reshape(-1, 2)
  wrong = np.flatnonzero(ids[tuple(at.T)] != SCORE)
  if wrong.size:
    row, column = at[wrong[0]]
    raise ValueError(
      f'score {wrong[0]} is read at row {row}, column {column}, where no SCORE '
      'stands'
    )
  if len(at) != (ids == SCORE).sum():
    raise ValueError(f'{len(at)} scores are read of {(ids == SCORE).sum()}')


def table(
  given: Sequence[Trajectory], *, prompt: int, length: int
) -> np.ndarray:
  """Returns token ids `[M, length]`, padded right with PADDING.

  For features of texts, which are cut alone: the prompt keeps its last
  `prompt` tokens and the response what is left of `length`.

  Args:
    given: M trajectories.
    prompt: tokens of a prompt.
    length: T.
  """
  found = np.full((len(given), length), PADDING, np.int32)
  for row, trajectory in enumerate(given):
    ids = trajectory.ids(prompt)[:length]
    found[row, : len(ids)] = ids
  return found
