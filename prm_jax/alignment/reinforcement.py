"""Reinforcement fine-tuning of a policy on a reward of the texts it writes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.ops import policy_gradient


class Policy(NamedTuple):
  """How a policy of given parameters writes, and how likely texts are.

  Attributes:
    sample: `(key, params, (B, n)) -> texts`, leaves `[B, n, ...]`: n texts for
      each of B prompts. Prompts, where there are any, are drawn here and kept
      with the texts.
    log_probability: `(params, texts) -> [B, n]`, differentiable.
  """

  sample: Callable[[types.Key, types.PyTree, tuple[int, int]], types.PyTree]
  log_probability: Callable[[types.PyTree, types.PyTree], types.Array]


class History(NamedTuple):
  """What happened at every step, `[steps]`, of the sampled texts.

  Attributes:
    reward: mean reward.
    kl: mean log pi / pi_0, nats: an estimate of KL(pi | pi_0).
  """

  reward: types.Array
  kl: types.Array


def fine_tune(
  key: types.Key,
  policy: Policy,
  params: types.PyTree,
  reward: Callable[[types.PyTree], types.Array],
  *,
  steps: int,
  batch: int = 8,
  samples: int = 8,
  learning_rate: float | types.Array = 0.05,
  kl_weight: float | types.Array = 0.0,
) -> tuple[types.PyTree, History]:
  """Returns parameters that write what is rewarded, and the history.

  Raises E r - kl_weight KL(pi | pi_0), whose optimum over all policies is
  pi_0 exp(r / kl_weight) / Z, by REINFORCE with RLOO's advantages of

      r(y) - kl_weight (log pi(y) - log pi_0(y))

  on fresh samples: one step a batch, and nothing to clip. The learning rate
  falls to 1 % along a cosine.

  Args:
    key: of the samples.
    policy: how it samples and scores.
    params: of pi_0.
    reward: `texts -> [B, n]`; frozen, and not differentiated.
    steps: of Adam.
    batch: B prompts a step.
    samples: n texts a prompt, at least 2.
    learning_rate: of Adam.
    kl_weight: nats cost this much reward.

  References:
    Ahmadian et al. 2024 (RLOO), arXiv:2402.14740.
  """
  schedule = optax.cosine_decay_schedule(1.0, steps, 0.01)
  optimizer = optax.chain(
    optax.scale_by_adam(), optax.scale_by_schedule(schedule)
  )
  start = params

  def objective(params, texts):
    logprob = policy.log_probability(params, texts)
    ratio = jax.lax.stop_gradient(
      logprob - policy.log_probability(start, texts)
    )
    found = reward(texts)
    worth = jax.lax.stop_gradient(found) - kl_weight * ratio
    advantage = policy_gradient.leave_one_out(worth)
    return jnp.mean(advantage * logprob), History(found.mean(), ratio.mean())

  def step(carry, i):
    params, state = carry
    texts = policy.sample(jax.random.fold_in(key, i), params, (batch, samples))
    gradient, now = jax.grad(objective, has_aux=True)(params, texts)
    change, state = optimizer.update(gradient, state, params)
    change = jax.tree.map(lambda leaf: learning_rate * leaf, change)
    return (optax.apply_updates(params, change), state), now

  @jax.jit
  def run(carry):
    return jax.lax.scan(step, carry, jnp.arange(steps))

  (params, _), history = run((params, optimizer.init(params)))
  return params, history
