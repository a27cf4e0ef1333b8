"""Distillation at tokens: divergences, and advantages of a better-told teacher.

A teacher is a policy that reads more (a hint, a critique, a right answer). Its
log-probabilities of the student's own tokens say, token by token, what it
would have written instead.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types

SELECTIONS = ('sequence_optimal', 'token_optimal', 'shortest')


def divergence(
  student: types.Array, teacher: types.Array, *, alpha: float
) -> types.Array:
  """Returns a generalised Jensen-Shannon divergence `[...]`, nats.

      alpha = 0          KL(teacher | student), forward
      alpha = 1          KL(student | teacher), reverse
      between            (1 - alpha) KL(student | M) + alpha KL(teacher | M),
                         M = (1 - alpha) student + alpha teacher

  Args:
    student: `[..., V]` log-probabilities; -inf where a token cannot be drawn.
    teacher: `[..., V]`.
    alpha: 0 to 1; SDPO takes 1/2.

  Raises:
    ValueError: alpha is not in [0, 1].

  References:
    Agarwal et al. 2024 (GKD), arXiv:2306.13649; Hubotter et al. 2026 (SDPO),
    arXiv:2601.20802.

  Notes:
    The mixture's limits at 0 and 1 are 0, not the divergences; as in SDPO's
    code, the ends stand for the divergences.
  """
  if not 0 <= alpha <= 1:
    raise ValueError(f'alpha {alpha} is not in [0, 1]')
  chex.assert_equal_shape([student, teacher])
  if alpha == 0:
    return _kl(teacher, student)
  if alpha == 1:
    return _kl(student, teacher)
  mixed = jnp.logaddexp(student + jnp.log1p(-alpha), teacher + jnp.log(alpha))
  return (1 - alpha) * _kl(student, mixed) + alpha * _kl(teacher, mixed)


def _kl(p, q):
  """Returns KL(p | q) `[...]`; terms of zero probability are zero."""
  there = p > -jnp.inf
  gap = jnp.where(there, p, 0.0) - jnp.where(there, q, 0.0)
  return jnp.where(there, jnp.exp(p) * gap, 0.0).sum(-1)


def top_and_tail(logprob: types.Array, index: types.Array) -> types.Array:
  """Returns log-probabilities of some tokens and of all others, `[..., k + 1]`.

  A divergence of these is at most that of the whole, and equal if the tail of
  both has one token or none.

  Args:
    logprob: `[..., V]`.
    index: `[..., k]` different tokens, of the teacher's or student's top.
  """
  chosen = jnp.take_along_axis(logprob, index, -1)
  known = jax.nn.logsumexp(chosen, -1, keepdims=True)
  # What rounding leaves of an empty tail is no evidence, and not infinite.
  left = jnp.maximum(-jnp.expm1(known), jnp.finfo(logprob.dtype).eps)
  tail = jnp.log(left)
  return jnp.concatenate([chosen, tail], -1)


def sampled_reverse(student: types.Array, teacher: types.Array) -> types.Array:
  """Returns a loss `[...]` whose gradient is that of KL(student | teacher).

      sg(log student - log teacher) log student

  of tokens the student drew: the average of its gradient is the divergence's.
  Its value means nothing.

  Args:
    student: `[..., T]` log-probabilities of the tokens.
    teacher: `[..., T]`.
  """
  chex.assert_equal_shape([student, teacher])
  gap = jax.lax.stop_gradient(student - teacher)
  return gap * student


def directive(
  teacher: types.Array, old: types.Array, *, clip: float | None = None
) -> types.Array:
  """Returns the directive advantage `[..., T]` of the student's own tokens.

      log pi_T(a | s, hint) - log pi_old(a | s), within [-clip, clip]

  Its mean over tokens that pi_old draws is -KL(pi_old | pi_T), and the policy
  gradient with it is minus that divergence's gradient.

  Args:
    teacher: `[..., T]` log-probabilities given the hint.
    old: `[..., T]` without it, under the policy that wrote the tokens.
    clip: nats; no limit if None.

  References:
    OpenClaw-RL 2026, arXiv:2603.10165; Lu 2025, On-policy distillation.
  """
  chex.assert_equal_shape([teacher, old])
  gap = teacher - old
  return gap if clip is None else jnp.clip(gap, -clip, clip)


def combined(
  verdict: types.Array,
  directed: types.Array,
  *,
  evaluative: float | types.Array = 1.0,
  directive_weight: float | types.Array = 1.0,
) -> types.Array:
  """Returns summed advantages `[..., T]` of a verdict and of a hint.

  Args:
    verdict: `[...]` +1, -1 or 0 (none) of the whole text.
    directed: `[..., T]`, see `directive`; 0 where there was no hint.
    evaluative: weight of the verdict.
    directive_weight: of the hint.
  """
  chex.assert_rank(directed, verdict.ndim + 1)
  return evaluative * verdict[..., None] + directive_weight * directed


def select_hint(
  student: types.Array,
  teachers: types.Array,
  mask: types.Array,
  *,
  top: int = 4,
  by: str = 'sequence_optimal',
  lengths: types.Array | None = None,
) -> types.Array:
  """Returns which hint each token is taught by, `[..., T]` int32.

  The overlap of the student's and a teacher's likeliest tokens says whether
  the student can follow the hint at all.

  Args:
    student: `[..., T, V]` logits without a hint.
    teachers: `[..., H, T, V]` logits with each of H hints.
    mask: `[..., T]` tokens that count.
    top: how many likeliest tokens are compared.
    by: 'sequence_optimal' (the hint of the greatest overlap over the text),
      'token_optimal' (at each token) or 'shortest'.
    lengths: `[..., H]` of the hints, for 'shortest'.

  Raises:
    ValueError: unknown selection, or 'shortest' without lengths.
  """
  if by not in SELECTIONS:
    raise ValueError(f'selection {by!r}: one of {SELECTIONS}')
  if by == 'shortest':
    if lengths is None:
      raise ValueError('the shortest hint is chosen by `lengths`: give them')
    best = jnp.argmin(lengths, -1)
    return jnp.broadcast_to(best[..., None], mask.shape).astype(jnp.int32)
  mine = jax.lax.top_k(student, top)[1][..., None, :, :]
  theirs = jax.lax.top_k(teachers, top)[1]
  equal = mine[..., :, None] == theirs[..., None, :]
  overlap = equal.any(-1).sum(-1) * mask[..., None, :]
  if by == 'token_optimal':
    return jnp.argmax(overlap, -2).astype(jnp.int32)
  best = jnp.argmax(overlap.sum(-1), -1)
  return jnp.broadcast_to(best[..., None], mask.shape).astype(jnp.int32)
