"""Judgements of `worlds.judging` as tasks of policies that are judges.

A judge reads a prompt and writes a trace; rewards are of verdicts alone, and a
text that is no trace is wrong. Rows of a task are the rows of its judgements.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import judge_rewards
from prm_jax.policy import demonstrations, rejection, tasks
from prm_jax.worlds import judging, judging_rubrics, judging_traces

# `(rows [R], their verdicts [R], -1 where there is none) -> rewards [R]`.
_Reward = Callable[[types.ArrayLike, types.Array], types.Array]


def judgements(given: judging.Judgements, *, wrong: float = 0.0) -> tasks.Task:
  """Returns judgements of one solution or of two as a task.

  Args:
    given: rows of the task.
    wrong: reward of a wrong verdict, and of none: 0, or -1 as RM-R1 and RRM.
  """
  return _judged(given, _verdict(given.right, wrong))


def by_criterion(
  given: judging_rubrics.Replies, criterion: np.ndarray, *, wrong: float = 0.0
) -> tasks.Task:
  """Returns judgements of two replies, each by a criterion, as a task.

  Args:
    given: B pairs, rows of the task.
    criterion: `[B]` index into `judging_rubrics.CRITERIA`.
    wrong: see `judgements`.
  """
  right = judging_rubrics.verdicts(given, criterion)
  prompts = judging_rubrics.prompts(given, criterion)
  return _task(given.problems, prompts, 2, _verdict(right, wrong))


def consistent(
  given: judging.Judgements, *, samples: int, wrong: float = 0.0
) -> tasks.Task:
  """Returns judgements that are right only where both orders are judged right.

  The i-th text of one order is rewarded with the i-th of the other: draw the
  rows in twos, `[[0, 1], [2, 3], ...]`. Texts of rows that are not beside
  their other order have no reward.

  Args:
    given: rows 2 i and 2 i + 1 are both orders, as of `judging.both_orders`.
    samples: n texts to each row, as the learner draws them.
    wrong: what all else earns.

  Raises:
    ValueError: rows do not hold both orders; at a step, texts are no multiple
      of 2 n.

  References:
    Whitehouse et al. 2025 (J1), arXiv:2505.10320.
  """
  one, other = given.written[::2], given.written[1::2, ::-1]
  if one.shape != other.shape or (one != other).any():
    raise ValueError('rows 2 i and 2 i + 1 have to be both orders of a pair')

  def reward(label, verdict):
    return judge_rewards.consistent(
      verdict[:, 0], verdict[:, 1], label[:, 0], wrong=wrong
    )

  return _judged(given, _in_twos(given.right, samples, reward))


def ordered(
  given: judging.Judgements, *, samples: int, wrong: float = 0.0
) -> tasks.Task:
  """Returns judgements of single solutions that are rewarded in pairs.

  A right and a wrong solution of one problem are judged apart, and both texts
  are rewarded where the right one has the better score, 1 for `Y` and 0 for
  `N`; see `consistent` for which texts go together.

  Args:
    given: rows 2 i and 2 i + 1 are a pair, as of `judging.pointwise`.
    samples: n texts to each row.
    wrong: what all else earns.

  Raises:
    ValueError: rows are no such pairs; at a step, as `consistent`.

  References:
    Whitehouse et al. 2025 (J1, pointwise), arXiv:2505.10320.
  """
  if (
    given.written.shape[1] != 1 or (given.right[::2] == given.right[1::2]).any()
  ):
    raise ValueError('rows 2 i and 2 i + 1 have to be one right, one wrong')

  def reward(label, verdict):
    scores = jnp.where(verdict < 0, jnp.nan, verdict).swapaxes(1, 2)
    truth = label.astype(float).swapaxes(1, 2)
    return judge_rewards.ordered(
      scores, truth, jnp.ones_like(scores), wrong=wrong
    )

  return _judged(given, _in_twos(given.right, samples, reward))


def _verdict(right: np.ndarray, wrong: float) -> _Reward:
  """Returns the reward of a verdict by itself."""
  right = np.asarray(right, np.int32)

  def reward(problem, verdict):
    label = jnp.asarray(right)[problem]
    return judge_rewards.correct(verdict, label, wrong=wrong)

  return reward


def _in_twos(right: np.ndarray, samples: int, joint: _Reward) -> _Reward:
  """Returns the reward of two rows' texts together, NaN where they are not.

  `joint` is told labels and verdicts `[G, 2, n]`, and gives `[G, n]`.
  """
  right = np.asarray(right, np.int32)

  def reward(problem, verdict):
    if len(problem) % (2 * samples):
      raise ValueError(
        f'{len(problem)} texts are not of rows in twos, with {samples} each'
      )
    problem = jnp.asarray(problem).reshape(-1, 2, samples)
    beside = (problem[:, 0] % 2 == 0) & (problem[:, 1] == problem[:, 0] + 1)
    label = jnp.asarray(right)[problem]
    found = joint(label, verdict.reshape(-1, 2, samples))
    found = jnp.where(beside, found, jnp.nan)
    return jnp.stack([found, found], 1).ravel()

  return reward


def _judged(given: judging.Judgements, reward: _Reward) -> tasks.Task:
  solutions = given.written.shape[1]
  return _task(given.problems, judging.prompts(given), solutions, reward)


def _task(problems, prompts, solutions, reward) -> tasks.Task:
  """Returns the task of prompts `[B, P]` and a reward of verdicts."""
  steps = problems.operator.shape[1]

  def verify(problem, answers):
    said = judging_traces.parse(answers.ids, steps, solutions).verdict
    return reward(problem, jnp.asarray(said))

  return tasks.Task(
    lambda problem: judging.texts(prompts[problem]),
    verify,
    None,
    4 + solutions + 3 * steps,
    (judging.END,),
    traced=True,
  )


# ----------------------------------------------------------------- what to show


def hints(given: judging.Judgements) -> rejection.Hints:
  """Returns prompts that give the right verdict away.

  A judge has to be shown some (`traces`) before it can make use of them.

  Args:
    given: rows of the task.
  """
  prompts = judging.prompts(given, np.ones(len(given.right), bool))
  return lambda problem: judging.texts(prompts[problem])


def traces(
  given: judging.Judgements, *, hinted: float = 0.0, **options
) -> demonstrations.Shown:
  """Returns demonstrations of judgements; see `shown`.

  Args:
    given: rows.
    hinted: share of the rows, by turns, whose prompt is the one of `hints`.
    **options: of `shown`.
  """
  prompts = judging.prompts(given)
  if hinted:
    turn = np.arange(1, len(given.right) + 1) * hinted
    prompts = judging.prompts(given, np.floor(turn) > np.floor(turn - hinted))
  return shown(prompts, judging.traces(given), **options)


def traces_by_criterion(
  given: judging_rubrics.Replies, criterion: np.ndarray, **options
) -> demonstrations.Shown:
  """Returns demonstrations of judgements by criteria `[B]`; see `shown`."""
  return shown(
    judging_rubrics.prompts(given, criterion),
    judging_rubrics.traces(given, criterion),
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
    return (
      judging.texts(prompts[row]),
      judging.texts(written[row]),
      weights[row],
    )

  return draw
