"""What a policy is asked, and what is made of its answers, in token ids."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from prm_jax import types


class Limits(NamedTuple):
  """Where a text ends.

  Attributes:
    max_new_tokens: N.
    stop_ids: tokens that end it.
  """

  max_new_tokens: int
  stop_ids: tuple[int, ...]


class Task(NamedTuple):
  """What a policy is asked, and what is made of its answers.

  Problems are rows `[B]` of the task's own table.

  Attributes:
    prompts: `(problem) -> Tokens`.
    verify: `(problem, Tokens) -> [B]` rewards; NaN where it fails, and the
      answer is dropped. On the host, unless `traced`.
    refine: `(problem, attempts, critiques) -> Tokens`: prompts that ask again.
    max_new_tokens: N of an answer.
    stop_ids: tokens that end an answer.
    traced: whether `verify` is made of what jax traces, so that answers are
      verified where they are written.
  """

  prompts: Callable[[np.ndarray], types.Tokens]
  verify: Callable[[np.ndarray, types.Tokens], types.ArrayLike]
  refine: (
    Callable[[np.ndarray, types.Tokens, types.Tokens], types.Tokens] | None
  )
  max_new_tokens: int
  stop_ids: tuple[int, ...]
  traced: bool = False


class Problems(NamedTuple):
  """Problems of a batch: rows `[B]` of a task's table.

  Or `[B, m]`: m rows that are always drawn together, side by side, as a
  reward wants them that looks at several.
  """

  problem: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike


def problems(row: np.ndarray) -> types.Batch:
  """Returns problems `[B]` or `[B, m]`, see `Problems`, as a batch."""
  row = np.asarray(row, np.int32)
  ones = np.ones(len(row), np.float32)
  return types.Batch(Problems(row, ones, np.arange(len(row), dtype=np.int32)))


@functools.partial(jax.jit, static_argnames='count')
def split(key: types.Key, count: int) -> tuple[types.Key, ...]:
  """Returns keys, as `jax.random.split` makes them, by one program."""
  return tuple(jax.random.split(key, count))


def generator(key: types.Key) -> np.random.Generator:
  """Returns NumPy's generator of a key, for what happens on the host."""
  return np.random.default_rng(np.asarray(jax.random.key_data(key)))


@functools.lru_cache(maxsize=32)
def verifier(
  task: Task,
) -> Callable[[types.ArrayLike, types.Tokens], types.ArrayLike]:
  """Returns `(problem [R], answers) -> rewards [R]`, float32.

  Answers on a device are verified there if the task can, else they are fetched
  first.
  """
  if task.traced:
    return jax.jit(
      lambda problem, answers: task.verify(problem, answers).astype(np.float32)
    )

  def verify(problem, answers):
    rewards = task.verify(np.asarray(problem), jax.device_get(answers))
    return np.asarray(rewards, np.float32)

  return verify
