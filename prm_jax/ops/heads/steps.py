"""Process rewards: losses of steps, and one score of the steps of an answer.

Tokens are `[..., T]`, on which the mask names those that a step is scored at:
its separator, or a placeholder. Labels `[...]` are j / (C - 1) for one of C
classes, the last of which is 'right': 0 and 1, or 0, 0.5, 1, and what lies
between for soft labels. Where the mask is 0 they may hold anything, -100
included. Answers may be packed: `segment` says which one a token is of.
"""

import chex
import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import ordinal

AGGREGATES = ('product', 'min', 'last', 'mean_log', 'sum_logits')


def step_nll(
  logits: types.Array, label: types.Array, mask: types.Array
) -> types.Array:
  """Returns the cross-entropy of every step `[..., T]`, 0 where masked.

  Args:
    logits: `[..., T, C]` of the classes, from wrong to right; 2 or 3.
    label: `[..., T]` j / (C - 1); with two classes, the share of rollouts from
      this step that ended right (see `rollout_label`).
    mask: `[..., T]` 1 at the tokens that steps are scored at.

  References:
    Lightman et al. 2023 (PRM800K), arXiv:2305.20050: three classes, -1, 0, 1;
    Wang et al. 2023 (Math-Shepherd), arXiv:2312.08935: two, hard or soft.
  """
  chex.assert_equal_shape([label, mask])
  chex.assert_shape(logits, (*label.shape, None))
  step = jnp.asarray(mask) > 0
  logits = jnp.where(step[..., None], precision.raised(logits), 0.0)
  label = jnp.where(step, precision.raised(label), 0.0)
  weight = ordinal.level_weights(label, logits.shape[-1])
  nll = optax.losses.safe_softmax_cross_entropy(logits, weight)
  return jnp.where(step, nll, 0.0)


def placeholder_nll(
  logits: types.Array,
  label: types.Array,
  mask: types.Array,
  *,
  classes: tuple[int, ...],
  vocabulary: bool = False,
) -> types.Array:
  """Returns the cross-entropy of a step's sign `[..., T]`, 0 where masked.

  A language model says at the placeholder's own position which token stands
  for the step.

  Args:
    logits: `[..., T, V]` of the next token.
    label: `[..., T]` j / (C - 1), which of the classes it is.
    mask: `[..., T]` 1 at placeholders.
    classes: the C tokens' ids, from wrong to right, such as those of - and +.
    vocabulary: whether the other tokens compete too, as where the model is
      tuned on texts; else the classes alone do.

  References:
    Wang et al. 2023 (Math-Shepherd), arXiv:2312.08935.

  Raises:
    ValueError: fewer than two classes, one twice, or one that is no token.
  """
  if len(classes) < 2 or len(set(classes)) < len(classes):
    raise ValueError(f'classes {classes}: at least two, none of them twice')
  chex.assert_shape(logits, (*label.shape, None))
  if max(classes) >= logits.shape[-1] or min(classes) < 0:
    raise ValueError(f'classes {classes} of {logits.shape[-1]} tokens')
  step = jnp.asarray(mask)[..., None] > 0
  shown = jnp.where(step, precision.raised(logits), 0.0)
  said = shown[..., jnp.asarray(classes)]
  nll = step_nll(said, label, mask)
  if not vocabulary:
    return nll
  # -log p(class) of all tokens: what the classes have, less than all.
  rest = jax.nn.logsumexp(shown, -1) - jax.nn.logsumexp(said, -1)
  return jnp.where(step[..., 0], nll + rest, 0.0)


def rollout_label(
  right: types.Array, mask: types.Array, *, soft: bool
) -> types.Array:
  """Returns the label `[...]` of a step, told by rollouts that start from it.

  Args:
    right: `[..., R]` 1 for a rollout that ended right.
    mask: `[..., R]` 1 for a rollout; without any the label is 0.
    soft: whether it is the share of right ones, or 1 if there is any.

  References:
    Wang et al. 2023 (Math-Shepherd), arXiv:2312.08935.
  """
  chex.assert_equal_shape([right, mask])
  there = jnp.asarray(mask) > 0
  hits = jnp.sum(jnp.where(there, precision.raised(right), 0.0), -1)
  if not soft:
    return (hits > 0).astype(hits.dtype)
  return hits / jnp.maximum(jnp.sum(there, -1), 1)


