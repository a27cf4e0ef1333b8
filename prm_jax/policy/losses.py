"""What an update of a policy descends: a tuple of terms.

A term says the loss of every token, its weight, how tokens are summed and
which texts it is of. A learner builds the tuple; what no term reads is neither
computed nor carried.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import distillation, policy_gradient
from prm_jax.policy import logprobs

# Leaves of the rollouts that a term may read beside the texts themselves.
WRITER, REFERENCE, TEACHER = 'old_logprob', 'reference', 'teacher'


class Scored(NamedTuple):
  """B texts under the policy that is trained.

  Attributes:
    logits: `[B, N, V]` of the answers' tokens.
    logprob: `[B, N]` of these tokens.
    rows: the texts, as `rollouts.Rollouts`.
  """

  logits: types.Array
  logprob: types.Array
  rows: Any


class Term(NamedTuple):
  """A part of a loss.

  Attributes:
    name: no two terms of a loss have the same.
    token_loss: of every token, `[B, N]`; what it says of padding is not read.
    weight: of the term; one of weight 0 is reported and not descended.
    by: the sum over a text's tokens, see `policy_gradient.summed`.
    second: the texts that it is of: None, all; True, those marked `second`;
      False, the others.
    apart: whether its mean is over these texts alone, not over all.
    reads: what it needs beside the texts: `WRITER`, `REFERENCE`, `TEACHER`.
    figure: name under which its mean over tokens is reported; not if ''.
  """

  name: str
  token_loss: Callable[[Scored], types.Array]
  weight: float = 1.0
  by: str = 'sum'
  second: bool | None = None
  apart: bool = False
  reads: tuple[str, ...] = ()
  figure: str = ''


Loss = tuple[Term, ...]


def surrogate(
  kind: str = 'clipped',
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  gamma: float = 0.1,
  name: str = 'surrogate',
  **fields: Any,
) -> Term:
  """Returns the term of advantages; see `policy_gradient.surrogate`.

  Args:
    kind: of the ratio.
    clip_low: of the clipped kinds.
    clip_high: of the clipped kinds.
    gamma: of the shaped kinds.
    name: of the term.
    **fields: other fields of `Term`.
  """
  reads = (WRITER,) if kind in policy_gradient.RATIOS else ()

  def token_loss(scored):
    rows = scored.rows
    old = rows.old_logprob if reads else scored.logprob
    return -policy_gradient.surrogate(
      scored.logprob,
      old,
      rows.advantage,
      rows.answer,
      kind=kind,
      clip_low=clip_low,
      clip_high=clip_high,
      gamma=gamma,
    )

  return Term(name, token_loss, reads=reads, **fields)


def kl(weight: float, **fields: Any) -> Term:
  """Returns the divergence from the reference, whose gradient is KL's (k2)."""

  def token_loss(scored):
    return policy_gradient.kl_estimate(
      scored.logprob, scored.rows.reference, 'k2'
    )

  return Term('kl', token_loss, weight, reads=(REFERENCE,), **fields)


def distilled(alpha: float, weight: float = 1.0, **fields: Any) -> Term:
  """Returns the divergence from a teacher, of the texts marked `second`.

  Args:
    alpha: see `distillation.divergence`.
    weight: of the term.
    **fields: other fields of `Term`.
  """

  def token_loss(scored):
    student = jax.nn.log_softmax(scored.logits)
    return distillation.divergence(student, scored.rows.teacher, alpha=alpha)

  fields = {'second': True, **fields}
  return Term('distilled', token_loss, weight, reads=(TEACHER,), **fields)


def entropy(bonus: float = 0.0, **fields: Any) -> Term:
  """Returns the entropy, which is reported, and raised where it has a bonus.

  Args:
    bonus: minus the weight of the term.
    **fields: other fields of `Term`.
  """

  def token_loss(scored):
    return policy_gradient.entropy(scored.logits)

  return Term('bonus', token_loss, -bonus, figure='entropy', **fields)


PLAIN: Loss = (surrogate(), entropy())


def reads(loss: Loss, leaf: str) -> bool:
  """Returns whether a term reads `WRITER`, `REFERENCE` or `TEACHER`."""
  return any(leaf in term.reads for term in loss)


def objective(
  config: decoder.DecoderConfig,
  loss: Loss,
  *,
  group: int = 1,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Objective:
  """Returns the objective of `rollouts.Rollouts`: each term has a mean.

  Args:
    config: of the policy.
    loss: what is descended.
    group: texts side by side that have one prompt.
    dtype: of the computation.
    remat: see `Decoder`.

  Raises:
    ValueError: two terms have one name.
  """
  names = [term.name for term in loss]
  if len(set(names)) < len(names):
    raise ValueError(f'two terms have one name: {names}')

  def of(params, people, state, batch, gather):
    del people, state, gather
    rows = jax.tree.map(jnp.asarray, batch.rows)
    width = rows.answer.shape[1]
    logits = logprobs.logits(
      config,
      params['policy'],
      rows.ids,
      rows.seen,
      width,
      group=group,
      gap=rows.gap,
      dtype=dtype,
      remat=remat,
    )
    scored = Scored(logits, logprobs.at(logits, rows.ids[:, -width:]), rows)
    totals, figures = {}, {}
    if rows.sampler_logprob is not None:
      figures['sampler_gap'] = _gap(scored)
    for term in loss:
      if not (term.weight or term.figure):
        continue
      value = jnp.where(rows.answer > 0, term.token_loss(scored), 0.0)
      if term.figure:
        figures[term.figure] = _per_token(value, rows.answer)
      if term.weight:
        totals[term.name] = _weighed(term, value, rows)
    return totals, {}, figures

  return of


def _gap(scored):
  """Returns how far the sampler's log-probabilities are from ours, and where.

  They are NaN for texts that were written under another prompt.
  """
  theirs = scored.rows.sampler_logprob
  own = (scored.rows.answer > 0) & jnp.isfinite(theirs)
  gap = jnp.where(own, jnp.abs(scored.logprob - theirs), 0.0)
  return gap.sum(-1), own.sum(-1).astype(gap.dtype)


def _per_token(value, answer):
  """Returns the figure of each text: its mean over tokens."""
  each = value.sum(-1) / jnp.maximum(answer.sum(-1), 1)
  return each, jnp.ones_like(each)


def _weighed(term, value, rows):
  """Returns a term's total and count of every text."""
  total, count = policy_gradient.summed(
    value, rows.answer.astype(value.dtype), by=term.by, length=value.shape[1]
  )
  total, count = term.weight * rows.weight * total, rows.share * count
  if term.second is None:
    return total, count
  chosen = (rows.second > 0) == term.second
  total = jnp.where(chosen, total, 0.0)
  return total, jnp.where(chosen, count, 0.0) if term.apart else count
