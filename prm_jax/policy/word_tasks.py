"""Tasks in words: questions that a language model answers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.models import sampling
from prm_jax.policy import tasks

_ROUND = 32  # prompts are as long as a multiple of it: few programs compile
AGAIN = (
  '{question}\n\nAn earlier answer:\n{attempt}\n\nWhat was said of it:\n'
  '{critique}\n\nAnswer again, step by step, and mend what was wrong.'
)
CRITICISE = (
  '{question}\n\nAn answer:\n{attempt}\n\nGo through the answer step by step, '
  'say which step is wrong first, if any, and what it should be.'
)


class Words(NamedTuple):
  """A task in words, and how its tokens are read and written.

  Attributes:
    task: for learners.
    decode: texts of tokens, without the stop token.
    encode: tokens of texts; of '', none.
    requests: prompts that ask for a critique.
  """

  task: tasks.Task
  decode: Callable[[types.Tokens], list[str]]
  encode: Callable[[Sequence[str]], types.Tokens]
  requests: Callable[[np.ndarray, types.Tokens], types.Tokens]


def words(
  tokenizer: Tokenizer,
  questions: Sequence[str],
  check: Callable[[int, str], float],
  *,
  max_new_tokens: int,
  stop: Sequence[str] = ('<|im_end|>',),
  template: Callable[[str], str] = sampling.chatml,
) -> Words:
  """Returns a task in words.

  Args:
    tokenizer: of the model.
    questions: one a problem.
    check: `(problem, answer) -> reward`; NaN drops the answer.
    max_new_tokens: of an answer.
    stop: tokens that end one.
    template: what the model reads of a prompt.

  Raises:
    ValueError: there are no questions, one is empty, or a stop token is
      unknown.
  """
  empty = [i for i, text in enumerate(questions) if not text.strip()]
  if empty or not questions:
    raise ValueError(
      f'questions {empty[:3]} are empty'
      if questions
      else 'there are no questions'
    )
  stops = [tokenizer.token_to_id(token) for token in stop]
  if None in stops:
    unknown = stop[stops.index(None)]
    raise ValueError(f'stop token {unknown!r} is not in the vocabulary')
  ends = tuple(sorted(token for token in stops if token is not None))

  def encode(texts):
    return _padded(
      [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    )

  def decode(tokens):
    texts = []
    tokens = jax.device_get(tokens)  # a policy's own critiques
    for ids, mask in zip(tokens.ids, tokens.mask, strict=True):
      text = [int(token) for token in ids[mask > 0]]
      if text and text[-1] in ends:
        text.pop()
      texts.append(tokenizer.decode(text))
    return texts

  def asked(frame, problem, attempts, critiques):
    asks = []
    for row, attempt, said in zip(problem, attempts, critiques, strict=True):
      words = {'attempt': attempt.strip(), 'critique': said.strip()}
      asks.append(template(frame.format(question=questions[row], **words)))
    return encode(asks)

  def verify(problem, tokens):
    texts = decode(tokens)
    pairs = zip(problem, texts, strict=True)
    return np.array([check(int(row), text) for row, text in pairs], np.float32)

  def requests(problem, attempts):
    return asked(CRITICISE, problem, decode(attempts), [''] * len(problem))

  def refine(problem, attempts, critiques):
    return asked(AGAIN, problem, decode(attempts), decode(critiques))

  def prompts(problem):
    return encode([template(questions[row]) for row in problem])

  task = tasks.Task(prompts, verify, refine, max_new_tokens, ends)
  return Words(task, decode, encode, requests)


def _padded(ids: list[list[int]]) -> types.Tokens:
  """Returns texts padded on the left to a multiple of `_ROUND` tokens."""
  longest = max(1, *(len(row) for row in ids)) if ids else 1
  T = -(-longest // _ROUND) * _ROUND
  tokens, mask = np.zeros((2, len(ids), T), np.int32)
  for place, row in enumerate(ids):
    if row:
      tokens[place, T - len(row) :] = row
      mask[place, T - len(row) :] = 1
  return types.Tokens(tokens, mask)
