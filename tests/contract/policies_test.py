"""What every registered learner of policies promises."""

import jax
import numpy as np
import pytest

from prm_jax import registry
from prm_jax.runtime import train

# Each compiles a sampler and a decoder; the learners' own tests fit them, too.
KINDS = [
  pytest.param(kind, marks=[] if kind == 'rltf' else [pytest.mark.slow])
  for kind in registry.of_role('policy')
]


@pytest.fixture(scope='module', params=KINDS)
def fitted(request):
  world = registry.LEARNERS[request.param].small()
  learner = registry.build('learner', {'kind': request.param, **world.options})
  key = jax.random.key(0)
  start = learner.init(key, world.spec)
  return start, train.fit(learner, world.data, key=key, spec=world.spec)


def test_a_policy_moves_and_stays_finite(fitted):
  start, state = (s.params['policy'] for s in fitted)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
  moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), start, state)
  assert max(jax.tree.leaves(moved)) > 1e-4


def test_state_is_arrays_alone(fitted):
  leaves = jax.tree.leaves(fitted[1])
  assert all(isinstance(leaf, jax.Array) for leaf in leaves)