def aggregated(
  logit: types.Array,
  mask: types.Array,
  segment: types.Array,
  *,
  segments: int,
  by: str,
) -> types.Array:
  """Returns one score of each answer's steps, `[..., S]`.

  With p = sigma(logit), the probability that a step is right:

      product     sum log p      the logarithm of the product
      min         min log p      of the least
      last        log p          of the last step
      mean_log    mean log p     of the geometric mean
      sum_logits  sum logit

  The logarithm orders answers as the published scores do, and does not
  underflow with many steps.

  Args:
    logit: `[..., T]` that the step is right: of `step_nll`'s two classes, the
      second less the first.
    mask: `[..., T]` 1 at the tokens that steps are scored at.
    segment: `[..., T]` int, which answer a token is of, from 0 to S - 1; one
      that is none of these belongs to no answer.
    segments: S.
    by: one of `AGGREGATES`.

  Returns:
    0 for an answer without steps.

  References:
    product, min: Lightman et al. 2023, arXiv:2305.20050; last: Snell et al.
    2024, arXiv:2408.03314.

  Raises:
    ValueError: unknown aggregate.
  """
  if by not in AGGREGATES:
    raise ValueError(f'aggregate {by!r}: one of {AGGREGATES}')
  chex.assert_equal_shape([logit, mask, segment])
  step = jnp.asarray(mask) > 0
  logit = jnp.where(step, precision.raised(logit), 0.0)
  value = logit if by == 'sum_logits' else jax.nn.log_sigmoid(logit)
  own = step[..., None] & (segment[..., None] == jnp.arange(segments))
  if by == 'last':
    place = jnp.arange(own.shape[-2])[:, None]
    own &= place == jnp.max(jnp.where(own, place, -1), -2, keepdims=True)
  if by == 'min':
    least = jnp.min(jnp.where(own, value[..., None], jnp.inf), -2)
    return jnp.where(jnp.any(own, -2), least, 0.0)
  total = jnp.sum(jnp.where(own, value[..., None], 0.0), -2)
  if by == 'mean_log':
    return total / jnp.maximum(jnp.sum(own, -2), 1)
  return total


def differences(
  value: types.Array,
  mask: types.Array,
  segment: types.Array,
  *,
  start: types.Scalar = 0.0,
) -> types.Array:
  """Returns what every step adds to its answer's value, `[..., T]`.

      v_i - v_(i - 1),   v_0 = start

  Args:
    value: `[..., T]` expected outcome after each step.
    mask: `[..., T]` 1 at the tokens that steps are scored at; 0 elsewhere in
      the result.
    segment: `[..., T]` int; the tokens of an answer are together.
    start: value of an answer before its first step; a number, or `[..., T]`.

  References:
    Setlur et al. 2024, Rewarding progress, arXiv:2410.08146.
  """
  chex.assert_equal_shape([value, mask, segment])
  step = jnp.asarray(mask) > 0
  value = jnp.where(step, precision.raised(value), 0.0)
  start = precision.each(start, value)
  axis = value.ndim - 1
  place = jnp.where(step, jnp.arange(value.shape[-1]), -1)
  seen = jax.lax.cummax(place, axis=axis)  # the last step until here
  none = jnp.full_like(seen[..., :1], -1)
  before = jnp.concatenate([none, seen[..., :-1]], -1)
  at = jnp.maximum(before, 0)
  same = jnp.take_along_axis(segment, at, -1) == segment
  previous = jnp.take_along_axis(value, at, -1)
  previous = jnp.where((before >= 0) & same, previous, start)
  return jnp.where(step, value - previous, 0.0)
