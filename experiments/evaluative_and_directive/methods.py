"""A learner of what a config says of a method, of people's replies."""

from typing import Any

from prm_jax import types
from prm_jax.lab import curves
from prm_jax.learners import directive
from prm_jax.policy import losses


def learner(
  node: curves.Node, steps: int, *, remat: bool = False, **parts: Any
) -> types.Learner:
  """Returns the learner of a method.

  Args:
    node: as in configs/evaluative_and_directive.py.
    steps: gradient steps.
    remat: whether layers are computed again for the gradient.
    **parts: `task`, `replies` and `config` of the policy.

  Raises:
    ValueError: an unknown kind or option.
  """
  options = {name: node[name] for name in node if name != 'hint_error'}
  distill = options.pop('distill', 0.0)
  loss: losses.Loss = directive.PUBLISHED
  if distill:
    loss = (*loss, losses.distilled(1.0, distill))
  return curves.learner(options, steps, remat=remat, loss=loss, **parts)
