"""Critique-GRPO: answers and what criticism made of them, learned together."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import policy_gradient
from prm_jax.policy import (
  critics,
  losses,
  outcomes,
  padding,
  phases,
  rollouts,
  tasks,
)

REFINERS = ('live', 'frozen')


def loss_of(refinements: str = 'shaped') -> losses.Loss:
  """Returns the loss: answers clipped, refinements by another surrogate.

  Args:
    refinements: see `policy_gradient.surrogate`; shaped and unclipped as in
      the authors' code.
  """
  return (
    losses.surrogate(second=False),
    losses.surrogate(refinements, name='refinement', second=True),
    losses.entropy(),
  )


PUBLISHED = loss_of()


def critique_grpo(
  *,
  task: tasks.Task,
  critic: critics.Critic,
  config: decoder.DecoderConfig,
  samples: int = 7,
  refined: int = 1,
  gate: bool = True,
  refiner: str = 'frozen',
  loss: losses.Loss = PUBLISHED,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from rewards and critiques.

  Of a problem whose n answers are all wrong, `refined` of them are criticised
  and written again; the best of these joins the group, a right one first.
  Other problems get one more answer, so that every group has n + 1 texts.

      J = mean over answers of their surrogate
          + mean over refinements of theirs, scored under the plain prompt

  with advantages over the joint mean (7/8 and -1/8 for 7 + 1).

  Args:
    task: what is asked, what is right, and how it is asked again.
    critic: what is said of an answer.
    config: of the policy's decoder.
    samples: n.
    refined: answers of a problem that are criticised and written again.
    gate: whether only problems without a right answer are; else all are.
    refiner: who writes refinements: 'live', the policy in training, as
      published; or 'frozen', the policy at the start, which does not forget
      how to use a critique. Refinements need no probability of their writer.
    loss: a term of answers and one of refinements, marked `second`; shaped
      and unclipped as in the authors' code.
    training: rate, steps and precision.

  Raises:
    ValueError: unknown refiner, more refinements than answers, or a task
      that cannot ask again.

  References:
    Zhang et al. 2025 (Critique-GRPO), arXiv:2506.03106.
  """
  _check(task, samples, refined, refiner)
  collect = _Collect(
    task,
    critic,
    config,
    samples,
    refined,
    gate,
    refiner == 'live',
    training.writing,
    rollouts.preparer(
      config, task.max_new_tokens, loss, training.dtype, samples + 1
    ),
  )
  return phases.trained(
    config, loss, training, collect, group=samples + 1, keep=refiner == 'frozen'
  )


@dataclasses.dataclass(frozen=True, eq=False)
class _Collect:
  """Writes, rewards, criticises and writes again: `Phase.collect`."""

  task: tasks.Task
  critic: critics.Critic
  config: decoder.DecoderConfig
  samples: int
  refined: int
  gate: bool
  live: bool
  writing: Mapping[str, Any]
  prepare: Callable[..., rollouts.Rollouts]

  def __call__(self, key, state, batch):
    keys = tasks.split(key, 4)
    policy, n = state.params['policy'], self.samples
    problem = np.asarray(batch.rows.problem)
    prompts, verify = self.task.prompts(problem), tasks.verifier(self.task)
    first = self._write(keys[0], policy, prompts, count=n)
    reward = verify(np.repeat(problem, n), first.tokens)
    attempts = _attempts(first.tokens, reward, n, self.refined, self.gate)
    # What a critic reads: nothing else is fetched of a step.
    attempts = jax.device_get(attempts)
    again, spent = self._refine(keys[2:], state, problem, attempts)
    # One more answer to each solved problem, so that all have n + 1 texts.
    wrong = attempts.wrong
    more = self._write(keys[1], policy, prompts, active=~wrong)
    rank = None
    if self.refined > 1:
      rank = verify(np.repeat(problem, self.refined), again.tokens)
    last = _last(again.tokens, rank, more, wrong)
    texts, metrics = _joined(
      prompts,
      first,
      last,
      reward,
      verify(problem, last.tokens),
      wrong,
      batch.rows.mask,
      again.tokens.mask,
      spent,
    )
    return types.Batch(self.prepare(state, texts)), metrics

  def _write(self, key, params, prompts, **options):
    return rollouts.draw(
      key, self.config, params, prompts, self.task, **options, **self.writing
    )

  def _refine(self, keys, state, problem, attempts):
    """Returns refinements of wrong problems' attempts, and tokens spent."""
    policy, asked = state.params['policy'], np.repeat(problem, self.refined)
    needed = np.repeat(attempts.wrong, self.refined)
    critiques, spent = self.critic(
      keys[0], policy, asked, attempts.tokens, attempts.reward, needed
    )
    prompts = self.task.refine(asked, attempts.tokens, critiques)  # type: ignore[misc]
    writer = policy if self.live else state.constants.start
    active = needed & critiques.mask.any(1)
    return self._write(keys[1], writer, prompts, active=active), spent


