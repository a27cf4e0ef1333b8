"""DeepSeek-GRM's SPCT: rejective fine-tuning, then rule-based GRPO."""

from collections.abc import Mapping
from typing import Any

from prm_jax import types
from prm_jax.learners import grpo, rejective
from prm_jax.models import decoder
from prm_jax.policy import losses, phases, tasks

PUBLISHED: losses.Loss = (*losses.PLAIN, losses.kl(0.08))


def spct(
  *,
  task: tasks.Task,
  config: decoder.DecoderConfig,
  rejection: Mapping[str, Any] | None = None,
  samples: int = 4,
  advantage: str = 'normalized',
  loss: losses.Loss = PUBLISHED,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner from a judge's own traces, kept and then rewarded.

  No reward is for the form of a text; a strong pull to the reference, which is
  what the first phase ends with, keeps it.

  Args:
    task: what is judged; the paper rewards verdicts with 1 and -1.
    config: of the judge's decoder.
    rejection: further options of `rejective`.
    samples: traces to a prompt, in the second phase.
    advantage: see `grpo`.
    loss: of the second phase.
    training: of the second phase, and of the first if it has none.

  References:
    Liu et al. 2025 (DeepSeek-GRM), arXiv:2504.02495.
  """
  first = rejective.rejective(
    task=task, config=config, **{'training': training, **(rejection or {})}
  )
  second = grpo.grpo(
    task=task,
    config=config,
    samples=samples,
    advantage=advantage,
    loss=loss,
    training=training,
  )
  return phases.joined(first, second)
