"""GRPO and its relatives: a policy learns from how right its answers are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import policy_gradient
from prm_jax.policy import losses, outcomes, padding, phases, rollouts, tasks

ADVANTAGES = {
  'normalized': policy_gradient.group_normalized,
  'centred': policy_gradient.centred,
  'leave_one_out': policy_gradient.leave_one_out,
}


def grpo(
  *,
  task: tasks.Task,
  config: decoder.DecoderConfig,
  samples: int = 8,
  advantage: str = 'normalized',
  loss: losses.Loss = losses.PLAIN,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from verified answers alone.

  Rows are `tasks.Problems`. Every step samples answers
  of the policy, rewards them, and takes one gradient step. A group whose
  rewards are all equal teaches nothing. Problems that are drawn together,
  `[B, m]`, are as many groups; their rewards may look at one another.

  Args:
    task: what is asked, and what is right.
    config: of the policy's decoder.
    samples: n answers to a problem.
    advantage: one of `ADVANTAGES`: GRPO's, Dr.GRPO's, RLOO's.
    loss: surrogate, and perhaps KL to the start and a bonus of entropy.
    training: rate, steps and precision.

  Raises:
    ValueError: unknown advantage.

  References:
    Shao et al. 2024 (GRPO), arXiv:2402.03300; Liu et al. 2025 (Dr.GRPO),
    arXiv:2503.20783; Ahmadian et al. 2024 (RLOO), arXiv:2402.14740.
  """
  if advantage not in ADVANTAGES:
    raise ValueError(f'advantage {advantage!r}: one of {sorted(ADVANTAGES)}')

  def collect(key, state, batch):
    rows = np.asarray(batch.rows.problem)
    problem = rows.ravel()
    mask = batch.rows.mask.repeat(rows.size // len(rows))
    prompts = task.prompts(problem)
    written = rollouts.draw(
      key,
      config,
      state.params['policy'],
      prompts,
      task,
      count=samples,
      **training.writing,
    )
    reward = verify(np.repeat(problem, samples), written.tokens)
    texts, metrics = _credited(prompts, written, reward, mask, advantage)
    return types.Batch(prepare(state, texts)), metrics

  verify = tasks.verifier(task)
  prepare = rollouts.preparer(
    config, task.max_new_tokens, loss, training.dtype, samples
  )
  return phases.trained(config, loss, training, collect, group=samples)


@functools.partial(jax.jit, static_argnames='advantage')
def _credited(prompts, written, reward, mask, advantage):
  """Returns texts with their advantages, and figures."""
  reward = reward.reshape(len(mask), -1)
  n = reward.shape[1]
  credit = ADVANTAGES[advantage](outcomes.fill(reward))
  texts = rollouts.Texts(
    padding.repeat(prompts, n),
    written.tokens,
    credit.ravel(),
    jnp.isfinite(reward).ravel() * mask.repeat(n),
    sampler_logprob=written.logprob,
  )
  metrics = {
    **outcomes.outcomes(reward, mask),
    'tokens': outcomes.total(written.tokens.mask.sum()),
  }
  return texts, metrics
