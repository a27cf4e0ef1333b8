"""SDPO: a policy that was told what worked teaches the one that was not."""

import jax
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import (
  critics,
  logprobs,
  losses,
  outcomes,
  padding,
  phases,
  rollouts,
  tasks,
)

PUBLISHED = (losses.distilled(0.5, by='token_mean'), losses.entropy())


def sdpo(
  *,
  task: tasks.Task,
  critic: critics.Critic,
  config: decoder.DecoderConfig,
  samples: int = 8,
  average: float = 0.05,
  loss: losses.Loss = PUBLISHED,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from its own answers, read again.

  The teacher is a moving average of the policy that reads, before the
  problem, another right answer of the group and that it is right; where there
  is none, the answer itself and what the critic says of it. The student's
  distribution at its own tokens is drawn to the teacher's. Texts with neither
  are left out: a lone right answer teaches its siblings, not itself.

  Args:
    task: what is asked, what is right, and how it is asked again.
    critic: what is said of an answer; called on right ones, too.
    config: of the policy's decoder.
    samples: n answers to a problem.
    average: share of the new parameters in the teacher, at each step.
    loss: with `losses.distilled`.
    training: rate, steps and precision.

  Raises:
    ValueError: the loss does not distill, or the task cannot ask again.

  References:
    Hubotter et al. 2026 (SDPO), arXiv:2601.20802.
  """
  if not losses.reads(loss, losses.TEACHER):
    raise ValueError('the loss does not distill: SDPO has no other signal')
  if task.refine is None:
    raise ValueError('the task has no `refine`: it cannot ask again')
  collect = _collector(task, critic, config, samples, loss, training.writing)
  return phases.trained(config, loss, training, collect, average=average)


def _collector(task, critic, config, samples, loss, writing):
  """Returns `Phase.collect`: writes, verifies and asks the teacher."""
  prepare = rollouts.preparer(
    config, task.max_new_tokens, loss, writing['dtype']
  )
  tell = logprobs.teller(config, task.max_new_tokens, writing['dtype'])

  def collect(key, state, batch):
    keys = jax.random.split(key)
    policy = state.params['policy']
    problem = np.asarray(batch.rows.problem)
    prompts = task.prompts(problem)
    said = rollouts.write(
      keys[0], config, policy, prompts, task, count=samples,
      **writing,
    )  # fmt: skip
    asked = np.repeat(problem, samples)
    reward = task.verify(asked, said.tokens)
    model = sibling(reward.reshape(-1, samples))
    shown = np.where(model >= 0, model, np.arange(len(asked)))
    read = padding.take(said.tokens, shown)
    critique, cost = critic(keys[1], policy, asked, read, reward[shown])
    told = task.refine(asked, read, critique)
    # A right answer without a right sibling has nothing to learn from.
    taught = (model >= 0) | (reward < 0.5)
    taught &= np.asarray(critique.mask).any(axis=1) & np.isfinite(reward)
    teacher = state.average['policy']
    mask = taught * np.repeat(batch.rows.mask, samples)
    texts = rollouts.Texts(
      padding.repeat(prompts, samples), said.tokens, np.zeros(len(asked)),
      mask, second=np.ones(len(asked)),
      teacher=tell(teacher, *padding.follow(told, said.tokens)),
    )  # fmt: skip
    metrics = {
      **outcomes.outcomes(reward.reshape(-1, samples), batch.rows.mask),
      # Whatever the rewards: a teacher's gradient does not need them to differ.
      'no_gradient': outcomes.as_mean(
        ~taught.reshape(-1, samples).any(1), batch.rows.mask
      ),
      'tokens': outcomes.total(said.tokens.mask.sum() + cost),
      'taught': outcomes.as_mean(taught, np.repeat(batch.rows.mask, samples)),
    }
    return types.Batch(prepare(state, texts, said.logprob)), metrics

  return collect


def sibling(reward: np.ndarray) -> np.ndarray:
  """Returns a right answer to the same problem, not one's own, `[B n]`.

  The next one in the group, going round; -1 where there is none.

  Args:
    reward: `[B, n]`.
  """
  B, n = reward.shape
  right = reward > 0.5
  found = np.full((B, n), -1)
  for shift in range(n - 1, 0, -1):
    other = np.roll(right, -shift, 1)
    place = (np.arange(n) + shift) % n
    found = np.where(other, place, found)
  rows = np.arange(B)[:, None] * n
  return np.where(found >= 0, found + rows, -1).ravel()
