"""GRPO and its relatives: a policy learns from how right its answers are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.learners import rollouts
from prm_jax.models import decoder
from prm_jax.ops import policy_gradient

ADVANTAGES = {
  'normalized': policy_gradient.group_normalized,
  'centred': policy_gradient.centred,
  'leave_one_out': policy_gradient.leave_one_out,
}


def grpo(
  *,
  task: rollouts.Task,
  config: decoder.DecoderConfig,
  samples: int = 8,
  advantage: str = 'normalized',
  loss: rollouts.Loss = rollouts.PLAIN,
  training: rollouts.Training = rollouts.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from verified answers alone.

  Rows are `rollouts.Problems`. Every step samples answers
  of the policy, rewards them, and takes one gradient step. A group whose
  rewards are all equal teaches nothing.

  Args:
    task: what is asked, and what is right.
    config: of the policy's decoder.
    samples: n answers to a problem.
    advantage: one of `ADVANTAGES`: GRPO's, Dr.GRPO's, RLOO's.
    loss: surrogate, sum over tokens, KL to the start, entropy.
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
    problem = np.asarray(batch.rows.problem)
    prompts = task.prompts(problem)
    written = rollouts.write(
      key, config, state.params['policy'], prompts, task, count=samples,
      **training.writing,
    )  # fmt: skip
    reward = task.verify(np.repeat(problem, samples), written.tokens)
    group = fill(reward.reshape(-1, samples))
    found = np.asarray(ADVANTAGES[advantage](jnp.asarray(group)))
    texts = Texts(
      rollouts.repeat(prompts, samples), written.tokens, found.ravel(),
      mask=np.isfinite(reward) * np.repeat(batch.rows.mask, samples),
    )  # fmt: skip
    made, gap = prepare(state, texts, written.logprob)
    metrics = {
      **outcomes(reward.reshape(-1, samples), batch.rows.mask),
      'tokens': total(written.tokens.mask.sum()),
      'sampler_gap': gap,
    }
    return types.Batch(made), metrics

  prepare = preparer(config, task.max_new_tokens, loss, training.dtype)
  return trained(config, loss, training, collect, keep=bool(loss.kl))


# ------------------------------------------------------- for all the relatives


class Texts(NamedTuple):
  """Answers with what they teach; every leaf has the axis B.

  Attributes:
    prompts: what the update reads before them, whatever they were written on.
    answers: `[B, N]`.
    advantage: `[B]`, or `[B, N]` of every token.
    mask: `[B]` 0 for answers that do not count.
    second: `[B]` 1 for refinements, or for texts with a teacher.
    weight: `[B]` of the text's objective; 1 if None.
    share: `[B]` of what it counts for in the mean; 1 if None.
    teacher: `[B, N, V]` log-probabilities, if the loss distills.
  """

  prompts: types.Tokens
  answers: types.Tokens
  advantage: np.ndarray
  mask: np.ndarray
  second: np.ndarray | None = None
  weight: np.ndarray | None = None
  share: np.ndarray | None = None
  teacher: types.ArrayLike | None = None


def preparer(
  config: decoder.DecoderConfig, count: int, loss: rollouts.Loss, dtype: Any
) -> Callable[..., tuple[rollouts.Rollouts, types.Mean]]:
  """Returns `(state, texts, logprob) -> (rollouts, gap)`.

  The writer's log-probabilities are computed by the trainer's function; the
  gap is their mean absolute distance from the sampler's, `logprob` `[B, N]`,
  which is NaN for texts that were written under another prompt.
  """
  score = rollouts.scorer(config, count, dtype)

  def prepare(state, texts, logprob):
    ids, seen = rollouts.follow(texts.prompts, texts.answers)
    old = np.asarray(score(state.params['policy'], ids, seen))
    B, answer = len(ids), texts.answers.mask
    teacher = np.zeros_like(old) if texts.teacher is None else texts.teacher
    if loss.kl:
      teacher = np.asarray(score(state.constants.start, ids, seen))
    advantage = np.asarray(texts.advantage, np.float32)
    if advantage.ndim == 1:
      advantage = np.broadcast_to(advantage[:, None], answer.shape)
    zeros = np.zeros(B, np.float32)
    second = zeros if texts.second is None else texts.second
    weight = zeros + 1 if texts.weight is None else texts.weight
    share = zeros + 1 if texts.share is None else texts.share
    made = rollouts.Rollouts(
      ids, seen, answer, old, advantage, np.asarray(second, np.float32),
      np.asarray(weight, np.float32), np.asarray(share, np.float32),
      np.asarray(texts.mask, np.float32), teacher, np.arange(B, dtype=np.int32),
    )  # fmt: skip
    own = (answer > 0) & np.isfinite(logprob)
    return made, rollouts.as_mean(np.abs(old - logprob), own)

  return prepare


def fill(reward: np.ndarray) -> np.ndarray:
  """Returns rewards `[B, n]`, those that failed at the mean of the others.

  They then have no advantage, and move no other's; 0 in groups where all
  failed.
  """
  known = np.isfinite(reward)
  count = np.maximum(known.sum(1, keepdims=True), 1)
  mean = np.where(known, reward, 0.0).sum(1, keepdims=True) / count
  return np.where(known, reward, mean).astype(np.float32)


def outcomes(reward: np.ndarray, mask: np.ndarray) -> dict[str, types.Mean]:
  """Returns figures of groups of rewards `[B, n]`: NaN where one failed."""
  mask = np.asarray(mask)
  known = np.isfinite(reward) * mask[:, None]
  group = fill(reward)
  spread = group.max(1) > group.min(1)
  return {
    'reward': rollouts.as_mean(group, known),
    'solved_any': rollouts.as_mean(group.max(1) > 0.5, mask),
    'no_gradient': rollouts.as_mean(~spread, mask),
    'failed': rollouts.as_mean(~np.isfinite(reward), known * 0 + mask[:, None]),
  }


def total(value: float) -> types.Mean:
  """Returns a sum over a step; over a window, its mean a step."""
  return rollouts.as_mean([value])


def adam(learning_rate: float) -> optax.GradientTransformation:
  """Returns Adam of clipped gradients."""
  return optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(learning_rate, b2=0.98)
  )


def trained(
  config: decoder.DecoderConfig,
  loss: rollouts.Loss,
  training: rollouts.Training,
  collect: Callable[..., Any],
  *,
  keep: bool = False,
  average: float | None = None,
) -> types.Learner:
  """Returns the learner of a policy with one phase.

  Args:
    config: of the policy's decoder.
    loss: what is descended.
    training: rate, steps and precision.
    collect: `Phase.collect`: makes a step's rollouts.
    keep: whether the policy at the start stays, in `state.constants`.
    average: share of the new parameters in a moving average of the policy, in
      `state.average`; none if None.
  """
  phase = types.Phase(
    'policy', begin=keep_start if keep else None, steps=training.steps,
    collect=collect, optimizer=adam(training.learning_rate),
    average=None if average is None else 1.0 - average,
    accumulate=training.accumulate, train='policy',
    objective=rollouts.objective(
      config, loss, dtype=training.dtype, remat=training.remat
    ),
  )  # fmt: skip
  return learner(config, (phase,), keep=keep)


def keep_start(state: types.TrainState, data: types.Data) -> types.TrainState:
  """Returns the state with a copy of its policy, which stays: the reference."""
  del data
  return state._replace(constants=rollouts.Kept(state.params['policy']))


def learner(
  config: decoder.DecoderConfig,
  phases: tuple[types.Phase, ...],
  *,
  keep: bool = False,
) -> types.Learner:
  """Returns the learner of a policy; `init` draws its parameters.

  Args:
    config: of the policy's decoder.
    phases: of training.
    keep: whether the policy at the start stays, in `state.constants`.
  """
  model: Any = decoder.Decoder(config)

  def init(key, spec):
    del spec
    ids = jnp.zeros((1, 2), jnp.int32)
    params = model.init(
      jax.random.fold_in(key, 0), ids, ids, decoder.attended(ids + 1)
    )
    return rollouts.new_state(key, params, keep=keep)

  return types.Learner(phases, init)
