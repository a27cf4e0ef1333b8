"""What an update of a policy descends."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import distillation, policy_gradient
from prm_jax.policy import logprobs


class Surrogate(NamedTuple):
  """How a token's advantage becomes an objective; see `ops.policy_gradient`.

  Attributes:
    kind: of the ratio.
    clip_low, clip_high: of the clipped kinds.
    gamma: of the shaped ones.
  """

  kind: str = 'clipped'
  clip_low: float = 0.2
  clip_high: float = 0.2
  gamma: float = 0.1


class Loss(NamedTuple):
  """What an update descends, beside advantages.

  Attributes:
    first: surrogate of texts.
    second: surrogate of the texts marked so (refinements); none if None.
    by: see `policy_gradient.summed`.
    kl: weight of k2 to the reference, whose gradient is the divergence's.
    entropy: weight of the entropy, which is raised.
    distill: weight of the divergence from a teacher, of texts marked as second.
    alpha: of the divergence; see `distillation.divergence`.
    apart: whether texts marked as second have a mean of their own, which is
      added to that of the others.
  """

  first: Surrogate = Surrogate()
  second: Surrogate | None = None
  by: str = 'sum'
  kl: float = 0.0
  entropy: float = 0.0
  distill: float = 0.0
  alpha: float = 1.0
  apart: bool = False


PLAIN = Loss()


def objective(
  config: decoder.DecoderConfig,
  loss: Loss,
  *,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Objective:
  """Returns the objective of `Rollouts`: a surrogate of every text.

  Args:
    config: of the policy.
    loss: what is descended. With `kl`, `teacher` of the rollouts is the
      reference's log-probabilities `[B, N]`; with `distill`, the teacher's of
      all tokens, `[B, N, V]`.
    dtype: of the computation.
    remat: see `Decoder`.

  Raises:
    ValueError: the loss has both `kl` and `distill`.
  """
  if loss.kl and loss.distill:
    raise ValueError('a loss has a reference or a teacher, not both')

  def valued(part, now, rows):
    return policy_gradient.surrogate(
      now, jnp.asarray(rows.old_logprob), jnp.asarray(rows.advantage),
      jnp.asarray(rows.answer), kind=part.kind, clip_low=part.clip_low,
      clip_high=part.clip_high, gamma=part.gamma,
    )  # fmt: skip

  def of(params, people, state, batch, gather):
    del people, state, gather
    rows = batch.rows
    ids, answer = jnp.asarray(rows.ids), jnp.asarray(rows.answer)
    width = answer.shape[1]
    logit = logprobs.logits(
      config, params['policy'], ids, jnp.asarray(rows.seen), width,
      dtype=dtype, remat=remat,
    )  # fmt: skip
    now = logprobs.at(logit, ids[:, -width:])
    value = valued(loss.first, now, rows)
    if loss.second is not None:
      chosen = jnp.asarray(rows.second)[:, None] > 0
      value = jnp.where(chosen, valued(loss.second, now, rows), value)
    spread = jnp.where(answer > 0, policy_gradient.entropy(logit), 0.0)
    if loss.entropy:
      value = value + loss.entropy * spread
    if loss.kl:
      apart = policy_gradient.kl_estimate(now, jnp.asarray(rows.teacher), 'k2')
      value = value - loss.kl * jnp.where(answer > 0, apart, 0.0)
    if loss.distill:
      apart = distillation.divergence(
        jax.nn.log_softmax(logit), jnp.asarray(rows.teacher), alpha=loss.alpha
      )
      told = (answer > 0) & (jnp.asarray(rows.second)[:, None] > 0)
      value = value - loss.distill * jnp.where(told, apart, 0.0)
    total, count = policy_gradient.summed(
      value, answer.astype(value.dtype), by=loss.by, length=width
    )
    total = -jnp.asarray(rows.weight) * total
    count = jnp.asarray(rows.share) * count
    terms = {'surrogate': (total, count)}
    if loss.apart:
      second = jnp.asarray(rows.second)
      first = 1.0 - second
      terms = {
        'first': (first * total, first * count),
        'second': (second * total, second * count),
      }
    each = spread.sum(-1) / jnp.maximum(answer.sum(-1), 1)
    return terms, {}, {'entropy': (each, jnp.ones_like(each))}

  return of
