"""Choices with more than two answers: ties, and degrees of preference.

A label `[...]` is 1 if the first is preferred, 0 if the second, 0.5 for a tie;
C ordinal levels are j / (C - 1), from 0 (the second, as clearly as can be
said) to 1. Probabilities `[..., C]` stand in the order of labels. A label
between two levels is shared between them, in proportion to its distance. A
difference may be infinite under every link but Phi.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import choices

LINKS = ('logistic', 'probit')
_SNAP = 1e-4  # of a level: what rounding makes of j / (C - 1)
_LEAST = 1e-4  # distance of cut points, so that no level vanishes


def rao_kupper(
  difference: types.Array, label: types.Array, threshold: types.Scalar
) -> tuple[types.Array, types.Array]:
  """Returns the negative log-likelihood `[...]` and probabilities `[..., 3]`.

      P(first)  = 1 / (1 + theta e^-d)
      P(second) = 1 / (1 + theta e^d)
      P(tie)    = (theta^2 - 1) P(first) P(second)

  with theta = e^kappa.

  Args:
    difference: `[...]` d, logits.
    label: `[...]` 1, 0, or 0.5 for a tie.
    threshold: kappa, logits; a number, or `[...]`, such as the annotator's
      own. Of a free parameter, its softplus. At 0 and below ties cannot be,
      and the rest is Bradley-Terry.

  Returns:
    nats, infinite for a tie that cannot be, without gradient; and the
    probabilities that the second is preferred, of a tie, and that the first
    is.

  References:
    Rao and Kupper 1967; Liu et al. 2024 (reward models with ties),
    arXiv:2410.05328.
  """
  kappa = jnp.maximum(precision.each(threshold, difference), 0.0)
  d = precision.raised(difference)
  first, second = -jax.nn.softplus(kappa - d), -jax.nn.softplus(kappa + d)
  able = kappa > 0
  safe = jnp.where(able, kappa, 1.0)
  # log(theta^2 - 1), which does not overflow.
  both = jnp.where(
    able, 2.0 * safe + jnp.log(-jnp.expm1(-2.0 * safe)), -jnp.inf
  )
  logprob = jnp.stack([second, both + first + second, first], -1)
  return _nll(logprob, label), jnp.exp(logprob)


def davidson(
  difference: types.Array, label: types.Array, log_nu: types.Scalar
) -> tuple[types.Array, types.Array]:
  """Returns the negative log-likelihood `[...]` and probabilities `[..., 3]`.

      (second, tie, first) in proportion to e^(-d / 2), nu, e^(d / 2)

  Args:
    difference: `[...]` d, logits.
    label: `[...]` 1, 0, or 0.5 for a tie.
    log_nu: a number, or `[...]`, such as the annotator's own; at -inf ties
      cannot be, and the rest is Bradley-Terry.

  Returns:
    As `rao_kupper`.

  References:
    Davidson 1970, On extending the Bradley-Terry model to accommodate ties.
  """
  log_nu = precision.each(log_nu, difference)
  d = precision.raised(difference)
  # Less |d| / 2: an infinite difference leaves one of them finite. Maxima have
  # half of either slope at 0, where `abs` has that of one side.
  weights = (
    -jnp.maximum(d, 0.0),
    log_nu - 0.5 * jnp.maximum(d, -d),
    -jnp.maximum(-d, 0.0),
  )
  logprob = jax.nn.log_softmax(jnp.stack(weights, -1), -1)
  return _nll(logprob, label), jnp.exp(logprob)


def cut_points(
  free: types.Array, *, levels: int, symmetric: bool = True
) -> types.Array:
  """Returns increasing cut points `[..., C - 1]` of unconstrained parameters.

  Successive ones differ by the softplus of a parameter, and by 1e-4 at least:
  they cannot cross. Symmetric ones are their own negatives in reverse, so that
  exchanging the answers reverses the levels.

  Args:
    free: `[..., C - 1]`: the first cut point, and distances before the
      softplus; symmetric: `[..., (C - 1) // 2]`, distances from the middle
      outwards, where the first is half of the middle level if there is one.
    levels: C, at least 2.
    symmetric: whether c_k = -c_(C - k).

  Raises:
    ValueError: the parameters are not as many as there have to be.
  """
  cuts = levels - 1
  needed = cuts // 2 if symmetric else cuts
  if levels < 2 or free.shape[-1] != needed:
    raise ValueError(
      f'{free.shape[-1]} parameters for {levels} levels: give {needed}'
    )
  free = precision.raised(free)
  if not symmetric:
    apart = jax.nn.softplus(free[..., 1:]) + _LEAST
    return free[..., :1] + jnp.concatenate(
      [jnp.zeros_like(free[..., :1]), jnp.cumsum(apart, -1)], -1
    )
  half = jnp.cumsum(jax.nn.softplus(free) + _LEAST, -1)
  middle = jnp.zeros((*free.shape[:-1], cuts % 2), free.dtype)
  return jnp.concatenate([-half[..., ::-1], middle, half], -1)


def cumulative(
  difference: types.Array,
  label: types.Array,
  cuts: types.Array,
  *,
  link: str = 'logistic',
) -> tuple[types.Array, types.Array]:
  """Returns the negative log-likelihood `[...]` and probabilities `[..., C]`.

      P(level <= k) = F(c_k - d)

  with F the logistic function, or Phi. Two levels and a cut at 0 are
  Bradley-Terry, or Thurstone with a variance of 1.

  Args:
    difference: `[...]` d, score of the first answer minus the second.
    label: `[...]` j / (C - 1) for level j.
    cuts: `[C - 1]` increasing, of `cut_points`; or `[..., C - 1]`, one set a
      choice. Where two are equal, the level between them cannot be.
    link: one of `LINKS`.

  Returns:
    nats; and the probabilities of levels 0 to C - 1.

  References:
    McCullagh 1980, Regression models for ordinal data; Agresti 1992, Analysis
    of ordinal paired comparison data.

  Raises:
    ValueError: unknown link.
  """
  if link not in LINKS:
    raise ValueError(f'link {link!r}: one of {LINKS}')
  d, cuts = precision.raised(difference)[..., None], precision.raised(cuts)
  if cuts.ndim > 1:
    chex.assert_equal_shape_prefix([difference, cuts], difference.ndim)
    chex.assert_rank(cuts, difference.ndim + 1)
  if link == 'logistic':
    below = -jax.nn.softplus(d - cuts)  # log P(level <= k)
    above = -jax.nn.softplus(cuts - d)
    # sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - e^(a - b))
    gap = jnp.broadcast_to(cuts[..., 1:] - cuts[..., :-1], below[..., 1:].shape)
    between = below[..., 1:] + above[..., :-1] + _log_less_than_one(gap)
  else:
    below = choices.log_normal_cdf(cuts - d)
    above = choices.log_normal_cdf(d - cuts)
    # In the tail that is nearer: there a difference of Phi does not cancel.
    low = d > 0.5 * (cuts[..., 1:] + cuts[..., :-1])
    outer = jnp.where(low, below[..., 1:], above[..., :-1])
    inner = jnp.where(low, below[..., :-1], above[..., 1:])
    between = outer + _log_less_than_one(outer - inner)
  logprob = jnp.concatenate([below[..., :1], between, above[..., -1:]], axis=-1)
  return _nll(logprob, label), jnp.exp(logprob)


def expected_label(probability: types.Array) -> types.Array:
  """Returns the mean label `[...]`: how probably the first is preferred.

  Args:
    probability: `[..., C]` of levels, in the order of labels; ties count half.
  """
  levels = probability.shape[-1]
  values = jnp.asarray(np.arange(levels) / (levels - 1), jnp.float32)
  return jnp.sum(precision.raised(probability) * values, -1)


def level_weights(label: types.Array, levels: int) -> types.Array:
  """Returns how much of each level a label is, `[..., C]`; rows sum to 1.

  Args:
    label: `[...]` in [0, 1], j / (C - 1) for level j; what lies between two
      levels is shared between them.
    levels: C, at least 2.
  """
  place = precision.raised(label) * (levels - 1)
  whole = jnp.round(place)
  place = jnp.where(jnp.abs(place - whole) < _SNAP, whole, place)
  return jax.nn.relu(1.0 - jnp.abs(place[..., None] - jnp.arange(levels)))


def _nll(logprob, label):
  """Returns the cross-entropy, where 0 times infinity is 0."""
  chex.assert_shape(label, logprob.shape[:-1])
  weight = level_weights(label, logprob.shape[-1])
  return -jnp.sum(jnp.where(weight > 0, weight * logprob, 0.0), -1)


def _log_less_than_one(gap):
  """Returns log(1 - e^-gap), -inf and without gradient where gap <= 0."""
  able = gap > 0
  safe = jnp.where(able, gap, 1.0)
  return jnp.where(able, jnp.log(-jnp.expm1(-safe)), -jnp.inf)
