"""What is imitated of a policy at its start: its refinements, or critiques."""

from collections.abc import Callable

import jax
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import critics, padding, rollouts, tasks

# `(key, params of the policy at the start) -> (prompts, answers)`, and perhaps
# the weights `[B, N]` of the answers' tokens.
Shown = Callable[[types.Key, types.PyTree], tuple]


def refinements(
  *,
  task: tasks.Task,
  critic: critics.Critic,
  config: decoder.DecoderConfig,
  problems: int,
  batch: int,
) -> Shown:
  """Returns refinement fine-tuning's demonstrations.

  The policy at the start answers, is criticised and answers again; right
  second answers are shown after the plain prompt.

  Args:
    task: what is asked, what is right, and how it is asked again.
    critic: what is said of an answer.
    config: of the policy's decoder.
    problems: rows of the task.
    batch: problems of a step.

  Raises:
    ValueError: the task cannot ask again.
  """
  ask_again = task.refine
  if ask_again is None:
    raise ValueError('the task has no `refine`: it cannot ask again')

  verify = tasks.verifier(task)

  def shown(key, start):
    keys = tasks.split(key, 4)
    problem = tasks.generator(keys[3]).integers(0, problems, batch)
    prompts, attempts, critiques = _criticised(
      keys, task, critic, config, start, problem
    )
    again = rollouts.draw(
      keys[2],
      config,
      start,
      ask_again(problem, attempts, critiques),
      task,
      active=critiques.mask.any(1),
    ).tokens
    return prompts, _right(again, verify(problem, again))

  return shown


def critiques(
  *,
  task: tasks.Task,
  critic: critics.Critic,
  requests: critics.Requests,
  config: decoder.DecoderConfig,
  problems: int,
  batch: int,
) -> Shown:
  """Returns critique fine-tuning's demonstrations.

  Of the answers of the policy at the start, half are shown with the critique
  that was asked for, the others as they are, lest it forgets to answer.

  Args:
    task: what is asked.
    critic: what is said of an answer.
    requests: how a critique is asked for.
    config: of the policy's decoder.
    problems: rows of the task.
    batch: problems of a step.

  References:
    Wang et al. 2025 (CFT), arXiv:2501.17703.
  """
  half = batch // 2

  def shown(key, start):
    keys = tasks.split(key, 4)
    problem = tasks.generator(keys[3]).integers(0, problems, batch)
    prompts, attempts, critiques = _criticised(
      keys, task, critic, config, start, problem
    )
    asked, critiques = requests(problem, attempts), jax.device_get(critiques)
    return (
      padding.join(
        padding.take(asked, slice(half)),
        padding.take(prompts, slice(half, None)),
      ),
      padding.stack(
        padding.take(critiques, slice(half)),
        padding.take(attempts, slice(half, None)),
      ),
    )

  return shown


@jax.jit
def _right(answers, reward) -> types.Tokens:
  """Returns answers; those that are not right have no token."""
  right = (reward > 0.5)[:, None]
  return answers._replace(mask=answers.mask * right)


def _criticised(keys, task, critic, config, start, problem):
  """Returns prompts, the start's answers, and what is said of these."""
  prompts = task.prompts(problem)
  attempts = rollouts.draw(keys[0], config, start, prompts, task).tokens
  reward = tasks.verifier(task)(problem, attempts)
  attempts, reward = jax.device_get((attempts, reward))
  everything = np.ones(len(problem), bool)
  critiques, _ = critic(keys[1], start, problem, attempts, reward, everything)
  return prompts, attempts, critiques
