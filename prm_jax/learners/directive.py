"""Learning from replies: verdicts (evaluative) and hints (directive)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import distillation
from prm_jax.policy import (
  logprobs,
  losses,
  outcomes,
  padding,
  phases,
  rollouts,
  tasks,
)

TEACHERS = ('live', 'average', 'frozen')
BASELINES = ('none', 'batch')
PUBLISHED = (losses.surrogate(clip_high=0.28), losses.entropy())


class Reply(NamedTuple):
  """What was said to B answers.

  Attributes:
    verdict: `[B]` +1, -1, or 0 for none; NaN drops the answer.
    told: prompts that hold the hint, for the teacher.
    hinted: `[B]` bool, whether there was a hint.
  """

  verdict: np.ndarray
  told: types.Tokens
  hinted: np.ndarray


# `(key, problems [B], answers) -> Reply`.
Replies = Callable[[types.Key, np.ndarray, types.Tokens], Reply]


def directive(
  *,
  task: tasks.Task,
  replies: Replies,
  config: decoder.DecoderConfig,
  evaluative: float = 1.0,
  directed: float = 1.0,
  baseline: str = 'none',
  teacher: str = 'live',
  average: float = 0.05,
  clip: float | None = 2.0,
  loss: losses.Loss = PUBLISHED,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from one reply to each of its answers.

      A_t = evaluative (verdict - baseline)
            + directed clip(log pi_T(a_t | s, hint) - log pi_old(a_t | s))

  Without either weight it is the published evaluative or directive method;
  with both, the combined one. A loss with `losses.distilled` takes the
  directive part over the whole vocabulary instead, as a term of its own.

  Args:
    task: what is asked; its `verify` is not read.
    replies: what people say.
    config: of the policy's decoder.
    evaluative: weight of verdicts.
    directed: weight of hints; where the loss distills, its term has theirs.
    baseline: 'none' as published, or the 'batch' mean of verdicts.
    teacher: who reads the hint: 'live', the policy in training; 'average', a
      moving average of it; 'frozen', the policy at the start.
    average: share of the new parameters in the average, at each step.
    clip: of the directive advantage, nats.
    loss: surrogate and sums.
    training: rate, steps and precision.

  Raises:
    ValueError: unknown teacher or baseline.

  References:
    OpenClaw-RL 2026, arXiv:2603.10165.
  """
  if teacher not in TEACHERS:
    raise ValueError(f'teacher {teacher!r}: one of {TEACHERS}')
  if baseline not in BASELINES:
    raise ValueError(f'baseline {baseline!r}: one of {BASELINES}')
  distills = losses.reads(loss, losses.TEACHER)
  collect = _Collect(
    task, replies, config, evaluative, 0.0 if distills else directed,
    baseline == 'batch', teacher, clip, distills,
    training.writing,
    rollouts.preparer(config, task.max_new_tokens, loss, training.dtype),
  )  # fmt: skip
  return phases.trained(
    config, loss, training, collect,
    keep=teacher == 'frozen',
    average=average if teacher == 'average' else None,
  )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class _Collect:
  """Writes, hears replies, and asks the teacher: `Phase.collect`."""

  task: tasks.Task
  replies: Replies
  config: decoder.DecoderConfig
  evaluative: float
  directed: float
  centred: bool
  teacher: str
  clip: float | None
  distill: bool
  writing: Mapping[str, Any]
  prepare: Callable[..., rollouts.Rollouts]

  def __call__(self, key, state, batch):
    keys = jax.random.split(key)
    problem = np.asarray(batch.rows.problem)
    prompts = self.task.prompts(problem)
    said = rollouts.write(
      keys[0], self.config, state.params['policy'], prompts, self.task,
      **self.writing,
    )  # fmt: skip
    reply = self.replies(keys[1], problem, said.tokens)
    known = np.isfinite(reply.verdict) * np.asarray(batch.rows.mask)
    verdict = np.where(known > 0, reply.verdict, 0.0)
    baseline = verdict.sum() / max(known.sum(), 1) if self.centred else 0.0
    hinted = np.asarray(reply.hinted, np.float32) * known
    gap, told = self._teacher(state, prompts, said.tokens, reply, hinted)
    advantage = distillation.combined(
      jnp.asarray(verdict - baseline * known), gap,
      evaluative=self.evaluative, directive_weight=self.directed,
    )  # fmt: skip
    # Where verdicts count for nothing, an answer without a hint is dropped.
    mask = known if self.evaluative else hinted
    texts = rollouts.Texts(
      prompts, said.tokens, np.asarray(advantage), mask, second=hinted,
      teacher=told,
    )  # fmt: skip
    metrics = {
      'reward': outcomes.as_mean(verdict, known),
      'hinted': outcomes.as_mean(hinted, known),
      'failed': outcomes.as_mean(~np.isfinite(reply.verdict), batch.rows.mask),
      'directive_size': outcomes.as_mean(np.abs(gap).mean(1), hinted),
      'tokens': outcomes.total(said.tokens.mask.sum()),
    }
    return types.Batch(self.prepare(state, texts, said.logprob)), metrics

  def _teacher(self, state, prompts, answers, reply, hinted):
    """Returns directive advantages `[B, N]`, and the teacher's `[B, N, V]`."""
    policy = state.params['policy']
    teacher = {
      'live': lambda: policy,
      'average': lambda: state.average['policy'],
      'frozen': lambda: state.constants.start,
    }[self.teacher]()
    count = self.task.max_new_tokens
    there = answers.mask * hinted[:, None]
    with_hint = padding.follow(reply.told, answers)
    if self.distill:
      tell = logprobs.teller(self.config, count, self.writing['dtype'])
      return np.zeros(there.shape, np.float32), tell(teacher, *with_hint)
    score = logprobs.scorer(self.config, count, self.writing['dtype'])
    gap = distillation.directive(
      score(teacher, *with_hint),
      score(policy, *padding.follow(prompts, answers)), clip=self.clip,
    )  # fmt: skip
    return np.where(there > 0, gap, 0.0), None
