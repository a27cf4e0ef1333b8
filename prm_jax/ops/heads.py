"""Preference likelihoods: what a person says, given two scores."""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types


def bradley_terry(
  difference: types.Array,
  label: types.Array,
  *,
  margin: float = 0.0,
  smoothing: float = 0.0,
) -> types.Array:
  """Returns the negative log-likelihood of Bradley-Terry choices `[...]`.

      -y log sigma(d - m) - (1 - y) log sigma(-d - m)

  with y the label after smoothing: (1 - smoothing) label + smoothing / 2.

  Args:
    difference: `[...]` d, score of the first answer minus the second, logits.
    label: `[...]` probability that the first is preferred; 0.5 is a tie.
    margin: m >= 0, logits by which the preferred answer has to win.
    smoothing: share of labels taken to be coin flips, in [0, 1).

  Returns:
    `[...]` nats, one a choice.

  References:
    Bradley and Terry 1952; margin as in Touvron et al. 2023,
    arXiv:2307.09288.
  """
  chex.assert_equal_shape([difference, label])
  label = (1.0 - smoothing) * label + 0.5 * smoothing
  return label * jax.nn.softplus(margin - difference) + (
    1.0 - label
  ) * jax.nn.softplus(margin + difference)


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
  return jax.nn.sigmoid(mean / jnp.sqrt(1.0 + jnp.pi / 8.0 * variance))


def pair_margin(output: types.RewardOutput) -> types.Array:
  """Returns the moderated margin `[B]` of candidate 0 over candidate 1.

  Its logistic is the probability that 0 is preferred; the belief's covariance,
  where there is one, shrinks it.

  Args:
    output: scores `[B, 2]` and covariance `[B, 2, 2]` or None.
  """
  chex.assert_axis_dimension(output.score, -1, 2)
  mean = output.score[..., 0] - output.score[..., 1]
  if output.covariance is None:
    return mean
  c = output.covariance
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
