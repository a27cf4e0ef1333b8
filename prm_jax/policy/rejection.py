"""Answers of a policy to imitate: sampled once, of which some are rejected."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import padding, rollouts, tasks

_SAMPLED = 0x5A  # keeps the pool's keys apart from a run's others

# `(problem [R]) -> prompts` that give the right answer away.
Hints = Callable[[np.ndarray], types.Tokens]


class Pool(NamedTuple):
  """Constants of learners from the start's own answers; M of them.

  Attributes:
    start: parameters of the policy at the start, which wrote them.
    prompts: `[M, P]`, without any hint.
    answers: `[M, N]`, the samples of a problem side by side, a hinted one
      last; without a token where none was written.
    reward: `[M]`; NaN where verification failed.
    order: `[M]` int32, rows of which those that are kept come first.
    kept: `[]` int32, how many are.
  """

  start: types.PyTree
  prompts: types.Tokens
  answers: types.Tokens
  reward: types.Array
  order: types.Array
  kept: types.Array


class Sampling(NamedTuple):
  """What is sampled and what is rejected.

  Attributes:
    samples: n answers to each problem.
    solved: whether answers are kept where all are right, which teaches little.
    hints: how problems without a right answer are asked once more; None, if
      they are not.
    temperature: of the draws.
    chunk: problems at once.
  """

  samples: int = 3
  solved: bool = False
  hints: Hints | None = None
  temperature: float = 1.0
  chunk: int = 256

  @property
  def texts(self) -> int:
    """Returns how many answers a problem has, a hinted one included."""
    return self.samples + (self.hints is not None)


def empty(
  params: types.PyTree, task: tasks.Task, sampling: Sampling, problems: int
) -> Pool:
  """Returns a pool of its shapes, of which nothing is kept.

  Args:
    params: of the policy at the start.
    task: what is asked.
    sampling: how often.
    problems: how many.
  """
  M = problems * sampling.texts
  P = task.prompts(np.zeros(1, np.int32)).ids.shape[1]

  def blank(width):
    return types.Tokens(*[jnp.zeros((M, width), jnp.int32)] * 2)

  rows = jnp.zeros(M, jnp.int32)
  return Pool(
    params,
    blank(P),
    blank(task.max_new_tokens),
    jnp.zeros(M),
    rows,
    jnp.int32(0),
  )


def begin(
  task: tasks.Task, config: decoder.DecoderConfig, sampling: Sampling
) -> Callable[[types.TrainState, types.Data], types.TrainState]:
  """Returns the beginning of a phase that fills the pool, once.

  Args:
    task: what is asked, and what is right: a reward above 1/2.
    config: of the policy.
    sampling: of the pool.
  """

  def fill(state, data):
    problem = np.asarray(data.judgements.problem)
    if problem.ndim > 1:
      raise ValueError('problems are sampled one by one: give rows [B]')
    params = state.params['policy']
    key = jax.random.fold_in(state.key, _SAMPLED)
    size = min(sampling.chunk, len(problem))
    parts = []
    for first in range(0, len(problem), size):
      rows = problem[first : first + size]
      padded = np.resize(rows, size)  # one shape, so one program
      key_of = jax.random.fold_in(key, first)
      part = _sampled(key_of, config, params, task, sampling, padded)
      count = len(rows) * sampling.texts
      parts.append(jax.tree.map(lambda leaf, n=count: leaf[:n], part))
    prompts, answers, reward, keep = jax.tree.map(
      lambda *leaves: np.concatenate(leaves), *parts
    )
    if not keep.any():
      right = float(np.mean(reward > 0.5))
      raise ValueError(
        f'of {len(keep)} answers, {right:.0%} right, none is kept: the start '
        'solves no problem, or each of them every time'
      )
    order = np.argsort(~keep, stable=True).astype(np.int32)
    pool = Pool(params, prompts, answers, reward, order, np.int32(keep.sum()))
    return state._replace(constants=jax.tree.map(jnp.asarray, pool))

  return fill


def _sampled(key, config, params, task, sampling, problem):
  """Returns prompts, answers, rewards `[R n]` and whether they are kept."""
  n, prompts = sampling.samples, task.prompts(problem)
  verify = tasks.verifier(task)

  def each(leaf, count):
    return np.asarray(leaf).reshape(-1, count, *leaf.shape[1:])

  def written(key, asked, count, active=None):
    answers = rollouts.draw(
      key,
      config,
      params,
      asked,
      task,
      count=count,
      active=active,
      temperature=sampling.temperature,
    ).tokens
    reward = verify(np.repeat(problem, count), answers)
    return jax.tree.map(
      lambda leaf: each(leaf, count), jax.device_get((answers, reward))
    )

  answers, reward = written(jax.random.fold_in(key, 0), prompts, n)
  right = reward > 0.5
  keep = right & (sampling.solved | ~right.all(1, keepdims=True))
  if sampling.hints is not None:
    failed = ~right.any(1)
    hinted = written(
      jax.random.fold_in(key, 1), sampling.hints(problem), 1, failed
    )
    answers, reward = jax.tree.map(
      lambda *leaves: np.concatenate(leaves, 1), (answers, reward), hinted
    )
    keep = np.hstack([keep, (hinted[1] > 0.5) & failed[:, None]])
  flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), answers)
  prompts = padding.repeat(jax.device_get(prompts), sampling.texts)
  return prompts, flat, reward.ravel(), keep.ravel()


@functools.partial(jax.jit, static_argnames='batch')
def drawn(
  key: types.Key, pool: Pool, batch: int
) -> tuple[types.Tokens, types.Tokens]:
  """Returns prompts and answers of a step, of those that are kept.

  Args:
    key: of the draw.
    pool: filled.
    batch: how many.
  """
  place = jax.random.randint(key, (batch,), 0, jnp.maximum(pool.kept, 1))
  row = pool.order[place]
  return padding.take(pool.prompts, row), padding.take(pool.answers, row)
