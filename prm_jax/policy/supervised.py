"""How demonstrations are imitated: a phase of supervised learning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import losses, outcomes, phases, rollouts, tasks

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


def phase(
  config: decoder.DecoderConfig,
  shown: Callable[[types.Key, types.TrainState], tuple],
  *,
  begin: Callable[..., types.TrainState] = phases.keep_start,
  training: phases.Training,
  last: float,
  warm_up: int,
  weight_decay: float = 0.0,
  optimizer: str = 'adamw',
  gap: int = 0,
) -> types.Phase:
  """Returns the phase in which what is shown is imitated.

  Args:
    config: of the policy's decoder.
    shown: `(key, state) -> demonstrations` of a step; see
      `demonstrations.Shown`.
    begin: of the phase; leaves the policy at the start in the constants.
    training: rate after the warm-up, steps and precision.
    last: share of the rate that a cosine leaves at the end.
    warm_up: steps.
    weight_decay: of AdamW.
    optimizer: 'adamw', or 'muon' for the layers' matrices, at `MUON` times the
      rate that AdamW has on all else.
    gap: up to so many positions are left free between a prompt and its answer,
      at random, in training alone.

  Raises:
    ValueError: unknown optimizer.

  References:
    Jordan et al. 2024 (Muon), kellerjordan.github.io/posts/muon.
  """
  if optimizer not in OPTIMIZERS:
    raise ValueError(f'optimizer {optimizer!r}: one of {sorted(OPTIMIZERS)}')
  loss = (losses.surrogate('log', name='imitation', by='token_mean'),)
  steps, rate = training.steps, training.learning_rate

  def collect(key, state, batch):
    del batch
    texts, count = _demonstrations(*shown(key, state))
    if gap:
      rng = tasks.generator(jax.random.fold_in(key, 1))
      free = rng.integers(0, gap + 1, len(texts.mask)).astype(np.int32)
      texts = texts._replace(gap=free)
    return types.Batch(rollouts.arranged(texts)), {'shown': count}

  schedule = optax.warmup_cosine_decay_schedule(
    0.0, rate, warm_up, max(steps, warm_up + 1), last * rate
  )
  return types.Phase(
    'imitation',
    begin=begin,
    steps=steps,
    accumulate=training.accumulate,
    collect=collect,
    objective=losses.objective(
      config, loss, dtype=training.dtype, remat=training.remat
    ),
    optimizer=optax.chain(
      optax.clip_by_global_norm(1.0),
      OPTIMIZERS[optimizer](schedule, weight_decay),
    ),
    train='policy',
  )


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