class _Attempts(NamedTuple):
  """Answers that a critic may read: the first m of each problem.

  Attributes:
    tokens: `[B m, N]`.
    reward: `[B m]`.
    wrong: `[B]` bool, problems whose answers are criticised.
  """

  tokens: types.Tokens
  reward: types.ArrayLike
  wrong: types.ArrayLike


@functools.partial(jax.jit, static_argnames=('samples', 'refined', 'gate'))
def _attempts(tokens, reward, samples, refined, gate) -> _Attempts:
  reward = reward.reshape(-1, samples)
  wrong = jnp.ones(len(reward), bool)
  if gate:
    wrong = ~(reward > 0.5).any(1)
  row = np.arange(len(reward))[:, None] * samples + np.arange(refined)
  return _Attempts(
    padding.take(tokens, row.ravel()), reward[:, :refined].ravel(), wrong
  )


@jax.jit
def _last(again, rank, more, wrong) -> rollouts.Written:
  """Returns each problem's last text: the best refinement, or an answer.

  A refinement was not written under the prompt that it is scored under: its
  writer's log-probabilities are NaN. Without a critique it has no token.
  """
  if rank is not None:
    rewarded = again.mask.any(1) & jnp.isfinite(rank)
    value = jnp.where(rewarded, rank, -1.0).reshape(len(wrong), -1)
    best = value.argmax(1) + jnp.arange(len(wrong)) * value.shape[1]
    again = padding.take(again, best)
  refinement = rollouts.Written(again, jnp.full(more.logprob.shape, jnp.nan))
  return jax.tree.map(
    lambda a, b: jnp.where(wrong[:, None], a, b), refinement, more
  )


@jax.jit
def _joined(
  prompts, first, last, reward, last_reward, wrong, mask, refinements, spent
):
  """Returns each problem's answers and its last text, with joint advantages.

  And figures.
  """
  B, n = len(wrong), len(reward) // len(wrong)
  reward, counted = reward.reshape(B, n), mask > 0
  written = last.tokens.mask.any(1)
  last_reward = jnp.where(written, last_reward, jnp.nan)
  both = jnp.concatenate([reward, last_reward[:, None]], 1)
  rewarded = jnp.isfinite(both)
  advantage = policy_gradient.joint(both, rewarded)
  refined = wrong[:, None] & (jnp.arange(n + 1) == n)
  # A problem counts once: the mean over its answers, and its refinement.
  share = 1.0 / jnp.where(wrong, n, n + 1)
  share = jnp.where(refined, 0.0, share[:, None])

  def texts(first, last):
    first = first.reshape(B, n, -1)
    return jnp.concatenate([first, last[:, None]], 1).reshape(B * (n + 1), -1)

  answers = jax.tree.map(texts, first, last)
  joined = rollouts.Texts(
    padding.repeat(prompts, n + 1),
    answers.tokens,
    advantage.ravel(),
    (rewarded * mask[:, None]).ravel(),
    second=refined.ravel(),
    weight=jnp.where(share > 0, share, 1.0).ravel(),
    share=share.ravel(),
    sampler_logprob=answers.logprob,
  )
  more = jnp.where(wrong[:, None], 0, last.tokens.mask)
  tokens = first.tokens.mask.sum() + more.sum() + refinements.sum() + spent
  figures = {
    **outcomes.outcomes(reward, counted),
    'no_gradient': outcomes.outcomes(both, counted)['no_gradient'],
    'tokens': outcomes.total(tokens),
    'criticised': outcomes.as_mean(wrong, counted),
    'valid_refinement': outcomes.as_mean(
      last_reward > 0.5, wrong & written & counted
    ),
    'no_critique': outcomes.as_mean(~written, wrong & counted),
  }
  return joined, figures


def _check(task, samples, refined, refiner) -> None:
  if refiner not in REFINERS:
    raise ValueError(f'refiner {refiner!r}: one of {REFINERS}')
  if not 1 <= refined <= samples:
    raise ValueError(f'{refined} refinements of {samples} answers')
  if task.refine is None:
    raise ValueError('the task has no `refine`: it cannot ask again')
