"""Matrix products in full float32, whatever the machine's default is.

On a TPU a float32 product runs in bfloat16 unless it asks for more, on a GPU
in TF32: posteriors, factorisations and statistics would be wrong there, and
nothing on a processor shows it. Scores that a bfloat16 backbone leaves are
raised before anything is exponentiated or summed.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import chex
import jax

from prm_jax import types

P = ParamSpec('P')
R = TypeVar('R')


def highest(function: Callable[P, R]) -> Callable[P, R]:
  """Returns the function, every product in it asking for full precision."""

  @functools.wraps(function)
  def run(*args: P.args, **kwargs: P.kwargs) -> R:
    with jax.default_matmul_precision('highest'):
      return function(*args, **kwargs)

  return run


def raised(array: types.Scalar) -> types.Array:
  """Returns an array in float32, or as it is where it is wider.

  Args:
    array: of any shape; whole numbers and bfloat16 become float32.
  """
  array = jax.numpy.asarray(array)
  return array.astype(jax.numpy.promote_types(array.dtype, 'float32'))


def each(value: types.Scalar, rows: types.Array) -> types.Array:
  """Returns a number, or one a row, raised; anything else is refused.

  Args:
    value: `[]`, or of the shape of rows.
    rows: `[...]`.
  """
  value = raised(value)
  if value.ndim:
    chex.assert_equal_shape([value, rows])
  return value
