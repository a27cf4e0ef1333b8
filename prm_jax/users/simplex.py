"""A person as a mixture of base rewards (LoRe): weights on the simplex."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import beliefs, precision
from prm_jax.users import ring


class Params(NamedTuple):
  """The population.

  Attributes:
    log_weight: `[J]` logarithm of the population's mixture weights.
    strength: answers that the population's weights are worth.
  """

  log_weight: types.Array
  strength: types.Array


class State(NamedTuple):
  """Belief about one person: `[J]` log-weights and the answers kept."""

  log_weight: types.Array
  answers: ring.Answers


def simplex(
  *, dim: int, capacity: int = 50, strength: float = 1.0, iterations: int = 200
) -> types.UserModel:
  """Returns the user model of LoRe: a point on the simplex of J = `dim`.

  Args:
    dim: J base rewards.
    capacity: N, answers kept; older ones are forgotten.
    strength: of the pull towards the population, in answers.
    iterations: of mirror descent.

  References:
    Bose et al. 2025 (LoRe), arXiv:2504.14439.
  """

  def init(key, spec):
    del key, spec
    uniform = jnp.full(dim, -jnp.log(dim))
    return Params(uniform, jnp.float32(strength))

  def prior(params):
    return State(params.log_weight, ring.empty(capacity, dim))

  def update(key, params, state, evidence):
    del key
    answers = ring.keep(state.answers, ring.differences(evidence))
    info = {'dropped': ring.dropped(answers)}
    return solve(params, State(state.log_weight, answers)), info

  def solve(params, state):
    answers = state.answers
    weight = mirror_descent(
      params, answers.value, answers.label, answers.mask, iterations=iterations
    )
    return State(weight, answers)

  def infer(key, params, evidence):
    del key
    if isinstance(evidence, types.Said):
      return under_head(params, evidence)
    return mirror_descent(
      params,
      ring.differences(evidence).encoded,
      evidence.label,
      evidence.mask,
      iterations=iterations,
    )

  def context(params, state):
    del params
    return state.log_weight

  return types.UserModel(init, prior, update, context, infer)


def under_head(params: Params, said: types.Said) -> types.Array:
  """Returns one person's log-weights `[J]` from what a head reads.

      min_w  nll(encoded w) + strength KL(w | population),  w on the simplex

  Args:
    params: population weights and the strength of their pull.
    said: judgements.
  """

  def value(free):
    log_weight = jax.nn.log_softmax(free)
    weight = jnp.exp(log_weight)
    apart = jnp.sum(weight * (log_weight - params.log_weight))
    return said.nll(said.encoded @ weight) + params.strength * apart

  return jax.nn.log_softmax(beliefs.minimum(value, params.log_weight))


@precision.highest
def mirror_descent(
  params: Params,
  difference: types.Array,
  label: types.Array,
  mask: types.Array,
  *,
  iterations: int,
) -> types.Array:
  """Returns one person's log-weights `[J]` by accelerated mirror descent.

      min_w  sum_n mask_n NLL(label_n | difference_n . w)
             + strength KL(w | population),  w on the simplex

  The likelihood's gradient is Lipschitz in |.|_1 with the constant
  L = sum_n mask_n range_n^2 / 16, where range_n is the largest minus the
  smallest base reward difference; the pull is taken exactly. The momentum is
  Tseng's: after k steps the objective is within 4 L KL(best | population) /
  (k + 1)^2 of its minimum.

  Args:
    params: population weights and the strength of their pull.
    difference: `[N, J]` base rewards of the first answer minus the second.
    label: `[N]` probability that the first is preferred.
    mask: `[N]` 1 for an answer, 0 for padding.
    iterations: steps, all taken.

  References:
    Beck and Teboulle 2003; Tseng 2008, accelerated proximal gradient methods,
    algorithm 1.
  """
  difference = jnp.where(mask[:, None] > 0, difference, 0.0)
  spread = difference.max(1) - difference.min(1)
  # Directions on the simplex sum to zero: |difference . d| <= spread |d|_1 / 2,
  # the logistic curvature is at most 1/4, and the entropy's at least |d|_1^2.
  smoothness = jnp.sum(mask * spread**2) / 16.0 + 1e-6

  def step(k, carry):
    weight, log_mirror = carry
    theta = 2.0 / (k + 2.0)
    between = (1.0 - theta) * weight + theta * jnp.exp(log_mirror)
    residual = mask * (jax.nn.sigmoid(difference @ between) - label)
    slope = theta * smoothness
    target = (
      slope * log_mirror
      - residual @ difference
      + params.strength * params.log_weight
    )
    log_mirror = jax.nn.log_softmax(target / (slope + params.strength))
    return (1.0 - theta) * weight + theta * jnp.exp(log_mirror), log_mirror

  start = jnp.exp(params.log_weight), params.log_weight
  weight, _ = jax.lax.fori_loop(0, iterations, step, start)
  return jnp.log(weight + 1e-30)
