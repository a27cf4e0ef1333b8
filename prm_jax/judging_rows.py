"""Judgements of `worlds.judging` as rows that scalar judges are fitted on.

They are `types.Judgements` of one person over token ids, for any learner with
a backbone: choices for Bradley-Terry, labels of steps and of verdicts for the
head `steps`.
"""

import numpy as np

from prm_jax import types
from prm_jax.policy import padding
from prm_jax.worlds import judging


def _rows(label: np.ndarray) -> types.Judgements:
  """Returns rows of labels `[B, ...]`, all of one person."""
  B = len(label)
  return types.Judgements(
    np.zeros(B, np.int32),
    label.astype(np.float32),
    np.ones(B, np.float32),
    np.arange(B, dtype=np.int32),
  )


def choices(given: judging.Judgements, *, pauses: int = 0) -> types.Batch:
  """Returns each problem's right and wrong solution as a choice, the right one.

  Args:
    given: rows 2 i and 2 i + 1 are a pair, as of `judging.pointwise`.
    pauses: tokens `wait` behind every text, on the last of which it is scored.

  Raises:
    ValueError: rows are no such pairs.
  """
  right = given.right
  if (right[::2] != 1).any() or (right[1::2] != 0).any():
    raise ValueError('rows 2 i and 2 i + 1 have to be right and wrong')
  texts = judging.texts(judging.paused(judging.prompts(given), pauses))
  index = np.arange(len(right), dtype=np.int32).reshape(-1, 2)
  return types.Batch(_rows(np.ones(len(index))), types.Inputs(texts, index))


def steps(given: judging.Judgements) -> types.Batch:
  """Returns solutions with the labels of their shown steps, for head `steps`.

  Args:
    given: B rows of R = 1.
  """
  texts = judging.texts(judging.prompts(given))
  texts = texts._replace(end=judging.value_places(given).astype(np.int32))
  return types.Batch(_rows(judging.step_labels(given)), types.Inputs(texts))


def verdicts(
  prompts: types.Tokens, traces: types.Tokens, right: np.ndarray
) -> types.Batch:
  """Returns traces and whether their verdicts are right, for head `steps`.

  What a meta reward model is fitted on: prompt and trace are one text, and its
  one step is the whole.

  Args:
    prompts: `[B, P]`, without a hint.
    traces: `[B, N]` of a judge.
    right: `[B]` bool or 0 and 1.

  References:
    Liu et al. 2025 (DeepSeek-GRM, meta RM), arXiv:2504.02495.
  """
  ids, seen = padding.follow(prompts, traces)
  texts = types.Tokens(ids[:, None], seen[:, None])
  return types.Batch(_rows(np.asarray(right)[:, None]), types.Inputs(texts))
