"""The arithmetic world as a task of policy learners, and its warm start."""

from typing import NamedTuple

import jax
import numpy as np

from experiments import policies
from prm_jax import types
from prm_jax.learners import imitation
from prm_jax.models import decoder
from prm_jax.policy import critics, demonstrations, padding, rollouts, tasks
from prm_jax.worlds import arithmetic, arithmetic_demonstrations

STEPS = 2  # of a problem
ANSWER = arithmetic.DIGITS * STEPS + 1
_SHOWN = {
  'easy': 0.3, 'medium': 0.2, 'medium_last': 0.2, 'hard': 0.15,
  'hard_last': 0.15,
}  # fmt: skip


class World(NamedTuple):
  """One seed's world.

  Attributes:
    table: of the operators.
    pool: training problems; rows of the task.
    hard: `[N]` bool, which of them have the hidden operator.
    held_out: class -> problems that are never trained on.
    task: of the pool.
  """

  table: np.ndarray
  pool: arithmetic.Problems
  hard: np.ndarray
  held_out: dict[str, arithmetic.Problems]
  task: tasks.Task


def make(node, share: float, seed: int) -> World:
  """Returns a world.

  Args:
    node: `pool` and `held_out`: how many problems.
    share: of training problems with the hidden operator; the others are half
      easy, half medium.
    seed: of the tables and problems.
  """
  rng = np.random.default_rng([seed, 0xA1])
  table = arithmetic.tables(rng)
  hard = round(share * node.pool)
  easy = (node.pool - hard) // 2
  counts = {'hard': hard, 'easy': easy, 'medium': node.pool - hard - easy}
  pool = arithmetic.concatenate(*(
    arithmetic.draw(rng, table, arithmetic.CLASSES[kind], count)
    for kind, count in counts.items()
  ))  # fmt: skip
  return World(
    table, pool, np.arange(node.pool) < hard,
    fresh(rng, table, node.held_out), task_of(pool),
  )  # fmt: skip


def fresh(
  rng: np.random.Generator, table: np.ndarray, count: int
) -> dict[str, arithmetic.Problems]:
  """Returns `count` new problems of every class."""
  return {
    kind: arithmetic.draw(rng, table, kinds, count)
    for kind, kinds in arithmetic.CLASSES.items()
  }


def task_of(
  pool: arithmetic.Problems, *, final_only: bool = False
) -> tasks.Task:
  """Returns problems as a task.

  Args:
    pool: problems.
    final_only: whether the last value alone is rewarded, not the whole chain.
  """

  def verify(problem, given):
    return arithmetic.verify(
      pool.take(problem), given.ids, final_only=final_only
    )

  def refine(problem, attempts, critiques):
    return padding.full(
      arithmetic.refinements(pool.take(problem), attempts.ids, critiques.ids)
    )

  def prompts(problem):
    return padding.full(arithmetic.prompts(pool.take(problem)))

  return tasks.Task(
    prompts, verify, refine, ANSWER, (arithmetic.END,), traced=True
  )


# -------------------------------------------------------------------- critics


def rule(
  pool: arithmetic.Problems, kind: str, accuracy: float = 1.0
) -> critics.Critic:
  """Returns a critic that knows the truth; see `arithmetic.critique`."""

  def critic(key, policy, problem, attempts, reward, needed):
    del policy, reward, needed
    said = arithmetic.critique(
      tasks.generator(key),
      pool.take(problem),
      attempts.ids,
      kind,
      accuracy=accuracy,
    )
    return padding.full(said), 0

  return critic


def requests(pool: arithmetic.Problems) -> critics.Requests:
  """Returns how critiques of answers are asked for."""

  def ask(problem, attempts):
    return padding.full(arithmetic.requests(pool.take(problem), attempts.ids))

  return ask


def own(
  pool: arithmetic.Problems, config: decoder.DecoderConfig
) -> critics.Critic:
  """Returns the policy as its own critic."""
  return critics.own(config, requests(pool), max_new_tokens=arithmetic.CRITIQUE)


# ----------------------------------------------------------------- warm start


def shown(node, table: np.ndarray) -> demonstrations.Shown:
  """Returns what the warm start is shown at a step.

  Args:
    node: `plain`, `refined` and `critiqued`: texts of each kind.
    table: of the operators.
  """

  def show(key, start):
    del start
    rng = tasks.generator(key)
    counts = rng.multinomial(node.plain, list(_SHOWN.values()))
    problems = arithmetic.concatenate(*(
      arithmetic.draw(rng, table, arithmetic.CLASSES[kind], int(count))
      for kind, count in zip(_SHOWN, counts, strict=True)
    ))  # fmt: skip
    parts = [
      arithmetic_demonstrations.plain(rng, problems),
      arithmetic_demonstrations.refined(rng, table, node.refined),
      arithmetic_demonstrations.critiqued(rng, table, node.critiqued),
    ]
    return (
      padding.join(*(padding.full(part.prompt) for part in parts)),
      padding.stack(*(padding.full(part.response) for part in parts)),
    )  # fmt: skip

  return show


def warm_start(
  config: decoder.DecoderConfig, node, table: np.ndarray, seed: int
) -> types.PyTree:
  """Returns the params of a policy that was shown demonstrations.

  Args:
    config: of the policy.
    node: `steps`, `learning_rate` and what is shown.
    table: of the operators.
    seed: of the start and of what is shown.
  """
  learner = imitation.imitation(
    shown=shown(node, table), config=config,
    steps=node.steps, learning_rate=node.learning_rate, last=0.02,
  )  # fmt: skip
  return policies.shown_only(learner, jax.random.key(seed))


def examiner(
  config: decoder.DecoderConfig, world: World, kinds: tuple[str, ...]
) -> policies.Examine:
  """Returns `params -> figures` of problems never trained on.

  One answer is drawn to each, at temperature 1. Figures are the share solved
  of every class, and of refinements of its own wrong answers to held-out hard
  problems with true step-by-step critiques.
  """
  problems = arithmetic.concatenate(*(world.held_out[k] for k in kinds))
  size = len(problems.start) // len(kinds)
  task = task_of(problems)
  asked = task.prompts(np.arange(len(problems.start)))
  hard = world.held_out['hard']
  keys = jax.random.split(jax.random.key(0))

  def examine(params):
    said = rollouts.write(keys[0], config, params, asked, task).tokens
    right = arithmetic.verify(problems, said.ids).reshape(len(kinds), size)
    found = dict(zip(kinds, right.mean(1).tolist(), strict=True))
    place = kinds.index('hard') * size
    attempts = said.ids[place : place + size]
    critiques = arithmetic.critique(
      np.random.default_rng(0), hard, attempts, 'step_by_step'
    )
    wrong = right[kinds.index('hard')] < 0.5
    again = rollouts.write(
      keys[1], config, params,
      padding.full(arithmetic.refinements(hard, attempts, critiques)), task,
    ).tokens  # fmt: skip
    mended = arithmetic.verify(hard, again.ids)[wrong]
    found['refines'] = float(mended.mean()) if len(mended) else 1.0
    return found

  return examine


def unsolved(
  key: types.Key, config: decoder.DecoderConfig, params: types.PyTree,
  world: World, samples: int = 8,
) -> np.ndarray:  # fmt: skip
  """Returns which training problems `[N]` have no right answer of several."""
  problem = np.arange(len(world.pool.start))
  said = rollouts.write(
    key, config, params, world.task.prompts(problem), world.task, count=samples
  ).tokens
  right = world.task.verify(np.repeat(problem, samples), said)
  return right.reshape(-1, samples).max(1) < 0.5
