"""Choosing among ready answers for a person, with everything frozen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import decoding, tilting


class Choice(NamedTuple):
  """Which of K candidates, for each of B prompts.

  Attributes:
    pick: `[B]` candidates.
    score: `[B, K]` everything's score.
  """

  pick: types.Array
  score: types.Array


def best_of_n(
  system: types.System,
  params: types.PyTree,
  encoded: types.Array,
  context: types.PyTree,
  *,
  mask: types.Array | None = None,
  caution: float = 0.0,
) -> Choice:
  """Returns the candidate that a person would like best, of each prompt.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    encoded: `[B, K, J]` candidates, as `RewardModel.encode` left them.
    context: of the person to whom each row belongs, leaves `[B, ...]`.
    mask: `[B, K]` 0 for a candidate that is not there; all are, if None.
    caution: standard deviations by which an uncertain score is lowered.
  """
  score = lowered(system, params, encoded, context, caution)
  if mask is not None:
    score = jnp.where(mask > 0, score, -jnp.inf)
  return Choice(jnp.argmax(score, -1), score)


def soft_best_of_n(
  key: types.Key,
  system: types.System,
  params: types.PyTree,
  encoded: types.Array,
  context: types.PyTree,
  *,
  beta: float,
) -> Choice:
  """Returns candidates drawn with weights exp(beta score).

  Args:
    key: of the draws.
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    encoded: `[B, K, J]` draws of the frozen policy.
    context: of the person to whom each row belongs, leaves `[B, ...]`.
    beta: inverse temperature: 0 takes any, large ones the best.
  """
  score = lowered(system, params, encoded, context, 0.0)
  return Choice(decoding.soft_best_of_n(key, score, beta), score)


def lowered(
  system: types.System,
  params: types.PyTree,
  encoded: types.Array,
  context: types.PyTree,
  caution: float,
) -> types.Array:
  """Returns scores `[B, K]`, less `caution` standard deviations."""
  output = system.reward.score(params['reward'], encoded, context)
  if not caution or output.covariance is None:
    return output.score
  return tilting.lower_bound(output.score, output.covariance, caution)


def personal_tilt(
  logits: types.Array,
  base_values: types.Array,
  coefficients: types.Array,
  *,
  beta: float,
  top_k: int | None = None,
) -> types.Array:
  """Returns next-token logits `[B, V]` tilted to each person.

  A linear reward needs one value model for each base reward, shared by
  everybody: a person's value is their coefficients' mixture.

  Args:
    logits: `[B, V]` of the frozen policy.
    base_values: `[B, V, J]` values of the base rewards.
    coefficients: `[B, J]` of the person to whom each row belongs.
    beta: inverse temperature.
    top_k: change the likeliest tokens only; all if None.
  """
  value = jnp.einsum('bvj,bj->bv', base_values, coefficients)
  return jax.vmap(
    lambda logit, v: decoding.value_augmented(logit, v, beta=beta, top_k=top_k)
  )(logits, value)
