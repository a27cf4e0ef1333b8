"""RLTF: what a second try earns is credited to a first."""

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

PUBLISHED = (losses.surrogate('log'), losses.entropy())


def rltf(
  *,
  task: tasks.Task,
  critic: critics.Critic,
  config: decoder.DecoderConfig,
  samples: int = 4,
  requests: critics.Requests | None = None,
  predict: float = 0.0,
  loss: losses.Loss = PUBLISHED,
  training: phases.Training = phases.DEFAULT,
) -> types.Learner:
  """Returns the learner of a policy from answers that a critique improved.

      grad = mean A_i grad log pi(y1_i | x),  A_i = R(y1_i) - mean R(y0)

  where y0 are first answers and y1 what was written after their critiques,
  scored under the plain prompt (RLTF-SD). With `predict`, the critiques are
  learned too (RLTF-FM): predict sum_i -log pi(c_i | x, y0_i).

  Args:
    task: what is asked, what is right, and how it is asked again.
    critic: what is said of an answer.
    config: of the policy's decoder.
    samples: first answers to a problem, each of which is written again.
    requests: how a critique is asked for; needed by `predict`.
    predict: weight of the critiques.
    loss: of kind 'log': not weighted by the writer's probability, as
      published.
    training: rate, steps and precision.

  Raises:
    ValueError: the task cannot ask again, critiques cannot be asked for, or
      the loss reads a writer's, reference's or teacher's probability.

  References:
    Chen et al. 2026 (RLTF), arXiv:2602.02482.
  """
  if task.refine is None:
    raise ValueError('the task has no `refine`: it cannot ask again')
  asking = [term.name for term in loss if term.reads]
  if asking:
    raise ValueError(f'RLTF knows no probability but its own: not {asking}')
  if predict and requests is None:
    raise ValueError('critiques are predicted after `requests`: give them')
  collect = _collector(
    task, critic, config, samples, requests if predict else None, predict,
    training.writing,
  )  # fmt: skip
  if predict:  # second tries and critiques have a mean each
    loss = (
      *(term._replace(second=False, apart=True) for term in loss),
      losses.surrogate('log', name='critique', second=True, apart=True),
    )
  return phases.trained(config, loss, training, collect)


def _collector(task, critic, config, samples, requests, predict, writing):
  """Returns `Phase.collect`: writes twice, with a critique between."""

  def collect(key, state, batch):
    keys = jax.random.split(key, 3)
    policy = state.params['policy']
    problem = np.asarray(batch.rows.problem)
    prompts = padding.repeat(task.prompts(problem), samples)
    asked = np.repeat(problem, samples)
    mask = np.repeat(batch.rows.mask, samples)

    def say(key, prompts):
      return rollouts.write(
        key, config, policy, prompts, task, **writing
      ).tokens

    first = say(keys[0], prompts)
    before = task.verify(asked, first).reshape(-1, samples)
    critique, cost = critic(keys[1], policy, asked, first, before.ravel())
    there = np.asarray(critique.mask).any(axis=1)
    second = say(keys[2], task.refine(asked, first, critique))
    after = task.verify(asked, second)
    # Without a first answer whose reward is known there is no baseline.
    based = np.isfinite(before).any(1).repeat(samples)
    known = np.isfinite(after) & there & based
    advantage = policy_gradient.first_turn(
      jnp.asarray(np.where(known, after, 0.0)).reshape(-1, samples),
      jnp.asarray(outcomes.fill(before)),
    )
    credit = np.asarray(advantage).ravel() * known
    texts = [(prompts, second, credit, known * mask)]
    if requests is not None:
      share = np.full(len(asked), predict)
      texts.append((requests(asked, first), critique, share, there * mask))
    made = _rollouts(texts)
    metrics = {
      **outcomes.outcomes(before, batch.rows.mask),
      'no_gradient': outcomes.as_mean(
        ~credit.reshape(-1, samples).any(1), batch.rows.mask
      ),
      'valid_refinement': outcomes.as_mean(after > 0.5, known * mask),
      'tokens': outcomes.total(first.mask.sum() + second.mask.sum() + cost),
    }
    return types.Batch(made), metrics

  return collect


def _rollouts(texts) -> rollouts.Rollouts:
  """Returns second tries and critiques, each of which has a mean."""
  # Critiques in words are padded on the left.
  answers = padding.stack(*(answer for _, answer, *_ in texts))
  prompts = padding.join(*(prompt for prompt, *_ in texts))
  advantage = np.concatenate([value for *_, value, _ in texts])
  mask = np.concatenate([value for *_, value in texts])
  ids, seen = padding.follow(prompts, answers)
  zeros = np.zeros(answers.mask.shape, np.float32)
  ones = np.ones(len(ids), np.float32)
  second = np.arange(len(ids)) >= len(texts[0][1].ids)
  return rollouts.Rollouts(
    ids, seen, answers.mask, zeros + advantage[:, None],
    second.astype(np.float32), ones, ones, np.asarray(mask, np.float32),
    np.arange(len(ids), dtype=np.int32),
  )  # fmt: skip
