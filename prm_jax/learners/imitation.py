"""Supervised learning of what was shown: warm starts and fine-tuning."""

from typing import Any

import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import demonstrations, phases, supervised


def imitation(
  *,
  shown: demonstrations.Shown,
  config: decoder.DecoderConfig,
  learning_rate: float = 3e-3,
  last: float = 0.1,
  warm_up: int = 100,
  steps: int = 1000,
  weight_decay: float = 0.0,
  optimizer: str = 'adamw',
  gap: int = 0,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Learner:
  """Returns the learner of a policy from demonstrations.

      -mean over tokens of log pi(token | prompt, tokens before)

  Answers without tokens are left out, so that demonstrations may be what is
  left of more: right refinements, say. Where demonstrations weigh their
  tokens, the mean is a weighted one.

  Args:
    shown: demonstrations of a step.
    config: of the policy's decoder.
    learning_rate: after `warm_up` steps.
    last: share of the rate that a cosine leaves at the end.
    warm_up: steps.
    steps: batches.
    weight_decay: of AdamW.
    optimizer: 'adamw' or 'muon', see `supervised.phase`, as is the next.
    gap: free positions between prompt and answer, at most.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.

  Raises:
    ValueError: unknown optimizer.
  """
  training = phases.Training(learning_rate, steps, dtype=dtype, remat=remat)
  phase = supervised.phase(
    config,
    lambda key, state: shown(key, state.constants.start),
    training=training,
    last=last,
    warm_up=warm_up,
    weight_decay=weight_decay,
    optimizer=optimizer,
    gap=gap,
  )
  return phases.learner(config, (phase,), keep=True)
