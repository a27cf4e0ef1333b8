"""Judgements of `worlds.judging` as tasks of policies that are judges.

A judge reads a prompt and writes a trace; the reward is of its verdict alone,
and a text that is no trace is wrong. Rows of a task are the rows of its
judgements.
"""

import numpy as np

from prm_jax import types
from prm_jax.ops import judge_rewards
from prm_jax.policy import demonstrations, tasks
from prm_jax.worlds import judging, judging_rubrics, judging_traces


def judgements(given: judging.Judgements, *, wrong: float = 0.0) -> tasks.Task:
  """Returns judgements of one solution or of two as a task.

  Args:
    given: rows of the task.
    wrong: reward of a wrong verdict, and of none: 0, or -1 as RM-R1 and RRM.
  """
  return _task(
    judging.prompts(given),
    given.right,
    given.problems.operator.shape[1],
    given.written.shape[1],
    wrong,
  )


def by_criterion(
  given: judging_rubrics.Replies, criterion: np.ndarray, *, wrong: float = 0.0
) -> tasks.Task:
  """Returns judgements of two replies, each by a criterion, as a task.

  Args:
    given: B pairs, rows of the task.
    criterion: `[B]` index into `judging_rubrics.CRITERIA`.
    wrong: see `judgements`.
  """
  return _task(
    judging_rubrics.prompts(given, criterion),
    judging_rubrics.verdicts(given, criterion),
    given.problems.operator.shape[1],
    2,
    wrong,
  )


def _task(prompts, right, steps, solutions, wrong) -> tasks.Task:
  """Returns the task of prompts `[B, P]` and right verdicts `[B]`."""
  right = np.asarray(right, np.int32)

  def verify(problem, answers):
    numpy = types.namespace(answers.ids)
    label = numpy.asarray(right)[problem]
    said = judging_traces.parse(answers.ids, steps, solutions).verdict
    return judge_rewards.correct(said, label, wrong=wrong)

  return tasks.Task(
    lambda problem: _shown(prompts, problem),
    verify,
    None,
    4 + solutions + 3 * steps,
    (judging.END,),
    traced=True,
  )


def _shown(ids: np.ndarray, row: np.ndarray) -> types.Tokens:
  """Returns some of the texts `[B, T]`, of which padding is not seen."""
  found = ids[row].astype(np.int32)
  return types.Tokens(found, (found != judging.PAD).astype(np.int32))


def traces(
  given: judging.Judgements, *, batch: int, side_by_side: int = 1, **options
) -> demonstrations.Shown:
  """Returns demonstrations of judgements; see `shown`."""
  return shown(
    judging.prompts(given),
    judging.traces(given),
    batch=batch,
    side_by_side=side_by_side,
    **options,
  )


def traces_by_criterion(
  given: judging_rubrics.Replies,
  criterion: np.ndarray,
  *,
  batch: int,
  **options,
) -> demonstrations.Shown:
  """Returns demonstrations of judgements by criteria `[B]`; see `shown`."""
  return shown(
    judging_rubrics.prompts(given, criterion),
    judging_rubrics.traces(given, criterion),
    batch=batch,
    **options,
  )


def shown(
  prompts: np.ndarray,
  written: np.ndarray,
  *,
  batch: int,
  side_by_side: int = 1,
  verdict: float = 4.0,
) -> demonstrations.Shown:
  """Returns demonstrations of traces, drawn at random, with tokens' weights.

  Args:
    prompts: `[B, P]` token ids.
    written: `[B, N]` their traces.
    batch: rows of a step.
    side_by_side: so many rows are drawn together, from a multiple of it on: 2
      are the right and the wrong solution of a problem, of `judging.pointwise`.
    verdict: weight of the verdict, which is drowned by the chain otherwise.

  Raises:
    ValueError: batch or rows are no multiple of `side_by_side`.
  """
  if batch % side_by_side or len(prompts) % side_by_side:
    raise ValueError(
      f'{side_by_side} rows are drawn together: a batch of {batch} of '
      f'{len(prompts)} rows is no multiple'
    )
  weights = judging_traces.weights(written, verdict=verdict)

  def draw(key, start):
    del start
    first = tasks.generator(key).integers(
      0, len(prompts) // side_by_side, batch // side_by_side
    )
    row = first[:, None] * side_by_side + np.arange(side_by_side)
    row = row.ravel()
    return _shown(prompts, row), _shown(written, row), weights[row]

  return draw
