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
    task,
    critic,
    config,
    samples,
    requests if predict else None,
    predict,
    training.writing,
  )
  if predict:  # second tries and critiques have a mean each
    loss = (
      *(term._replace(second=False, apart=True) for term in loss),
      losses.surrogate('log', name='critique', second=True, apart=True),
    )
  # Critiques are predicted after prompts of their own.
  group = 1 if predict else samples
  return phases.trained(config, loss, training, collect, group=group)


def _collector(task, critic, config, samples, requests, predict, writing):
  """Returns `Phase.collect`: writes twice, with a critique between."""
  verify = tasks.verifier(task)

  def collect(key, state, batch):
    keys = tasks.split(key, 3)
    policy = state.params['policy']
    problem = np.asarray(batch.rows.problem)
    prompts = padding.repeat(task.prompts(problem), samples)
    asked = np.repeat(problem, samples)

    def say(key, prompts, active=None):
      return rollouts.draw(
        key, config, policy, prompts, task, active=active, **writing
      ).tokens

    first = say(keys[0], prompts)
    # What a critic reads: nothing else is fetched of a step.
    first, before = jax.device_get((first, verify(asked, first)))
    # Without a first answer whose reward is known there is no baseline.
    based = np.isfinite(before.reshape(-1, samples)).any(1).repeat(samples)
    critiques, spent = critic(keys[1], policy, asked, first, before, based)
    active = based & critiques.mask.any(1)
    second = say(keys[2], task.refine(asked, first, critiques), active)
    texts, metrics = _credited(
      prompts,
      first,
      second,
      before,
      verify(asked, second),
      active,
      batch.rows.mask,
      spent,
    )
    if requests is not None:
      texts = _beside(
        texts, requests(asked, first), critiques, predict, batch.rows.mask
      )
    return types.Batch(rollouts.arranged(texts)), metrics

  return collect


@jax.jit
def _credited(prompts, first, second, before, after, active, mask, spent):
  """Returns second tries with what they are credited with, and figures."""
  n = len(before) // len(mask)
  before, each = before.reshape(-1, n), mask.repeat(n)
  rewarded = jnp.isfinite(after) & active
  advantage = policy_gradient.first_turn(
    jnp.where(rewarded, after, 0.0).reshape(-1, n), outcomes.fill(before)
  )
  credit = advantage.ravel() * rewarded
  texts = rollouts.Texts(prompts, second, credit, rewarded * each)
  tokens = first.mask.sum() + second.mask.sum() + spent
  figures = {
    **outcomes.outcomes(before, mask),
    'no_gradient': outcomes.as_mean(~credit.reshape(-1, n).any(1), mask),
    'valid_refinement': outcomes.as_mean(after > 0.5, rewarded * each),
    'tokens': outcomes.total(tokens),
  }
  return texts, figures


@jax.jit
def _beside(texts, requests, critiques, predict, mask) -> rollouts.Texts:
  """Returns second tries, and critiques after what asks for them."""
  count = len(texts.mask)
  spoken = critiques.mask.any(1) * mask.repeat(count // len(mask))
  return rollouts.Texts(
    padding.join(texts.prompts, requests),
    # Critiques in words are padded on the left.
    padding.stack(texts.answers, critiques),
    jnp.concatenate([texts.advantage, jnp.full(count, predict)]),
    jnp.concatenate([texts.mask, spoken]),
    second=jnp.arange(2 * count) >= count,
  )
