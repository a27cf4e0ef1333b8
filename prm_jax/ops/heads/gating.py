"""Several objectives, weighed by a gate that reads the prompt alone.

Rewards and weights have the axis A of objectives last. What follows length is
taken out of each objective before they are weighed (`debiased`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision

_HALVINGS = 50  # of the interval in which a penalty is sought


def gate(
  logits: types.Array,
  *,
  axis: int,
  objectives: int,
  temperature: types.Scalar = 10.0,
  scale: types.Scalar = 1.0,
) -> types.Array:
  """Returns how much each objective counts; sums over `axis` are the scale.

      scale softmax(logits / temperature)

  Args:
    logits: any shape, with the objectives on `axis`.
    axis: of objectives. There is no default: over the axis of the two answers
      of a pair, which share their prompt, every weight would be a half.
    objectives: A, which `axis` has to have.
    temperature: > 0, a number.
    scale: a number, learned.

  References:
    Wang et al. 2024 (ArmoRM), arXiv:2406.12845.

  Notes:
    The released training code normalises over the axis of chosen and
    rejected; the released model over objectives, and so does this.
  """
  chex.assert_axis_dimension(logits, axis, objectives)
  logits = precision.raised(logits)
  chex.assert_rank([temperature, scale], 0)
  return precision.raised(scale) * jax.nn.softmax(logits / temperature, axis)


def debiased(
  rewards: types.Array, penalty: types.Array, *, verbosity: int
) -> types.Array:
  """Returns rewards less what follows verbosity, `[..., A]`.

      r_k - lambda_k r_verbosity

  Args:
    rewards: `[..., A]` r.
    penalty: `[A]` lambda; that of verbosity itself is not read.
    verbosity: its place among the objectives.

  References:
    Wang et al. 2024 (ArmoRM), arXiv:2406.12845.

  Notes:
    The released training code computes these and then trains on the others.
  """
  rewards, penalty = precision.raised(rewards), precision.raised(penalty)
  chex.assert_shape(penalty, rewards.shape[-1:])
  others = penalty.at[verbosity].set(0.0)
  return rewards - others * rewards[..., verbosity, None]


def gated_score(weight: types.Array, rewards: types.Array) -> types.Array:
  """Returns sum over k of g_k r_k, `[...]`.

  Args:
    weight: `[..., A]` g, of `gate`: one set an answer.
    rewards: `[..., A]` r.
  """
  return jnp.sum(contributions(weight, rewards), -1)


def gated_quantiles(weight: types.Array, quantiles: types.Array) -> types.Array:
  """Returns the quantiles of a gated score, `[..., M]`, at the same levels.

      q(tau_m) = sum over k of g_k q_k(tau_m)

  Under weights that are not negative they do not cross if those of every
  objective do not; their mean is the gated score of means.

  Args:
    weight: `[..., A]` g.
    quantiles: `[..., A, M]` of each objective, from the lowest.

  References:
    Dorka 2024 (QRM), arXiv:2409.10164.

  Notes:
    It is the distribution of the sum where all objectives rise and fall
    together, and not that of a mixture of them.
  """
  chex.assert_shape(quantiles, (*weight.shape, None))
  weight = precision.raised(weight)[..., None]
  return jnp.sum(weight * precision.raised(quantiles), -2)


def contributions(weight: types.Array, rewards: types.Array) -> types.Array:
  """Returns what each objective adds to a score, `[..., A]`: g_k r_k.

  The difference of two answers' is what each adds to the margin between them.

  Args:
    weight: `[..., A]` g.
    rewards: `[..., A]` r.
  """
  chex.assert_equal_shape([weight, rewards])
  return precision.raised(weight) * precision.raised(rewards)


def report(
  contribution: types.ArrayLike, names: Sequence[str]
) -> list[dict[str, Any]]:
  """Returns which objectives drove a score: rows, the largest part first.

  Args:
    contribution: `[A]` of one score, or of one margin.
    names: of the A objectives.

  Returns:
    A rows of `objective`, `contribution` (logits, with its sign) and `share`
    of the sum of sizes, 0 where all are 0.

  Raises:
    ValueError: names are not as many.
  """
  part = np.asarray(contribution, np.float64)
  if part.shape != (len(names),):
    raise ValueError(f'{len(names)} names and contributions {part.shape}')
  size = np.abs(part)
  total = float(size.sum()) or 1.0
  return [
    {
      'objective': names[k],
      'contribution': float(part[k]),
      'share': float(size[k] / total),
    }
    for k in np.argsort(-size, kind='stable')
  ]


# ------------------------------------------------------------------- debiasing


class Debiasing(NamedTuple):
  """How much of verbosity is taken out of each objective.

  Attributes:
    penalty: `[A]` lambda.
    before: `[A]` rank correlation with verbosity.
    after: `[A]` likewise, of what is left; 1 of verbosity itself.
  """

  penalty: np.ndarray
  before: np.ndarray
  after: np.ndarray


def rank_correlation(first: types.ArrayLike, second: types.ArrayLike) -> float:
  """Returns Spearman's correlation, equal values having their mean rank.

  Args:
    first: `[N]`.
    second: `[N]`.

  Returns:
    In [-1, 1]; 0 where one of them does not vary.

  Raises:
    ValueError: they are not two vectors of the same length, or not finite.

  References:
    Spearman 1904, The proof and measurement of association.
  """
  x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
  if x.ndim != 1 or x.shape != y.shape:
    raise ValueError(f'{x.shape} and {y.shape}: two vectors of one length')
  if not (np.isfinite(x).all() and np.isfinite(y).all()):
    raise ValueError('a value is not finite: it has no rank')
  a, b = _ranks(x), _ranks(y)
  size = float(np.sqrt((a @ a) * (b @ b)))
  return float(a @ b) / size if size else 0.0


def solve_debiasing(
  rewards: types.ArrayLike,
  *,
  verbosity: int,
  bound: float = 0.03,
  limit: float = 10.0,
  negative: bool = True,
) -> Debiasing:
  """Returns the smallest penalties that leave no correlation with verbosity.

      lambda_k = argmin |lambda| such that
                 |Spearman(r_k - lambda r_verbosity, r_verbosity)| <= bound

  The correlation never rises with lambda, so that halving finds it. Where it
  jumps over the bounds, as with few answers, it is the first lambda beyond.

  Args:
    rewards: `[N, A]` of a reference set, on the host.
    verbosity: its place among the objectives; its own penalty is 0, as are
      all if it does not vary.
    bound: of the size of the correlation.
    limit: of the size of a penalty.
    negative: whether an objective that prefers short answers gets a negative
      penalty; else it stays as it is, as in the released code.

  Raises:
    ValueError: rewards are no matrix or not finite, or a penalty within the
      limit does not reach the bound.

  References:
    Wang et al. 2024 (ArmoRM), arXiv:2406.12845.

  Notes:
    The released code tries 0, 0.05, ... 0.95, keeps the first that brings the
    correlation, with its sign, to the bound, and never gives length back.
  """
  r = np.asarray(rewards, np.float64)
  if r.ndim != 2 or not np.isfinite(r).all():
    raise ValueError(
      f'rewards {r.shape}: a finite matrix, answers x objectives'
    )
  long, count = r[:, verbosity], r.shape[1]
  penalty = np.zeros(count)
  before = np.array([rank_correlation(r[:, k], long) for k in range(count)])
  for k in range(count):
    sign = np.sign(before[k])
    if k == verbosity or abs(before[k]) <= bound or (sign < 0 and not negative):
      continue
    found = _smallest(sign * r[:, k], long, bound, limit)
    if found is None:
      raise ValueError(
        f'objective {k}: no penalty up to {limit} brings its correlation with '
        f'verbosity, {before[k]:.3f}, to {bound}'
      )
    penalty[k] = sign * found
  left = r - penalty * long[:, None]
  after = np.array([rank_correlation(left[:, k], long) for k in range(count)])
  return Debiasing(penalty, before, after)


def _ranks(x: np.ndarray) -> np.ndarray:
  """Returns mean ranks, centred."""
  _, place, count = np.unique(x, return_inverse=True, return_counts=True)
  last = np.cumsum(count)
  return (last - 0.5 * (count - 1))[place] - 0.5 * (len(x) + 1)


def _smallest(reward, long, bound, limit) -> float | None:
  """Returns the smallest penalty above 0, if the limit is large enough."""

  def far(penalty):
    return rank_correlation(reward - penalty * long, long) > bound

  if far(limit):
    return None
  low, high = 0.0, limit
  for _ in range(_HALVINGS):
    middle = 0.5 * (low + high)
    low, high = (middle, high) if far(middle) else (low, middle)
  return high
