"""Rejective fine-tuning: a policy imitates its own right answers."""

from collections.abc import Callable

import jax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import phases, rejection, supervised, tasks


def rejective(
  *,
  task: tasks.Task,
  config: decoder.DecoderConfig,
  samples: int = 3,
  solved: bool = False,
  hints: rejection.Hints | None = None,
  weigh: Callable[[types.Array], types.Array] | None = None,
  batch: int = 48,
  last: float = 0.1,
  warm_up: int = 10,
  optimizer: str = 'adamw',
  gap: int = 0,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from its own answers that are right.

  The policy at the start answers every problem of the data n times, once and
  for all. Wrong answers are rejected, and, unless `solved`, all answers to a
  problem where none is wrong. With hints, a problem without a right answer is
  asked once more in a way that gives it away; what is imitated then is that
  answer to the plain prompt, if it is right. The rest is imitated.

  Only the answer's reward is looked at: a wrong way to a right answer is kept.

  Args:
    task: what is asked, and what is right: a reward above 1/2.
    config: of the policy's decoder.
    samples: n.
    solved: whether answers to problems that are always solved are kept.
    hints: prompts that give the right answer away; none if None.
    weigh: `(ids [B, N]) -> [B, N]` weights of tokens in the loss.
    batch: answers of a step.
    last: share of the rate that a cosine leaves at the end.
    warm_up: steps.
    optimizer: 'adamw' or 'muon', see `supervised.phase`, as is the next.
    gap: free positions between prompt and answer, at most.
    training: rate, steps, precision, and the temperature of the answers.

  Raises:
    ValueError: unknown optimizer; at the start, nothing is kept.

  References:
    Liu et al. 2025 (DeepSeek-GRM), arXiv:2504.02495.

  Notes:
    The paper imitates the hinted answers beside general instructions, which
    nothing here has.
  """
  sampling = rejection.Sampling(samples, solved, hints, training.temperature)

  def shown(key, state):
    prompts, answers = rejection.drawn(
      jax.random.fold_in(key, 0), state.constants, batch
    )
    if weigh is None:
      return prompts, answers
    return prompts, answers, weigh(answers.ids)

  phase = supervised.phase(
    config,
    shown,
    begin=rejection.begin(task, config, sampling),
    training=training,
    last=last,
    warm_up=warm_up,
    optimizer=optimizer,
    gap=gap,
  )
  plain = phases.learner(config, (phase,))

  def init(key, spec):
    state = plain.init(key, spec)
    return state._replace(
      constants=rejection.empty(
        state.params['policy'], task, sampling, spec.judgements
      )
    )

  return plain._replace(init=init)
