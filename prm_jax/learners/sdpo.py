"""SDPO: a policy that was told what worked teaches the one that was not."""

import jax
import jax.numpy as jnp
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
  return phases.trained(
    config, loss, training, collect, group=samples, average=average
  )


def _collector(task, critic, config, samples, loss, writing):
  """Returns `Phase.collect`: writes, verifies and asks the teacher."""
  prepare = rollouts.preparer(
    config, task.max_new_tokens, loss, writing['dtype'], samples
  )
  tell = logprobs.teller(config, task.max_new_tokens, writing['dtype'])
  verify = tasks.verifier(task)

  def collect(key, state, batch):
    keys = tasks.split(key, 2)
    policy = state.params['policy']
    problem = np.asarray(batch.rows.problem)
    asked, prompts = np.repeat(problem, samples), task.prompts(problem)
    written = rollouts.draw(
      keys[0], config, policy, prompts, task, count=samples, **writing
    )
    reward = verify(asked, written.tokens)
    # What a critic reads: nothing else is fetched of a step.
    answers, reward = jax.device_get((written.tokens, reward))
    model = sibling(reward.reshape(-1, samples))
    shown = np.where(model >= 0, model, np.arange(len(asked)))
    # A right answer without a right sibling has nothing to learn from.
    teachable = ((model >= 0) | (reward < 0.5)) & np.isfinite(reward)
    read = padding.take(answers, shown)
    critiques, spent = critic(
      keys[1], policy, asked, read, reward[shown], teachable
    )
    hinted = task.refine(asked, read, critiques)
    texts, metrics = _taught(
      prompts,
      written,
      reward,
      teachable & critiques.mask.any(1),
      batch.rows.mask,
      spent,
    )
    teacher = tell(
      state.average['policy'], *rollouts.follow(hinted, written.tokens)
    )
    return types.Batch(prepare(state, texts, teacher=teacher)), metrics

  return collect


@jax.jit
def _taught(prompts, written, reward, taught, mask, spent):
  """Returns the texts that a teacher has something to say of, and figures."""
  n = len(reward) // len(mask)
  each = mask.repeat(n)
  texts = rollouts.Texts(
    padding.repeat(prompts, n),
    written.tokens,
    jnp.zeros(len(reward)),
    taught * each,
    second=jnp.ones(len(reward)),
    sampler_logprob=written.logprob,
  )
  figures = {
    **outcomes.outcomes(reward.reshape(-1, n), mask),
    # Whatever the rewards: a teacher's gradient does not need them to differ.
    'no_gradient': outcomes.as_mean(~taught.reshape(-1, n).any(1), mask),
    'tokens': outcomes.total(written.tokens.mask.sum() + spent),
    'taught': outcomes.as_mean(taught, each),
  }
  return texts, figures


def sibling(reward: np.ndarray) -> np.ndarray:
  """Returns a right answer to the same problem, not one's own, `[B n]`.

  The next one in the group, going round; -1 where there is none.

  Args:
    reward: `[B, n]`.
  """
  B, n = reward.shape
  right = reward > 0.5
  place = np.full((B, n), -1)
  for shift in range(n - 1, 0, -1):
    other = np.roll(right, -shift, 1)
    place = np.where(other, (np.arange(n) + shift) % n, place)
  rows = np.arange(B)[:, None] * n
  return np.where(place >= 0, place + rows, -1).ravel()
