"""A decoder's reward that reads a person's summary before the prompt.

A text is what `Wording` makes of the summary, the prompt, and the response, as
token ids; the person enters there and nowhere else, so that any reward of
`types.Tokens` can be the reader: a head on a decoder (`rewards.backbone`), or
the decoder itself (`rewards.implicit_decoder`). A reward that is told the
summary apart, as its context, is one as well (`Wording.apart`).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.rewards import trajectories
from prm_jax.users import records

_SLOT = '{summary}'
_TEXTS = 64  # scored at once


class Wording(NamedTuple):
  """How a text is put together, and what it has room for.

  Attributes:
    before: what stands before a prompt where a summary is; nothing does where
      none is. As PLUS has it, arXiv:2507.13579.
    summary: tokens of a summary; a longer one is refused.
    response: tokens of a response; what follows is cut.
    total: tokens of everything; what the others leave is the prompt's, which
      keeps its end.
    apart: whether the reward's context is the summary, `types.Tokens`
      `[B, S]`, S the room of one, and texts `[B, K, T]` are without it;
      `before` is not read, for what stands there is the reward's own.
    end: id of the token that ends a summary that is told apart; none if None.
  """

  before: str = (
    'Here is the summary of my preferences based on previous conversations: '
    '{summary} In the following conversation, keep this in mind to personalize '
    'your response.\n\n'
  )
  summary: int = 256
  response: int = 512
  total: int = 2048
  apart: bool = False
  end: int | None = None


class Reader(NamedTuple):
  """A reward whose person is a text; `users.records.Reads`.

  Attributes:
    reward: of `types.Tokens`; its score reads no context.
    params: of it.
    tokenizer: of its decoder.
    wording: what it reads.
  """

  reward: types.RewardModel
  params: types.PyTree
  tokenizer: Tokenizer
  wording: Wording = Wording()

  def measure(self, words: str) -> records.Measured:
    """Returns how much of a summary is read."""
    return measure(self.tokenizer, self.wording, words)

  def score(
    self, words: str, prompts: Sequence[str], responses: Sequence[str]
  ) -> np.ndarray:
    """Returns scores `[M]`, in logits, of M responses to M prompts.

    Args:
      words: what is written about the person; '' is somebody unknown.
      prompts: M.
      responses: M.

    Raises:
      SummaryError: the summary is longer than is read.
    """
    given = self.tokenizer, self.wording, words
    texts = tokens(*given, prompts, responses)
    told = context(*given) if self.wording.apart else None
    return scores(self.reward, self.params, texts, told)


def check(wording: Wording) -> Wording:
  """Returns the wording, whose parts fit together.

  Raises:
    ValueError: they do not.
  """
  if not wording.apart and wording.before.count(_SLOT) != 1:
    raise ValueError(f'before: {wording.before!r} has not one {_SLOT}')
  if min(wording.summary, wording.response, wording.total) < 1:
    raise ValueError(f'{wording}: every room is of a token or more')
  if wording.summary + wording.response >= wording.total:
    raise ValueError(
      f'a summary of {wording.summary} tokens and a response of '
      f'{wording.response} leave no room of {wording.total} for a prompt'
    )
  return wording


def measure(
  tokenizer: Tokenizer, wording: Wording, words: str
) -> records.Measured:
  """Returns how many tokens a summary has, may have, and how many are unknown.

  Args:
    tokenizer: of the reader.
    wording: of the reader.
    words: a summary.
  """
  ids = _ids(tokenizer, words)
  word = getattr(tokenizer.model, 'unk_token', None)
  unknown = tokenizer.token_to_id(word) if word is not None else None
  return records.Measured(
    len(ids), wording.summary, sum(each == unknown for each in ids)
  )


def tokens(
  tokenizer: Tokenizer,
  wording: Wording,
  words: str,
  prompts: Sequence[str],
  responses: Sequence[str],
) -> types.Tokens:
  """Returns M texts `[M, T]` about one person, padded on the right.

  `branch` is 1 in the response and 0 before it. T is a power of two, so that
  few shapes are compiled. A text that spells a special token is a text.

  Args:
    tokenizer: of the reader.
    wording: of the reader.
    words: what is written about the person.
    prompts: M.
    responses: M.

  Raises:
    SummaryError: the summary is longer than is read.
    ValueError: not as many responses as prompts, or what stands before the
      prompt fills the room.
  """
  records.check(words, measure=functools.partial(measure, tokenizer, wording))
  before = []
  if words and not wording.apart:
    before = _ids(tokenizer, wording.before.replace(_SLOT, words))
  # A summary that is told apart has a room of its own.
  total = wording.total - (wording.summary if wording.apart else 0)
  given = trajectories.tokenize(
    tokenizer, prompts, responses, answer=wording.response
  )
  found = []
  for each in given:
    free = total - len(before) - len(each.joint) - len(each.response)
    if free < 0:
      raise ValueError(
        f'the summary as it is worded has {len(before)} tokens and a response '
        f'{len(each.response)}, and the reader reads {total} in all'
      )
    prompt = list(each.prompt[max(len(each.prompt) - free, 0) :])
    found.append(([*before, *prompt, *each.joint], list(each.response)))
  longest = max((len(stem) + len(end) for stem, end in found), default=1)
  T = 1 << max(longest - 1, 0).bit_length()
  ids, mask, branch = (np.zeros((len(found), T), np.int32) for _ in range(3))
  for row, (stem, end) in enumerate(found):
    size = len(stem) + len(end)
    ids[row, :size], mask[row, :size] = stem + end, 1
    branch[row, len(stem) : size] = 1
  return types.Tokens(ids, mask, branch=branch)


def context(tokenizer: Tokenizer, wording: Wording, words: str) -> types.Tokens:
  """Returns a summary as it is told apart, `[S]`, padded on the right.

  Args:
    tokenizer: of the reader.
    wording: of the reader.
    words: a summary that is not longer than is read.
  """
  S = wording.summary
  told = _ids(tokenizer, words)
  if wording.end is not None:
    told = [*told, wording.end][:S]  # as a writer's that fills its room
  ids, mask = (np.zeros(S, np.int32) for _ in range(2))
  ids[: len(told)], mask[: len(told)] = told, 1
  return types.Tokens(ids, mask)


def scores(
  reward: types.RewardModel,
  params: types.PyTree,
  texts: types.Tokens,
  told: types.Tokens | None = None,
) -> np.ndarray:
  """Returns the scores `[M]` of texts, in logits.

  Args:
    reward: of `types.Tokens`.
    params: of it.
    texts: M.
    told: the summary `[S]`, if it is told apart; None if it is in the texts.
  """
  M = len(texts.ids)
  if not M:
    return np.zeros(0, np.float32)
  size = min(_TEXTS, 1 << max(M - 1, 0).bit_length())
  run, parts = _compiled(reward), []
  for first in range(0, M, size):
    rows = np.minimum(np.arange(first, first + size), M - 1)
    block = jax.tree.map(lambda leaf: leaf[rows], texts)  # noqa: B023
    parts.append(np.asarray(run(params, block, told)))
  return np.concatenate(parts)[:M]


@functools.lru_cache(maxsize=8)
def _compiled(reward: types.RewardModel):
  """The compiled scores of a reward."""

  def run(params, texts, told):
    if told is not None:  # texts of one candidate each
      texts = types.Tokens(texts.ids, texts.mask)
      texts = jax.tree.map(lambda leaf: leaf[:, None], texts)
      rows = len(texts.ids)
      told = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), told
      )
    features = reward.features(params, types.Inputs(texts))
    encoded = reward.encode(params, features)
    if told is None:
      encoded = encoded[:, None]
    return reward.score(params, encoded, told).score[:, 0]

  return jax.jit(run)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
  """Returns the ids of a text, which may be empty."""
  return list(trajectories.tokenize(tokenizer, [text], [''])[0].prompt)
