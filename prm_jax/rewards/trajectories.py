"""Trajectories as token ids: the published format and truncation.

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

from prm_jax.models import packing

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
) -> list[packing.Sequences]:
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
      packing.Sequences(
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


def pack(
  given: Sequence[packing.Sequences],
  length: int,
  *,
  pad: bool = False,
  rows: int | None = None,
) -> packing.Packed:
  """Returns `packing.pack` of sequences whose branches all end with SCORE.

  Args:
    given: sequences; their branches' scores keep the order.
    length: T.
    pad: whether every sequence gets a row of its own.
    rows: B, padded with empty rows; as many as are needed if None.

  Raises:
    ValueError: a sequence is longer than a row, or the rows do not suffice.
  """
  found = packing.pack(given, length, pad=pad, rows=rows, padding=PADDING)
  check(found)
  return found


def check(packed: packing.Packed) -> None:
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
