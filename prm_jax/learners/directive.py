"""Learning from replies: verdicts (evaluative) and hints (directive)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import distillation
from prm_jax.policy import logprobs, losses, outcomes, phases, rollouts, tasks

TEACHERS = ('live', 'average', 'frozen')
BASELINES = ('none', 'batch')
PUBLISHED = (losses.surrogate(clip_high=0.28), losses.entropy())


class Reply(NamedTuple):
  """What was said to B answers.

  Attributes:
    verdict: `[B]` +1, -1, or 0 for none; NaN drops the answer.
    prompts: those that hold the hint, for the teacher.
    hinted: `[B]` bool, whether there was a hint.
  """

  verdict: np.ndarray
  prompts: types.Tokens
  hinted: np.ndarray


# `(key, problems [B], answers) -> Reply`, on the host.
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
    task,
    replies,
    config,
    evaluative,
    0.0 if distills else directed,
    baseline == 'batch',
    teacher,
    clip,
    distills,
    training.writing,
    rollouts.preparer(config, task.max_new_tokens, loss, training.dtype),
  )
  return phases.trained(
    config,
    loss,
    training,
    collect,
    keep=teacher == 'frozen',
    average=average if teacher == 'average' else None,
  )


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
  distills: bool
  writing: Mapping[str, Any]
  prepare: Callable[..., rollouts.Rollouts]

  def __call__(self, key, state, batch):
    keys = tasks.split(key, 2)
    problem = np.asarray(batch.rows.problem)
    prompts = self.task.prompts(problem)
    written = rollouts.draw(
      keys[0],
      self.config,
      state.params['policy'],
      prompts,
      self.task,
      **self.writing,
    )
    # What people read: nothing else is fetched of a step.
    reply = self.replies(keys[1], problem, jax.device_get(written.tokens))
    logprob = self._asked(state, prompts, written.tokens, reply)
    texts, metrics = _credited(
      prompts,
      written,
      reply.verdict,
      reply.hinted,
      batch.rows.mask,
      (logprob.get('hinted_logprob'), logprob.get('old_logprob')),
      self.clip,
      (self.evaluative, self.directed),
      self.centred,
    )
    rows = self.prepare(
      state,
      texts,
      teacher=logprob.get('teacher'),
      old_logprob=logprob.get('old_logprob'),
    )
    return types.Batch(rows), metrics

  def _asked(self, state, prompts, answers, reply):
    """Returns the log-probabilities that hints are made of, by name."""
    policy, count = state.params['policy'], self.task.max_new_tokens
    teacher = {
      'live': lambda: policy,
      'average': lambda: state.average['policy'],
      'frozen': lambda: state.constants.start,
    }[self.teacher]()
    sizes = self.config, count, self.writing['dtype']
    if self.distills:
      hinted = rollouts.follow(reply.prompts, answers)
      return {'teacher': logprobs.teller(*sizes)(teacher, *hinted)}
    if not self.directed:
      return {}
    score = logprobs.scorer(*sizes)
    return {
      'hinted_logprob': score(
        teacher, *rollouts.follow(reply.prompts, answers)
      ),
      'old_logprob': score(policy, *rollouts.follow(prompts, answers)),
    }


@functools.partial(jax.jit, static_argnames=('clip', 'weights', 'centred'))
def _credited(
  prompts, written, verdict, hinted, mask, logprob, clip, weights, centred
):
  """Returns answers with what verdicts and hints credit them, and figures."""
  evaluative, directed = weights
  failed, answer = ~jnp.isfinite(verdict), written.tokens.mask
  heard = ~failed * mask
  verdict = jnp.where(heard > 0, verdict, 0.0)
  baseline = verdict.sum() / jnp.maximum(heard.sum(), 1) if centred else 0.0
  hinted = hinted * heard
  gap = jnp.zeros(answer.shape)
  if directed:
    gap = distillation.directive(*logprob, clip=clip)
    gap = jnp.where(answer * hinted[:, None] > 0, gap, 0.0)
  advantage = distillation.combined(
    verdict - baseline * heard,
    gap,
    evaluative=evaluative,
    directive_weight=directed,
  )
  # Where verdicts count for nothing, an answer without a hint is dropped.
  texts = rollouts.Texts(
    prompts,
    written.tokens,
    advantage,
    heard if evaluative else hinted,
    second=hinted,
    sampler_logprob=written.logprob,
  )
  figures = {
    'reward': outcomes.as_mean(verdict, heard),
    'hinted': outcomes.as_mean(hinted, heard),
    'failed': outcomes.as_mean(failed, mask),
    'tokens': outcomes.total(answer.sum()),
  }
  if directed:
    size = outcomes.as_mean(jnp.abs(gap).mean(1), hinted)
    figures['directive_size'] = size
  return texts, figures
