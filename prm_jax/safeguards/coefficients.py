"""Safeguards that change what is believed of a person."""

import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import tilting
from prm_jax.safeguards import composition
from prm_jax.users import gaussian


def projection(*, direction: types.ArrayLike) -> types.Safeguard:
  """Returns beliefs whose part along a direction is the population's.

  Args:
    direction: `[J]` in the space of encoded answers: one coordinate, such as
      a stance feature, or a difference of means. Beliefs must be Gaussian.
  """
  along = jnp.asarray(direction)

  def context(state, context, population):
    del state
    if not isinstance(context, gaussian.Context):
      raise TypeError(
        'projection needs a Gaussian belief over coefficients, not '
        f'{type(context).__name__}: use `residual`, which acts on rewards'
      )
    return gaussian.Context(
      tilting.project(context.mean, along, population.mean),
      tilting.project(context.factor.mT, along).mT,
    )

  card = types.Card(
    bounds='personal weight on one direction of the features',
    cost='tastes that share the direction',
    failure='stance leaks through correlated tastes, and through a pool in '
    'which they are correlated by chance',
  )
  return composition.make('projection', card, context=context)


def mean_difference(encoded: np.ndarray, measure: np.ndarray) -> np.ndarray:
  """Returns the direction `[J]` from answers of one side to the other.

  Args:
    encoded: `[M, J]`.
    measure: `[M]`, its sign tells the sides; zeros are left out.

  Raises:
    ValueError: a side has no answers.
  """
  above, below = encoded[measure > 0], encoded[measure < 0]
  if not len(above) or not len(below):
    raise ValueError(
      f'{len(above)} answers above 0 and {len(below)} below: a direction '
      'needs both'
    )
  return above.mean(0) - below.mean(0)
