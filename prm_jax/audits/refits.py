"""Populations that are refitted inside the closed loop; see `echo_chamber`."""

import functools

import jax
import jax.numpy as jnp

from prm_jax.ops import bayes
from prm_jax.users import ring, simplex

_PSEUDO_PEOPLE = 1.0  # who keep the old covariance
_ANSWERS = 10.0  # by which one weight for everybody is pulled to the old one


def prior(
  population: bayes.GaussianPrior, history: ring.Answers
) -> bayes.GaussianPrior:
  """Returns the prior after one EM step over everybody's kept answers.

  Args:
    population: the prior before.
    history: leaves `[U, N, ...]`.
  """
  solve = functools.partial(bayes.laplace, iterations=6)
  posterior = jax.vmap(solve, (None, 0, 0, 0))(
    population, history.value, history.label, history.mask
  )
  weight = jnp.ones(history.label.shape[0])
  moments = bayes.population_moments(population, posterior, weight)
  return bayes.empirical_prior(population, moments, shrinkage=_PSEUDO_PEOPLE)


def shared_weight(
  population: bayes.GaussianPrior, history: ring.Answers
) -> bayes.GaussianPrior:
  """Returns one weight for everybody, refitted to all kept answers.

  It is pulled to the weight before with ten answers' worth; the covariance
  stays as it is.

  Args:
    population: its mean is the weight.
    history: leaves `[U, N, ...]`.
  """
  D = population.mean.shape[0]
  old = bayes.isotropic_prior(population.mean, _ANSWERS**-0.5)
  mean = bayes.posterior_mode(
    old,
    history.value.reshape(-1, D),
    history.label.reshape(-1),
    history.mask.reshape(-1),
    iterations=4,
  )
  return population._replace(mean=mean)


def mixture(
  population: simplex.Params, history: ring.Answers
) -> simplex.Params:
  """Returns the mean of everybody's mixture weights on their kept answers.

  Args:
    population: the weights before.
    history: leaves `[U, N, ...]`.
  """
  solve = functools.partial(simplex.mirror_descent, iterations=60)
  weights = jax.vmap(solve, (None, 0, 0, 0))(
    population, history.value, history.label, history.mask
  )
  mean = jnp.exp(weights).mean(0)
  return population._replace(log_weight=jnp.log(mean + 1e-6))
