"""Supervised learning of what was shown: warm starts and fine-tuning."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import demonstrations, losses, outcomes, phases, rollouts


def imitation(
  *,
  shown: demonstrations.Shown,
  config: decoder.DecoderConfig,
  learning_rate: float = 3e-3,
  last: float = 0.1,
  warm_up: int = 100,
  steps: int = 1000,
  weight_decay: float = 0.0,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Learner:
  """Returns the learner of a policy from demonstrations.

      -mean over tokens of log pi(token | prompt, tokens before)

  Answers without tokens are left out, so that demonstrations may be what is
  left of more: right refinements, say.

  Args:
    shown: demonstrations of a step.
    config: of the policy's decoder.
    learning_rate: of AdamW, after `warm_up` steps.
    last: share of the rate that a cosine leaves at the end.
    warm_up: steps.
    steps: batches.
    weight_decay: of AdamW.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.
  """
  loss = (losses.surrogate('log', name='imitation', by='token_mean'),)

  def collect(key, state, batch):
    texts, count = _demonstrations(*shown(key, state.constants.start))
    return types.Batch(rollouts.arranged(texts)), {'shown': count}

  schedule = optax.warmup_cosine_decay_schedule(
    0.0, learning_rate, warm_up, max(steps, warm_up + 1), last * learning_rate
  )
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(schedule, weight_decay=weight_decay),
  )
  phase = types.Phase(
    'imitation',
    begin=phases.keep_start,
    steps=steps,
    collect=collect,
    objective=losses.objective(config, loss, dtype=dtype, remat=remat),
    optimizer=optimizer,
    train='policy',
  )
  return phases.learner(config, (phase,), keep=True)


@jax.jit
def _demonstrations(prompts, answers):
  """Returns demonstrations as texts, and how many there are."""
  shown = answers.mask.any(1)
  texts = rollouts.Texts(prompts, answers, jnp.ones(len(shown)), shown)
  return texts, outcomes.total(shown.sum())
