"""PReF on votes: a person's taste is their mix of a few functions of texts.

The first function is everybody's and has coefficient 1; the others start from
the crowd's factors, as texts say them, and are then learned with everybody's
coefficients, under a ridge that held-out statements choose.

References:
  Shenfeld et al. 2025, arXiv:2503.06358.
"""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import collaborative

RIDGES = (1e1, 1e2, 1e3, 1e4, 1e5)  # in answers; coefficients have precision 1
_PARTS = 5  # of statements, by which a ridge is chosen
_ROUNDS = 6  # of coefficients given functions, and functions given those
_STEPS = 5  # of the bound in each
_F = collaborative.FACTORS


def learned(
  votes: collaborative.Votes,
  level: np.ndarray,
  x: np.ndarray,
  start: np.ndarray,
) -> np.ndarray:
  """Returns what the functions are of each statement, `[S, J]`.

  Args:
    votes: to learn from.
    level: `[S]` everybody's function, in logits.
    x: `[S, D]` texts, each column of about unit size.
    start: `[S, J]` of the others, as texts say the crowd's factors.
  """
  known = jnp.asarray(level, jnp.float32), jnp.asarray(x, jnp.float32)
  weights = jnp.asarray(np.linalg.lstsq(x, start, rcond=None)[0], jnp.float32)
  part = np.random.default_rng([0, 42]).permutation(
    np.arange(len(level)) % _PARTS
  )

  def loss(ridge):
    total = 0.0
    for one in range(_PARTS):
      held = jnp.asarray(part == one)
      train = votes._replace(weight=votes.weight * ~held)
      found = _joint(train, *known, weights, ridge)
      test = votes._replace(weight=votes.weight * held)
      total += float(_loss(train, test, *known, found))
    return total

  chosen = min(RIDGES, key=loss)
  return np.asarray(known[1] @ _joint(votes, *known, weights, chosen))


def statements(
  level: types.Array, features: types.Array
) -> collaborative.Belief:
  """Returns statements of which everything is known.

  Args:
    level: `[S]`.
    features: `[S, J]`.
  """
  one = jnp.ones((len(level), 1))
  mean = jnp.concatenate([one, level[:, None], features], 1)
  F = mean.shape[1]
  return collaborative.Belief(mean, jnp.zeros((len(level), F, F)))


def _people(votes, known) -> collaborative.Belief:
  prior, _ = collaborative.priors(known.mean.shape[1] - _F)
  return collaborative.infer(votes, known, prior, iterations=_STEPS)


@jax.jit
def _loss(train, test, level, x, weights):
  """Returns the log loss of held-out votes, by people's other votes."""
  known = statements(level, x @ weights)
  chance = collaborative.probability(_people(train, known), known)
  chance = jnp.clip(chance, 1e-6, 1 - 1e-6)
  said = jnp.where(test.agrees > 0, chance, 1 - chance)
  return -jnp.sum(test.weight * jnp.log(said))


@jax.jit
def _joint(votes, level, x, weights, ridge):
  """Returns the functions `[D, J]`, learned with everybody's coefficients."""

  def step(_, weights):
    known = statements(level, x @ weights)
    people = _people(votes, known)
    for _ in range(_STEPS):
      weights = _solved(votes, people, level, x, weights, ridge)
    return weights

  return jax.lax.fori_loop(0, _ROUNDS, step, weights)


def _solved(votes, people, level, x, weights, ridge):
  """Returns the functions at which the bound is largest, given people."""
  D, J = weights.shape
  mean, variance = collaborative.moments(people, statements(level, x @ weights))
  xi = jnp.sqrt(variance + mean**2)
  small = xi < 1e-4
  curve = jnp.tanh(xi / 2) / (2 * jnp.where(small, 1.0, xi))
  curve = votes.weight * jnp.where(small, 0.25, curve)
  second = people.second.reshape(len(people.mean), -1)
  gram = (curve.T @ second).reshape(len(x), _F + J, _F + J)
  told = (votes.weight * (votes.agrees - 0.5)).T @ people.mean
  score = told[:, _F:] - gram[:, _F:, 0] - gram[:, _F:, 1] * level[:, None]
  inside = jnp.einsum('sij,sd,se->diej', gram[:, _F:, _F:], x, x)
  inside = inside.reshape(D * J, D * J) + ridge * jnp.eye(D * J)
  found = jnp.linalg.solve(inside, (x.T @ score).reshape(-1))
  return found.reshape(D, J)
