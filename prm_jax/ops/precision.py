"""Matrix products in full float32, whatever the machine's default is.

On a TPU a float32 product runs in bfloat16 unless it asks for more, on a GPU
in TF32: posteriors, factorisations and statistics would be wrong there, and
nothing on a processor shows it.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec('P')
R = TypeVar('R')


def highest(function: Callable[P, R]) -> Callable[P, R]:
  """Returns the function, every product in it asking for full precision."""

  @functools.wraps(function)
  def run(*args: P.args, **kwargs: P.kwargs) -> R:
    with jax.default_matmul_precision('highest'):
      return function(*args, **kwargs)

  return run
