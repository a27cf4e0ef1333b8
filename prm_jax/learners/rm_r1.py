"""RM-R1: a judge imitates traces, then learns from its verdicts' rewards."""

from collections.abc import Mapping
from typing import Any

from prm_jax import types
from prm_jax.learners import grpo, imitation
from prm_jax.models import decoder
from prm_jax.policy import demonstrations, losses, phases, tasks

PUBLISHED: losses.Loss = (*losses.PLAIN, losses.kl(1e-3))


def rm_r1(
  *,
  shown: demonstrations.Shown,
  task: tasks.Task,
  config: decoder.DecoderConfig,
  distillation: Mapping[str, Any] | None = None,
  samples: int = 7,
  advantage: str = 'normalized',
  loss: losses.Loss = PUBLISHED,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner that imitates traces and then is rewarded.

  The second phase is GRPO; its reference is what the first one ends with.

  Args:
    shown: traces of a step.
    task: what is judged; RM-R1 rewards verdicts with 1 and -1.
    config: of the judge's decoder.
    distillation: further options of `imitation`.
    samples: traces to a prompt, in the second phase.
    advantage: see `grpo`.
    loss: of the second phase.
    training: of the second phase.

  References:
    Chen et al. 2025 (RM-R1), arXiv:2505.02387.

  Notes:
    KL is k2, whose gradient is that of the divergence; the paper's is k3.
  """
  first = imitation.imitation(
    shown=shown, config=config, **(distillation or {})
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
