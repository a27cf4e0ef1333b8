"""Critique-GRPO: answers and what criticism made of them, learned together."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

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
    task, critic, config, samples, refined, gate, refiner == 'live',
    training.writing,
    rollouts.preparer(config, task.max_new_tokens, loss, training.dtype),
  )  # fmt: skip
  return phases.trained(
    config, loss, training, collect, keep=refiner == 'frozen'
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
    keys = jax.random.split(key, 4)
    policy, n = state.params['policy'], self.samples
    problem = np.asarray(batch.rows.problem)
    prompts = self.task.prompts(problem)
    first = self._write(keys[0], policy, prompts, n)
    reward = self.task.verify(np.repeat(problem, n), first.tokens)
    reward = reward.reshape(-1, n)
    solved = (reward > 0.5).any(1)
    wrong = np.logical_not(solved) if self.gate else np.ones_like(solved)

    # One more answer to each problem; those to unsolved ones are not used.
    more = self._write(keys[1], policy, prompts)
    again, spent, there = self._refine(
      keys[2:], state, problem, first.tokens, reward, wrong
    )
    chosen = wrong[:, None]
    last = jax.tree.map(lambda a, b: np.where(chosen, a, b), again, more.tokens)
    last_reward = self.task.verify(problem, last)
    last_reward = np.where(wrong & ~there, np.nan, last_reward)
    both = np.concatenate([reward, last_reward[:, None]], 1)
    texts = _texts(prompts, first.tokens, last, both, wrong, batch.rows.mask)
    # A refinement was not written under the prompt that it is scored under.
    its = np.where(chosen, np.nan, more.logprob)
    said = np.concatenate([first.logprob, its])
    used = more.tokens.mask.sum(1)[~wrong].sum()
    counted = np.asarray(batch.rows.mask) > 0
    joint = outcomes.outcomes(both, counted)
    metrics = {
      **outcomes.outcomes(reward, counted),
      'no_gradient': joint['no_gradient'],
      'tokens': outcomes.total(first.tokens.mask.sum() + used + spent),
      'criticised': outcomes.as_mean(wrong, counted),
      'valid_refinement': outcomes.as_mean(
        last_reward > 0.5, wrong & there & counted
      ),
      'no_critique': outcomes.as_mean(~there, wrong & counted),
    }
    return types.Batch(self.prepare(state, texts, said)), metrics

  def _write(self, key, params, prompts, count=1):
    return rollouts.write(
      key, self.config, params, prompts, self.task, count=count, **self.writing
    )

  def _refine(self, keys, state, problem, attempts, reward, wrong):
    """Returns the best refinements, tokens spent, and where there are any."""
    B, m = len(problem), self.refined
    row = (np.arange(B)[:, None] * self.samples + np.arange(m)).ravel()
    tried = padding.take(attempts, row)
    asked, policy = np.repeat(problem, m), state.params['policy']
    said, cost = self.critic(
      keys[0], policy, asked, tried, reward[:, :m].ravel()
    )
    there = np.asarray(said.mask).any(axis=1)
    writer = policy if self.live else state.constants.start
    prompts = self.task.refine(asked, tried, said)  # type: ignore[misc]
    found = self._write(keys[1], writer, prompts).tokens
    value = self.task.verify(asked, found)
    value = np.where(there & np.isfinite(value), value, -1.0)
    best = value.reshape(B, m).argmax(1) + np.arange(B) * m
    needed = np.repeat(wrong, m)
    # All were criticised and written again; what counts are unsolved ones.
    spent = found.mask.sum(1)[needed].sum() + cost * needed.mean()
    chosen = padding.take(found, best)
    return chosen, spent, np.asarray(there)[best]


def _check(task, samples, refined, refiner) -> None:
  if refiner not in REFINERS:
    raise ValueError(f'refiner {refiner!r}: one of {REFINERS}')
  if not 1 <= refined <= samples:
    raise ValueError(f'{refined} refinements of {samples} answers')
  if task.refine is None:
    raise ValueError('the task has no `refine`: it cannot ask again')


def _texts(prompts, first, last, reward, wrong, mask) -> rollouts.Texts:
  """Returns answers, then last texts, with their joint advantages."""
  B, width = reward.shape
  n = width - 1
  there = np.isfinite(reward)
  advantage = np.asarray(
    policy_gradient.joint(jnp.asarray(reward), jnp.asarray(there, jnp.int32))
  )
  answers = jax.tree.map(lambda a, b: np.concatenate([a, b]), first, last)
  # A problem counts once: the mean over its answers, and its refinement.
  share = 1.0 / np.where(wrong, n, n + 1)
  count = np.concatenate([np.repeat(share, n), np.where(wrong, 0.0, share)])
  return rollouts.Texts(
    padding.join(padding.repeat(prompts, n), prompts),
    answers,
    np.concatenate([advantage[:, :n].ravel(), advantage[:, n]]),
    mask=np.concatenate([there[:, :n].ravel(), there[:, n]])
    * np.concatenate([np.repeat(mask, n), mask]),
    second=np.concatenate([np.zeros(B * n), wrong]),
    weight=np.where(count > 0, count, 1.0),
    share=count,
  )
