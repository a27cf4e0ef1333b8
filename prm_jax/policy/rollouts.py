"""Answers: written by a policy, and made ready for its update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder, sampling
from prm_jax.policy import logprobs, losses, padding, tasks


class Rollouts(NamedTuple):
  """Prompts with answers, as an update reads them; every leaf is `[B, ...]`.

  Attributes:
    ids: `[B, P + N]` int32: prompts, padded on the left, and answers.
    seen: `[B, P + N]` 1 for tokens.
    answer: `[B, N]` 1 for tokens of the answer.
    advantage: `[B, N]`.
    second: `[B]` 1 for texts of terms of second texts: refinements, texts with
      a teacher.
    weight: `[B]` of the text's objective.
    share: `[B]` of what the text counts for in the mean.
    mask: `[B]` 0 for texts that were dropped.
    example_id: `[B]` int32.
    old_logprob: `[B, N]` under the policy that wrote them, if a term reads it.
    reference: `[B, N]` log-probabilities under a reference, likewise.
    teacher: `[B, N, V]` those of a teacher, likewise.
    sampler_logprob: `[B, N]` what the sampler said of its tokens, to compare
      with; NaN where it read another prompt. None if nothing was sampled.
  """

  ids: types.ArrayLike
  seen: types.ArrayLike
  answer: types.ArrayLike
  advantage: types.ArrayLike
  second: types.ArrayLike
  weight: types.ArrayLike
  share: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike
  old_logprob: types.ArrayLike | None = None
  reference: types.ArrayLike | None = None
  teacher: types.ArrayLike | None = None
  sampler_logprob: types.ArrayLike | None = None


class Written(NamedTuple):
  """Answers to prompts, `[R, N]`.

  Attributes:
    tokens: the answers.
    logprob: what the sampler says of its tokens.
  """

  tokens: types.Tokens
  logprob: np.ndarray


def write(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  prompts: types.Tokens,
  limits: tasks.Limits | tasks.Task,
  *,
  count: int = 1,
  temperature: float = 1.0,
  dtype: Any = jnp.float32,
) -> Written:
  """Returns `count` answers to every prompt, those of a prompt side by side.

  Args:
    key: of the draws.
    config: of the policy.
    params: of the policy.
    prompts: B.
    limits: where answers end; a task knows.
    count: n; R = B n.
    temperature: of the draws.
    dtype: of the computation.
  """
  B = len(prompts.ids)
  found = sampling.sample(
    key, config, params, prompts.ids, prompts.mask,
    max_new_tokens=limits.max_new_tokens, stop_ids=limits.stop_ids,
    source=np.repeat(np.arange(B), count), temperature=temperature,
    filtered=False, dtype=dtype,
  )  # fmt: skip
  ids, mask, logprob = jax.device_get(
    (found.ids, found.mask, found.base_logprob)
  )
  return Written(types.Tokens(ids, mask), logprob)


class Texts(NamedTuple):
  """Answers with what they teach; every leaf has the axis B.

  Attributes:
    prompts: what the update reads before them, whatever they were written on.
    answers: `[B, N]`.
    advantage: `[B]`, or `[B, N]` of every token.
    mask: `[B]` 0 for answers that do not count.
    second: `[B]` 1 for refinements, or for texts with a teacher.
    weight: `[B]` of the text's objective; 1 if None.
    share: `[B]` of what it counts for in the mean; 1 if None.
    teacher: `[B, N, V]` log-probabilities, if the loss distills.
  """

  prompts: types.Tokens
  answers: types.Tokens
  advantage: np.ndarray
  mask: np.ndarray
  second: np.ndarray | None = None
  weight: np.ndarray | None = None
  share: np.ndarray | None = None
  teacher: types.ArrayLike | None = None


def preparer(
  config: decoder.DecoderConfig, count: int, loss: losses.Loss, dtype: Any
) -> Callable[..., Rollouts]:
  """Returns `(state, texts, sampler_logprob) -> rollouts`.

  Log-probabilities of writer and reference are computed by the trainer's
  function where a term of the loss reads them; `sampler_logprob` `[B, N]` is
  NaN for texts that were written under another prompt.
  """
  score = logprobs.scorer(config, count, dtype)

  def prepare(state, texts, sampler_logprob):
    ids, seen = padding.follow(texts.prompts, texts.answers)
    B, answer = len(ids), texts.answers.mask
    read: dict[str, types.ArrayLike] = {}
    if losses.reads(loss, losses.WRITER):
      read['old_logprob'] = score(state.params['policy'], ids, seen)
    if losses.reads(loss, losses.REFERENCE):
      read['reference'] = score(state.constants.start, ids, seen)
    if losses.reads(loss, losses.TEACHER):
      read['teacher'] = texts.teacher
    advantage = np.asarray(texts.advantage, np.float32)
    if advantage.ndim == 1:
      advantage = np.broadcast_to(advantage[:, None], answer.shape)
    zeros = np.zeros(B, np.float32)
    second = zeros if texts.second is None else texts.second
    weight = zeros + 1 if texts.weight is None else texts.weight
    share = zeros + 1 if texts.share is None else texts.share
    return Rollouts(
      ids, seen, answer, advantage, np.asarray(second, np.float32),
      np.asarray(weight, np.float32), np.asarray(share, np.float32),
      np.asarray(texts.mask, np.float32), np.arange(B, dtype=np.int32),
      sampler_logprob=sampler_logprob, **read,
    )  # fmt: skip

  return prepare
