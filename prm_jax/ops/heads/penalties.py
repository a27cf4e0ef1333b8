"""What is added to a head's loss: where scores lie, and what they follow."""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import choices


def centring(score: types.Array) -> types.Array:
  """Returns (r_1 + r_2)^2 `[...]`: pairs say nothing of where scores lie.

  Args:
    score: `[..., 2]` of both answers, logits.

  References:
    Eisenstein et al. 2023, Helping or herding?, arXiv:2312.09244: weighed by
    0.01.
  """
  chex.assert_axis_dimension(score, -1, 2)
  return jnp.sum(precision.raised(score), -1) ** 2


def barrier(
  score: types.Array, *, bound: float = 5.0, slack: float = 0.1
) -> types.Array:
  """Returns the penalty `[...]` that keeps scores between -bound and bound.

      -log(bound - r) - log(r + bound),

  each term going on as a straight line of the same slope from bound - slack.

  Args:
    score: `[...]` r, logits.
    bound: > slack.
    slack: > 0; the slope beyond is 1 / slack.

  References:
    Kervadec et al. 2019, Constrained deep networks, arXiv:1904.04205.

  Notes:
    `discrimination.log_barrier` is the clamped form of a released trainer,
    without a gradient beyond the bound; this one brings scores back.
  """
  score = precision.raised(score)

  def one(distance):
    near = jnp.maximum(distance, slack)
    return -jnp.log(near) + (near - distance) / slack

  return one(bound - score) + one(score + bound)


def positive(score: types.Array, label: types.Array) -> types.Array:
  """Returns -log sigma(score of the preferred answer), `[...]`.

      y softplus(-r_1) + (1 - y) softplus(-r_2)

  Args:
    score: `[..., 2]` of both answers, logits.
    label: `[...]` y, probability that the first is preferred.

  References:
    Yang et al. 2024 (GRM), arXiv:2406.10216, released code.

  Notes:
    The code takes -log sigma of the batch's mean score, which depends on how
    rows are divided among devices. This is a row's own; its mean is not below
    that.
  """
  chex.assert_shape(score, (*label.shape, 2))
  zero = jnp.zeros_like(precision.raised(label))
  score, label = precision.raised(score), precision.raised(label)
  # An answer that has no part may be infinite.
  first = jnp.where(label > 0, score[..., 0], zero)
  second = jnp.where(label < 1, score[..., 1], zero)
  return label * jax.nn.softplus(-first) + (1.0 - label) * jax.nn.softplus(
    -second
  )


def _own(leaf):
  return leaf


def correlation(
  first: types.Array,
  second: types.Array,
  mask: types.Array,
  gather: types.Gather = _own,
) -> types.Array:
  """Returns Pearson's correlation of two columns over all devices, `[]`.

  Args:
    first: `[B, ...]`.
    second: `[B, ...]`.
    mask: `[B, ...]` 1 for what counts, 0 for padding.
    gather: as `types.Objective` is given it: rows of this device -> of all.

  Returns:
    0, without gradient, where a column does not vary, or has no two rows.
  """
  chex.assert_equal_shape([first, second, mask])
  there = jnp.asarray(gather(mask)) > 0
  count = jnp.maximum(jnp.sum(there), 1)

  def centred(column):
    column = precision.raised(gather(column))
    # From the smallest: a column that does not vary is 0 to the last digit.
    least = jnp.min(jnp.where(there, column, jnp.inf))
    least = jax.lax.stop_gradient(jnp.where(jnp.isinf(least), 0.0, least))
    known = jnp.where(there, column - least, 0.0)
    return jnp.where(there, known - jnp.sum(known) / count, 0.0)

  x, y = centred(first), centred(second)
  size = jnp.sum(x**2), jnp.sum(y**2)
  able = (size[0] > 0) & (size[1] > 0)
  # The root of each: their product may overflow.
  a, b = (jnp.sqrt(jnp.where(able, s, 1.0)) for s in size)
  return jnp.where(able, jnp.sum((x / a) * (y / b)), 0.0)


def length_parts(
  length_score: types.Array,
  quality_score: types.Array,
  length: types.Array,
  mask: types.Array,
  gather: types.Gather = _own,
) -> tuple[types.Array, types.Array]:
  """Returns ODIN's two penalties, each `[]`.

      1 - corr(length, r_L),   |corr(length, r_Q)|

  over all answers of all devices. One head learns to follow length so that
  the other need not; the choice's loss is `disentangled`, and r_Q alone is
  the reward afterwards.

  Args:
    length_score: `[B, 2]` r_L of both answers.
    quality_score: `[B, 2]` r_Q.
    length: `[B, 2]` tokens.
    mask: `[B]` 1 for a judgement, 0 for padding.
    gather: as `types.Objective` is given it.

  References:
    Chen et al. 2024 (ODIN), arXiv:2402.07319.

  Notes:
    The released code correlates within a device's own rows. The term that
    would make the heads orthogonal is commented out there;
    it is a function of weights, and left to the caller.
  """
  chex.assert_equal_shape([length_score, quality_score, length])
  chex.assert_shape(length, (*mask.shape, 2))
  both = jnp.broadcast_to(mask[:, None], length.shape)
  follows = correlation(length, length_score, both, gather)
  leaks = correlation(length, quality_score, both, gather)
  return 1.0 - follows, jnp.abs(leaks)


def disentangled(
  length_score: types.Array, quality_score: types.Array, label: types.Array
) -> types.Array:
  """Returns Bradley-Terry losses `[B]` of the sum of ODIN's two heads.

  Args:
    length_score: `[B, 2]` of both answers, logits.
    quality_score: `[B, 2]`.
    label: `[B]` probability that the first is preferred.

  References:
    Chen et al. 2024 (ODIN), arXiv:2402.07319.

  Notes:
    The released code sums rewards over the whole micro-batch before it ranks
    them, which is right for one pair a device. Here each pair is ranked.
  """
  chex.assert_equal_shape([length_score, quality_score])
  chex.assert_shape(length_score, (*label.shape, 2))
  total = precision.raised(length_score) + precision.raised(quality_score)
  return choices.bradley_terry(total[..., 0] - total[..., 1], label)
