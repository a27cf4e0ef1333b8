"""Preference likelihoods: what a person says, given two scores.

A label is the probability that the first answer is preferred: 1, 0, 0.5 for a
tie, and whatever lies between for a soft label. Every loss here is

    y l(d) + (1 - y) l(-d),

so that exchanging the answers and the label changes nothing. Scores below
float32 are raised to it. A difference may be infinite where the label has no
part in the side that it makes infinite.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision

_TAIL = 5.0  # standard deviations, below which log Phi is written otherwise
_TERMS = 20  # of its continued fraction


def bradley_terry(
  difference: types.Array,
  label: types.Array,
  *,
  margin: types.Scalar = 0.0,
  smoothing: float = 0.0,
) -> types.Array:
  """Returns the negative log-likelihood of Bradley-Terry choices `[...]`.

      -y log sigma(d - m) - (1 - y) log sigma(-d - m)

  with y the label after smoothing: (1 - smoothing) label + smoothing / 2.

  Args:
    difference: `[...]` d, score of the first answer minus the second, logits.
    label: `[...]` probability that the first is preferred; 0.5 is a tie.
    margin: m >= 0, logits by which the preferred answer has to win; a number,
      or `[...]`, one a choice (see `strength_margin`).
    smoothing: share of labels taken to be coin flips, in [0, 1).

  Returns:
    `[...]` nats, one a choice.

  References:
    Bradley and Terry 1952; margin as in Touvron et al. 2023,
    arXiv:2307.09288; as a length-normalised target, Meng et al. 2024 (SimPO),
    arXiv:2405.14734.
  """
  margin = precision.each(margin, difference)
  label = (1.0 - smoothing) * label + 0.5 * smoothing
  return _expected(lambda d: jax.nn.softplus(margin - d), difference, label)


def strength_margin(
  strength: types.Array, margins: types.ArrayLike
) -> types.Array:
  """Returns the margin `[...]` of each class of strength, logits.

  Args:
    strength: `[...]` int, the class, from 0 (hardly better) to C - 1.
    margins: `[C]` logits, one a class.

  References:
    Touvron et al. 2023 (Llama 2), arXiv:2307.09288: 0, 1/3, 2/3, 1 or
    0, 1, 2, 3 for four classes.

  Raises:
    ValueError: margins are not a vector.
  """
  margins = precision.raised(margins)
  if margins.ndim != 1:
    raise ValueError(f'margins {margins.shape}: one a class of strength')
  chex.assert_type(strength, int)
  # A class that is not there has no margin, and not that of its neighbour.
  return margins.at[strength].get(mode='fill', fill_value=jnp.nan)


def scaled_bradley_terry(
  difference: types.Array, label: types.Array, strength: types.Array
) -> types.Array:
  """Returns Bradley-Terry losses weighed by strength `[...]`: w L(d, y).

  Args:
    difference: `[...]` d, logits.
    label: `[...]` probability that the first is preferred.
    strength: `[...]` w >= 0, how much better the preferred one is, such as
      1, 2, 3; a choice of strength 0 teaches nothing.

  References:
    Wang et al. 2024 (HelpSteer2-Preference), arXiv:2410.01257.

  Notes:
    The released code (NeMo-Aligner) takes the strength's sign for the label,
    so that 0 counts as 'the second is preferred'. Here the label says who is
    preferred, and 0.5 is a tie.
  """
  chex.assert_equal_shape([strength, difference])
  loss = bradley_terry(difference, label)
  # Where nothing is told, an infinite loss is not told either.
  return jnp.where(strength > 0, strength * loss, 0.0)


def conservative(
  difference: types.Array, label: types.Array, *, flip: float
) -> types.Array:
  """Returns losses under the belief that labels may be flipped, `[...]`.

      (1 - e) L(d, y) + e L(d, 1 - y)

  It is smallest at a finite difference: logit(1 - e) where y is 1.

  Args:
    difference: `[...]` d, logits.
    label: `[...]` y, as told.
    flip: e, share of labels that are wrong, in [0, 1/2).

  References:
    Mitchell 2023, A note on DPO with noisy preferences (cDPO).

  Raises:
    ValueError: the share is not in [0, 1/2).
  """
  _flips(flip)
  return bradley_terry(difference, label, smoothing=2.0 * flip)


def robust(
  difference: types.Array,
  label: types.Array,
  *,
  flip: float,
  limit: float = 10.0,
) -> types.Array:
  """Returns losses that are right on average if labels are flipped, `[...]`.

      [(1 - e) L(d, y) - e L(d, 1 - y)] / (1 - 2 e)

  Its mean over labels flipped with probability e is L(d, y) of the true ones.
  It has no lower bound: for y = 1 it falls with d for ever. A difference
  beyond the limit therefore counts as the limit, on the side that wins.

  Args:
    difference: `[...]` d, logits.
    label: `[...]` y, as told.
    flip: e, share of labels that are wrong, in [0, 1/2).
    limit: logits beyond which winning gains nothing more, and there is no
      gradient; unbiased within it.

  References:
    Natarajan et al. 2013, Learning with noisy labels; Chowdhury et al. 2024
    (robust DPO), arXiv:2403.00409.

  Raises:
    ValueError: the share is not in [0, 1/2).
  """
  _flips(flip)

  def loss(d):
    d = jnp.minimum(d, limit)
    return jax.nn.softplus(-d) - flip / (1.0 - 2.0 * flip) * d

  return _expected(loss, difference, label)


def hinge(
  difference: types.Array, label: types.Array, *, margin: types.Scalar = 1.0
) -> types.Array:
  """Returns y relu(m - d) + (1 - y) relu(m + d), `[...]`.

  Args:
    difference: `[...]` d, logits.
    label: `[...]` y, probability that the first is preferred.
    margin: m, by which the preferred one has to win; a number or `[...]`.

  References:
    Zhao et al. 2023 (SLiC-HF), arXiv:2305.10425.
  """
  margin = precision.each(margin, difference)
  return _expected(lambda d: jax.nn.relu(margin - d), difference, label)


def squared(
  difference: types.Array, label: types.Array, *, beta: float
) -> types.Array:
  """Returns IPO's squared losses `[...]`, smallest at a finite difference.

      y (d - 1 / (2 beta))^2 + (1 - y) (d + 1 / (2 beta))^2

  Args:
    difference: `[...]` d.
    label: `[...]` y, probability that the first is preferred.
    beta: > 0; preferred answers are to win by 1 / (2 beta).

  References:
    Azar et al. 2023 (IPO), arXiv:2310.12036.
  """
  target = 0.5 / beta
  return _expected(lambda d: (d - target) ** 2, difference, label)


def thurstone(
  difference: types.Array, label: types.Array, variance: types.Scalar = 2.0
) -> types.Array:
  """Returns the negative log-likelihood of Thurstone's choices, `[...]`.

      -y log Phi(d / s) - (1 - y) log Phi(-d / s)

  The likelihood of a head that predicts a variance for each answer: exact,
  where that of Bradley-Terry has to be approximated.

  Args:
    difference: `[...]` d, difference of the means.
    label: `[...]` y, probability that the first is preferred.
    variance: s^2 > 0 of the difference, the sum of both answers' variances; a
      number or `[...]`. It is 2 if both have a variance of 1.

  References:
    Thurstone 1927, A law of comparative judgment.
  """
  scale = jnp.sqrt(precision.each(variance, difference))
  return _expected(lambda d: -log_normal_cdf(d / scale), difference, label)


def log_normal_cdf(x: types.Array) -> types.Array:
  """Returns log Phi(x) `[...]`, with a gradient that is right in both tails.

  Below -5 it is -x^2 / 2 less the logarithm of Mills' ratio, by its continued
  fraction.

  Args:
    x: `[...]` standard deviations.

  References:
    Abramowitz and Stegun 1964, 26.2.14.

  Notes:
    The gradient of `jax.scipy.special.log_ndtr` is the exponential of a
    difference of numbers of the size of x^2 / 2, which say nothing any more in
    float32 at -10,000; near +-13, where a tail is almost too small for
    float32, it and `erfcx` are not numbers.
  """
  x = precision.raised(x)
  root = np.float32(np.sqrt(0.5))
  below, left = x < -_TAIL, x < 0
  # Each form is given what is its own, or a number in its place.
  far = jnp.where(below, -x, _TAIL)
  ratio = far
  for term in range(_TERMS, 0, -1):
    ratio = far + term / ratio
  tail = -0.5 * far**2 - jnp.log(ratio) - np.float32(0.5 * np.log(2 * np.pi))
  low = jnp.where(left & ~below, -x, 1.0)
  high = jnp.where(left, 0.0, x)
  low = jnp.log(0.5 * jax.lax.erfc(low * root))
  high = jnp.log1p(-0.5 * jax.lax.erfc(high * root))
  return jnp.where(below, tail, jnp.where(left, low, high))


def classifier(score: types.Array, label: types.Array) -> types.Array:
  """Returns the loss `[...]` of classifying each of two answers by itself.

      sum over both of the cross-entropy of 'this one was preferred'

  The classifier's logit is the reward. It orders answers as Bradley-Terry
  does, and the loss is never below that of Bradley-Terry.

  Args:
    score: `[..., 2]` logits that an answer is a preferred one.
    label: `[...]` probability that the first is preferred.

  References:
    Sun et al. 2024, Rethinking Bradley-Terry models in preference-based
    reward modeling, arXiv:2411.04991.
  """
  chex.assert_axis_dimension(score, -1, 2)
  own = jnp.stack([label, 1.0 - label], -1)
  chex.assert_equal_shape([score, own])
  return _expected(lambda r: jax.nn.softplus(-r), score, own).sum(-1)


def moderated_probability(
  mean: types.Array, variance: types.Array
) -> types.Array:
  """Returns sigma(d) averaged over d ~ N(mean, variance), approximately.

      sigma(mean / sqrt(1 + pi variance / 8))

  Args:
    mean: `[...]` of the score difference, logits.
    variance: `[...]` of the score difference, logits squared.

  Returns:
    `[...]` probability; within 0.02 of the integral.

  References:
    MacKay 1992, The evidence framework applied to classification networks.
  """
  chex.assert_equal_shape([mean, variance])
  mean, variance = precision.raised(mean), precision.raised(variance)
  return jax.nn.sigmoid(mean / jnp.sqrt(1.0 + jnp.pi / 8.0 * variance))


def pair_margin(output: types.RewardOutput) -> types.Array:
  """Returns the moderated margin `[B]` of candidate 0 over candidate 1.

  Its logistic is the probability that 0 is preferred; the belief's covariance,
  where there is one, shrinks it.

  Args:
    output: scores `[B, 2]` and covariance `[B, 2, 2]` or None.
  """
  chex.assert_axis_dimension(output.score, -1, 2)
  score = precision.raised(output.score)
  mean = score[..., 0] - score[..., 1]
  if output.covariance is None:
    return mean
  c = precision.raised(output.covariance)
  variance = c[..., 0, 0] + c[..., 1, 1] - c[..., 0, 1] - c[..., 1, 0]
  return mean / jnp.sqrt(1.0 + jnp.pi / 8.0 * jnp.maximum(variance, 0.0))


def pair_probability(output: types.RewardOutput) -> types.Array:
  """Returns the probability `[B]` that candidate 0 beats candidate 1.

  Args:
    output: scores `[B, 2]` and covariance `[B, 2, 2]` or None.

  Examples:
    >>> sure = types.RewardOutput(jnp.array([[1.0, 1.0], [2.0, 0.0]]))
    >>> [round(float(p), 2) for p in pair_probability(sure)]
    [0.5, 0.88]
    >>> unsure = sure._replace(covariance=jnp.stack([jnp.eye(2)] * 2))
    >>> [round(float(p), 2) for p in pair_probability(unsure)]
    [0.5, 0.82]
  """
  return jax.nn.sigmoid(pair_margin(output))


def pair_nll(output: types.RewardOutput, label: types.Array) -> types.Array:
  """Returns the negative log-likelihood `[B]` of choices between two.

  Args:
    output: scores `[B, 2]` and covariance `[B, 2, 2]` or None.
    label: `[B]` probability that candidate 0 is preferred.
  """
  return bradley_terry(pair_margin(output), label)


def sampled(
  mean: types.Array,
  variance: types.Array,
  label: types.Array,
  noise: types.Array,
) -> types.Array:
  """Returns Bradley-Terry losses averaged over sampled differences, `[...]`.

      mean over i of L(mean + noise_i sqrt(variance), y)

  By Jensen it is not below `bradley_terry` of the averaged probability, which
  `moderated_probability` gives in closed form and `thurstone` exactly.

  Args:
    mean: `[...]` difference of the answers' mean scores, logits.
    variance: `[...]` >= 0, sum of both answers' variances.
    label: `[...]` probability that the first is preferred.
    noise: `[..., n]` n standard normal draws a choice.

  References:
    Sun et al. 2025 (PURM), arXiv:2503.22480.

  Notes:
    The likelihood would average the probability; the released code averages
    its logarithm, and so does this: with n draws its gradient is unbiased.
    Variables that the code calls variances are standard deviations.
  """
  chex.assert_equal_shape([mean, variance, label])
  chex.assert_equal_shape_prefix([mean, noise], mean.ndim)
  chex.assert_rank(noise, mean.ndim + 1)
  spread = precision.raised(variance)
  positive = spread > 0  # at 0 the root has no gradient
  spread = jnp.where(positive, jnp.sqrt(jnp.where(positive, spread, 1.0)), 0.0)
  drawn = precision.raised(mean)[..., None] + noise * spread[..., None]
  told = jnp.broadcast_to(label[..., None], drawn.shape)
  return bradley_terry(drawn, told).mean(-1)


def _expected(
  loss: Callable[[types.Array], types.Array],
  difference: types.Array,
  label: types.Array,
) -> types.Array:
  """Returns y l(d) + (1 - y) l(-d), where 0 times infinity is 0."""
  chex.assert_equal_shape([label, difference])
  d, label = precision.raised(difference), precision.raised(label)
  infinite = jnp.isinf(d)
  first = loss(jnp.where(infinite & (label <= 0), 0.0, d))
  second = loss(jnp.where(infinite & (label >= 1), 0.0, -d))
  return label * first + (1.0 - label) * second


def _flips(flip: float) -> None:
  if not 0.0 <= flip < 0.5:
    raise ValueError(f'flip {flip}: a share of labels in [0, 1/2)')
