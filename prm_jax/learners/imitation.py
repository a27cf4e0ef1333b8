"""Supervised learning of what was shown: warm starts and fine-tuning."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import (
  demonstrations,
  losses,
  outcomes,
  phases,
  rollouts,
  tasks,
)

MUON = 7.0  # its rate, in AdamW's


def _adamw(schedule, weight_decay):
  return optax.adamw(schedule, weight_decay=weight_decay)


def _muon(schedule, weight_decay):
  """Returns Muon for kernels of scanned layers `[L, in, out]`."""
  matrix = optax.contrib.MuonDimensionNumbers(1, 2)

  def kinds(params):
    return jax.tree.map(lambda leaf: matrix if leaf.ndim == 3 else None, params)

  return optax.contrib.muon(
    lambda step: MUON * schedule(step),
    muon_weight_dimension_numbers=kinds,
    adam_learning_rate=schedule,
    adam_weight_decay=weight_decay,
  )


OPTIMIZERS = {'adamw': _adamw, 'muon': _muon}


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
  tokens, an answer's mean is a weighted one.

  Args:
    shown: demonstrations of a step.
    config: of the policy's decoder.
    learning_rate: after `warm_up` steps.
    last: share of the rate that a cosine leaves at the end.
    warm_up: steps.
    steps: batches.
    weight_decay: of AdamW.
    optimizer: 'adamw', or 'muon' for the layers' matrices, at `MUON` times the
      rate that AdamW has on all else.
    gap: up to so many positions are left free between a prompt and its answer,
      at random, in training alone.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.

  Raises:
    ValueError: unknown optimizer.

  References:
    Jordan et al. 2024 (Muon), kellerjordan.github.io/posts/muon.
  """
  if optimizer not in OPTIMIZERS:
    raise ValueError(f'optimizer {optimizer!r}: one of {sorted(OPTIMIZERS)}')
  loss = (losses.surrogate('log', name='imitation', by='token_mean'),)

  def collect(key, state, batch):
    texts, count = _demonstrations(*shown(key, state.constants.start))
    if gap:
      rng = tasks.generator(jax.random.fold_in(key, 1))
      free = rng.integers(0, gap + 1, len(texts.mask)).astype(np.int32)
      texts = texts._replace(gap=free)
    return types.Batch(rollouts.arranged(texts)), {'shown': count}

  schedule = optax.warmup_cosine_decay_schedule(
    0.0, learning_rate, warm_up, max(steps, warm_up + 1), last * learning_rate
  )
  phase = types.Phase(
    'imitation',
    begin=phases.keep_start,
    steps=steps,
    collect=collect,
    objective=losses.objective(config, loss, dtype=dtype, remat=remat),
    optimizer=optax.chain(
      optax.clip_by_global_norm(1.0),
      OPTIMIZERS[optimizer](schedule, weight_decay),
    ),
    train='policy',
  )
  return phases.learner(config, (phase,), keep=True)


@jax.jit
def _demonstrations(prompts, answers, weights=None):
  """Returns demonstrations as texts, and how many there are."""
  shown = answers.mask.any(1)
  texts = rollouts.Texts(prompts, answers, jnp.ones(len(shown)), shown)
  if weights is not None:
    weights = weights * answers.mask
    # A text counts for its weights, not for its tokens.
    share = weights.sum(1) / jnp.maximum(answers.mask.sum(1), 1)
    texts = texts._replace(advantage=weights, share=share)
  return texts, outcomes.total(shown.sum())
