"""What every registered learner of policies promises."""

import jax
import numpy as np
import pytest

from prm_jax import registry
from prm_jax.policy import tasks
from prm_jax.runtime import train
from tests.contract import small

# Each compiles a sampler and a decoder; the learners' own tests fit them, too.
KINDS = [
  pytest.param(kind, marks=[] if kind == 'rltf' else [pytest.mark.slow])
  for kind in registry.of_role('policy')
]


class Fitted:
  """A learner of a kind on its toy: its world, and states before and after."""

  def __init__(self, kind):
    self.kind, self.world = kind, registry.LEARNERS[kind].small()
    self.learner, key = self.built(), jax.random.key(0)
    self.start = self.learner.init(key, self.world.spec)
    self.state = train.fit(
      self.learner, self.world.data, key=key, spec=self.world.spec
    )

  def built(self, **options):
    node = {'kind': self.kind, **self.world.options, **options}
    return small.started(registry.build('learner', node))

  def collected(self, learner):
    collect = learner.phases[0].collect
    return collect(jax.random.key(1), self.state, self.world.data)


@pytest.fixture(scope='module', params=KINDS)
def fitted(request):
  return Fitted(request.param)


def test_a_policy_moves_and_stays_finite(fitted):
  start, state = (s.params['policy'] for s in (fitted.start, fitted.state))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
  moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), start, state)
  assert max(jax.tree.leaves(moved)) > 1e-4


def test_state_is_arrays_alone(fitted):
  leaves = jax.tree.leaves(fitted.state)
  assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_a_step_fetches_once_what_somebody_on_the_host_reads(
  fitted, monkeypatch
):
  fetched = []

  def device_get(tree):
    fetched.append(tree)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)

  rng = np.random.default_rng(0)
  monkeypatch.setattr(tasks, 'generator', lambda key: rng)  # reads its key
  monkeypatch.setattr(jax, 'device_get', device_get)
  # Traced: whatever else is read on the host is an error.
  jax.eval_shape(
    lambda key, state: fitted.learner.phases[0].collect(
      key, state, fitted.world.data
    ),
    jax.random.key(1),
    fitted.state,
  )
  nobody_reads = fitted.kind not in (
    'critique_grpo',
    'directive',
    'rltf',
    'sdpo',
  )
  assert len(fetched) == (0 if nobody_reads else 1)


def test_answers_are_verified_alike_on_the_host(fitted):
  if 'task' not in fitted.world.options:
    pytest.skip('nothing is verified')
  task = fitted.world.options['task']
  assert task.traced
  batch, metrics = fitted.collected(fitted.learner)
  other, others = fitted.collected(
    fitted.built(task=task._replace(traced=False))
  )
  for one, two in zip(
    jax.tree.leaves((batch, metrics)),
    jax.tree.leaves((other, others)),
    strict=True,
  ):
    np.testing.assert_allclose(one, two, atol=1e-6)
