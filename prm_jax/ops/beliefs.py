"""Laplace beliefs under any likelihood, for people with few coefficients.

`ops/bayes.py` is made for logistic choices and is many times faster; this is
for likelihoods of which only the function is known.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import bayes, precision

_HALVINGS = 12  # of a step that does not go down


@precision.highest
def minimum(
  value: Callable[[types.Array], types.Array],
  start: types.Array,
  *,
  iterations: int = 20,
  least: float = 1e-3,
) -> types.Array:
  """Returns where a smooth function of a few numbers is least, `[J]`.

  Newton's method: eigenvalues of the Hessian count by their size, and at
  least `least`, so that every step goes down; a step is halved until it does.
  A local minimum, where there are several.

  Args:
    value: `[J] -> []`, traceable.
    start: `[J]`.
    iterations: steps, all taken.
    least: curvature.
  """

  def step(_, point):
    slope = jax.grad(value)(point)
    root, axes = jnp.linalg.eigh(jax.hessian(value)(point))
    move = axes @ ((axes.T @ slope) / jnp.maximum(jnp.abs(root), least))
    move = jnp.where(jnp.isfinite(move), move, 0.0)
    sizes = 0.5 ** jnp.arange(_HALVINGS)
    tried = point - sizes[:, None] * move
    found = jax.vmap(value)(tried)
    best = jnp.argmin(jnp.where(jnp.isfinite(found), found, jnp.inf))
    return jnp.where(found[best] < value(point), tried[best], point)

  return jax.lax.fori_loop(0, iterations, step, start)


@precision.highest
def posterior(
  prior: bayes.GaussianPrior,
  nll: Callable[[types.Array], types.Array],
  *,
  iterations: int = 20,
) -> bayes.Posterior:
  """Returns Laplace's posterior of one person's coefficients.

      argmin over z of nll(mean + factor z) + |z|^2 / 2

  The precision is the Hessian there. Where a likelihood is not convex and
  says less than nothing, the belief is as wide as the prior.

  Args:
    prior: over coefficients, `[J]` and `[J, J]`.
    nll: `[J] -> []` nats, of the coefficients.
    iterations: Newton steps.
  """

  def value(z):
    return nll(prior.mean + prior.factor @ z) + 0.5 * jnp.sum(z**2)

  mode = minimum(
    value, jnp.zeros_like(prior.mean), iterations=iterations, least=1.0
  )
  root, axes = jnp.linalg.eigh(jax.hessian(value)(mode))
  curved = (axes * jnp.maximum(root, 1.0)) @ axes.T
  return bayes.Posterior(mode, jnp.linalg.cholesky(curved))
