"""Split conformal prediction, for everybody together and person by person.

A nonconformity score says how badly an answer fits what was predicted, larger
is worse. Of n calibration scores the threshold is the k-th smallest,

    k = ceil((n + 1) (1 - alpha)),

and a new answer conforms if its score is at most that. If the n + 1 scores are
exchangeable the chance of it is at least 1 - alpha, and, without ties, exactly
k / (n + 1). With n < 1 / alpha - 1 no score is large enough and the threshold
is infinite: intervals are the line, and sets hold every class. What is
promised is a mean over calibrations and answers, not for one calibration.

References:
  Vovk, Gammerman and Shafer 2005; Angelopoulos and Bates 2021,
  arXiv:2107.07511.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types

_SAME = 1e-6  # levels that differ by this share are one: float32 of alpha

# ------------------------------------------------------------------ thresholds


def rank(count: types.Array, *, alpha: float | types.Array) -> types.Array:
  """Returns k = ceil((n + 1) (1 - alpha)), `[...]` int32.

  Args:
    count: `[...]` n, calibration scores; below a million.
    alpha: share of new answers that may be missed, in (0, 1); a share that is
      a millionth larger is the same.
  """
  n = jnp.asarray(count)
  missed = (n + 1.0) * alpha
  # ceil(n + 1 - x) = n + 1 - floor(x).
  return (n + 1 - jnp.floor(missed * (1.0 + _SAME))).astype(jnp.int32)


def threshold(
  score: types.Array, mask: types.Array, *, alpha: float | types.Array
) -> types.Array:
  """Returns the conformal threshold of each row of scores, `[...]`.

  One row a person is conformal by person: each has the coverage, whatever the
  others' scores are.

  Args:
    score: `[..., N]` calibration scores; NaN is taken as infinite.
    mask: `[..., N]` 1 for a score, 0 for padding, which may hold anything.
    alpha: share of new answers that may be missed, in (0, 1); `[]` or `[...]`.

  Returns:
    `[...]`; infinite where fewer than 1 / alpha - 1 scores are there.

  Examples:
    >>> score = jnp.arange(1.0, 20.0)  # 19 scores: the 19th of 20 * 0.95
    >>> [float(threshold(score[:n], jnp.ones(n), alpha=0.05)) for n in (19, 18)]
    [19.0, inf]
  """
  chex.assert_equal_shape([score, mask])
  there = mask > 0
  N = score.shape[-1]
  known = jnp.where(there & ~jnp.isnan(score), score, jnp.inf)
  count = jnp.sum(there, axis=-1)
  k = rank(count, alpha=alpha)
  # One place more, so that no scores at all are a row, too.
  known = jnp.pad(known, [(0, 0)] * (known.ndim - 1) + [(0, 1)])
  known = jnp.sort(known.at[..., -1].set(jnp.inf), axis=-1)
  place = jnp.clip(k - 1, 0, N)[..., None]
  found = jnp.take_along_axis(known, place, axis=-1)[..., 0]
  return _bounded(found, k, count)


def by_person(
  score: types.Array,
  person: types.Array,
  mask: types.Array,
  *,
  people: int,
  alpha: float | types.Array,
) -> types.Array:
  """Returns everybody's own threshold, `[U]`, from rows in any order.

  The same as `threshold` of rows padded to the most that anybody gave, without
  the padding. A person with fewer than 1 / alpha - 1 answers, or none, gets an
  infinite one; see `with_fallback`.

  Args:
    score: `[B]` calibration scores; NaN is taken as infinite.
    person: `[B]` int, whose each is; rows of nobody below `people` are left
      out.
    mask: `[B]` 1 for a score, 0 for padding.
    people: U.
    alpha: share of new answers that may be missed; `[]` or `[U]`.

  References:
    Vovk 2012, arXiv:1209.2673 (conditional on a category).
  """
  chex.assert_rank([score, person, mask], 1)
  chex.assert_equal_shape([score, person, mask])
  there = (mask > 0) & (person >= 0) & (person < people)
  known = jnp.where(there & ~jnp.isnan(score), score, jnp.inf)
  whose = jnp.where(there, person, people)  # padding is sorted to the end
  count = jnp.zeros(people, jnp.int32).at[whose].add(1, mode='drop')
  start = jnp.cumsum(count) - count
  known = jnp.append(known[jnp.lexsort((known, whose))], jnp.inf)
  k = rank(count, alpha=alpha)
  place = start + jnp.clip(k - 1, 0, jnp.maximum(count - 1, 0))
  return _bounded(known[place], k, count)


def _bounded(found, k, count):
  """Returns what was found, infinite above all scores or below the first."""
  return jnp.where(k > count, jnp.inf, jnp.where(k < 1, -jnp.inf, found))


def with_fallback(own: types.Array, pooled: types.Array) -> types.Array:
  """Returns each person's own threshold where finite, else the pooled one.

  Whether a person has enough answers does not depend on what they are, so that
  both parts keep what they promise: those with their own threshold each have
  the coverage, the others have it together, if the pooled scores are
  exchangeable with theirs, and some of them may have far less.

  Args:
    own: `[U]` from `by_person` or `threshold`.
    pooled: `[]` from `threshold` of everybody's scores.
  """
  chex.assert_rank(pooled, 0)
  return jnp.where(jnp.isposinf(own), pooled, own)


# --------------------------------------------------------------------- numbers


def absolute_residual(
  prediction: types.Array, target: types.Array, scale: types.Array | None = None
) -> types.Array:
  """Returns the score |target - prediction| / scale, `[...]`.

  Args:
    prediction: `[...]`.
    target: `[...]`, in the same unit.
    scale: `[...]` how far targets scatter, above 0, where a model says so:
      intervals are then wide where it is unsure. 1 if None.

  References:
    Lei et al. 2018, arXiv:1604.04173.
  """
  chex.assert_equal_shape([prediction, target])
  error = jnp.abs(target - prediction)
  if scale is None:
    return error
  chex.assert_equal_shape([error, scale])
  return error / scale


def residual_interval(
  prediction: types.Array,
  threshold: types.Array,
  scale: types.Array | None = None,
) -> tuple[types.Array, types.Array]:
  """Returns the lower and the upper end, prediction -+ threshold * scale.

  Args:
    prediction: `[...]`.
    threshold: `[]` or `[...]`, of `absolute_residual`.
    scale: as given there.
  """
  threshold = _broadcast(threshold, prediction)
  width = threshold if scale is None else threshold * scale
  return prediction - width, prediction + width


def quantile_residual(
  low: types.Array, high: types.Array, target: types.Array
) -> types.Array:
  """Returns the score max(low - target, target - high), `[...]`: CQR.

  Negative inside: intervals that are too wide are made narrower.

  Args:
    low: `[...]` predicted quantile at about alpha / 2.
    high: `[...]` predicted quantile at about 1 - alpha / 2.
    target: `[...]`.

  References:
    Romano, Patterson and Candes 2019, arXiv:1905.03222.
  """
  chex.assert_equal_shape([low, high, target])
  return jnp.maximum(low - target, target - high)


def quantile_interval(
  low: types.Array, high: types.Array, threshold: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns (low - threshold, high + threshold).

  Where a negative threshold would cross them, both ends are the middle.

  Args:
    low: `[...]` predicted quantile.
    high: `[...]` predicted quantile.
    threshold: `[]` or `[...]`, of `quantile_residual`.

  Notes:
    The crossed interval is empty in the paper; a point holds no less.
  """
  chex.assert_equal_shape([low, high])
  threshold = _broadcast(threshold, low)
  down, up = low - threshold, high + threshold
  middle = 0.5 * (low + high)
  crossed = down > up
  return jnp.where(crossed, middle, down), jnp.where(crossed, middle, up)


