"""Registered learners on the world of their entry."""

import jax

from prm_jax import registry


def built(kind):
  """A learner and the world that its entry names."""
  world = registry.LEARNERS[kind].small()
  node = {'kind': kind, **world.options}
  return started(registry.build('learner', node)), world


def started(learner):
  """The learner, whose start is one program and not one an operation."""
  return learner._replace(init=jax.jit(learner.init, static_argnums=1))