# --------------------------------------------------------------------- classes


def of_pair(probability: types.Array) -> types.Array:
  """Returns the two classes' probabilities `[..., 2]`: first, second preferred.

  Args:
    probability: `[...]` that the first answer is preferred.
  """
  return jnp.stack([probability, 1.0 - probability], axis=-1)


def least_ambiguous(probability: types.Array) -> types.Array:
  """Returns every class's score 1 - p, `[..., C]`.

  The smallest sets on average; hard cases may be missed more often.

  Args:
    probability: `[..., C]` of C classes.

  References:
    Sadinle, Lei and Wasserman 2019, arXiv:1609.00451.
  """
  return 1.0 - probability


def adaptive(probability: types.Array, uniform: types.Array) -> types.Array:
  """Returns every class's score `[..., C]`: APS, randomised.

      sum_{c: p_c > p_label} p_c + uniform * p_label

  Larger sets where the model is unsure. Classes of equal probability are
  ordered by number.

  Args:
    probability: `[..., C]` of C classes.
    uniform: `[...]` in [0, 1), drawn for each row; ones for sets that are not
      randomised, and larger.

  References:
    Romano, Sesia and Candes 2020, arXiv:2006.02544.
  """
  chex.assert_shape(uniform, probability.shape[:-1])
  order = jnp.argsort(-probability, axis=-1, stable=True)
  sorted_ = jnp.take_along_axis(probability, order, axis=-1)
  before = jnp.cumsum(sorted_, axis=-1) - sorted_
  found = before + uniform[..., None] * sorted_
  return jnp.take_along_axis(found, jnp.argsort(order, axis=-1), axis=-1)


def of_label(scores: types.Array, label: types.Array) -> types.Array:
  """Returns the score of what was answered, `[...]`, to calibrate with.

  Args:
    scores: `[..., C]` of every class.
    label: `[...]` int, the class; of a pair 0 where the first is preferred.
  """
  chex.assert_shape(label, scores.shape[:-1])
  return jnp.take_along_axis(scores, label[..., None], axis=-1)[..., 0]


def prediction_set(scores: types.Array, threshold: types.Array) -> jax.Array:
  """Returns which classes conform, bool `[..., C]`; none, some or all.

  Args:
    scores: `[..., C]` of every class.
    threshold: `[]` or `[...]`, one a row, such as its person's.
  """
  return scores <= _broadcast(threshold, scores[..., 0])[..., None]


def _broadcast(threshold, rows):
  """Returns one threshold a row, given one or all; nothing between."""
  threshold = jnp.asarray(threshold)
  if threshold.ndim and threshold.shape != rows.shape:
    raise ValueError(
      f'threshold {threshold.shape} of rows {rows.shape}: give one, or one a '
      'row'
    )
  return jnp.broadcast_to(threshold, rows.shape)
