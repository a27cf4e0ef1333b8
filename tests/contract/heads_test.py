"""What every head promises, under every learner that conditions late."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry, types
from prm_jax.runtime import train
from prm_jax.systems import inference, likelihoods

LEARNERS = [
  kind
  for kind, entry in sorted(registry.LEARNERS.items())
  if 'head' in inspect.signature(entry.factory).parameters
]
# A learner of people, with a head of lists and one of ties.
SOME = ('plackett_luce', 'rao_kupper')


def fast(kind, head):
  return kind == 'pref' and head in SOME


CASES = [
  pytest.param(
    kind,
    head,
    id=f'{kind}-{head}',
    marks=() if fast(kind, head) else pytest.mark.slow,
  )
  for kind in LEARNERS
  for head in sorted(registry.HEADS)
]
SHORT = {'steps': 25}


def fitted(kind, head):
  world = registry.HEADS[head].small()
  own = registry.LEARNERS[kind].small().options
  node = {'kind': kind, **SHORT, **own, 'head': {'kind': head, **world.options}}
  learner = registry.build('learner', node)
  key = jax.random.key(0)
  state = train.fit(learner, world.data, key=key, spec=world.spec)
  return learner, state, world


def loss(system, params, free, data):
  """The mean of what a head says of rows, with scores of the population."""
  head = system.head
  own = likelihoods.rows(head, params['head'], free, data.rows.user)
  contexts = contexts_of(system, params, data, free)
  chosen = jax.tree.map(
    lambda leaf: jnp.asarray(leaf)[data.rows.user], contexts
  )
  read = likelihoods.seen(system, params, chosen, data.inputs)
  return float(jnp.mean(head.nll(own, read, jnp.asarray(data.rows.label))))


def contexts_of(system, params, data, free):
  key = jax.random.key(0)
  return inference.infer(system, params, data, key=key, people=6, free=free)


@pytest.mark.parametrize(('kind', 'head'), CASES)
def test_a_head_learns_under_a_learner(kind, head):
  learner, state, world = fitted(kind, head)
  system, data = learner.system, world.data
  assert all(
    np.isfinite(leaf).all()
    for leaf in jax.tree.leaves((state.params, state.people.free))
  )
  start = learner.init(jax.random.key(0), world.spec)
  free = state.people.free or None
  after = loss(system, state.params, free, data)
  assert after < loss(system, start.params, None, data)
  contexts = contexts_of(system, state.params, data, free)
  said = inference.predict(system, state.params, contexts, data, free=free)
  assert np.isfinite(said).all()
  assert len(said) == len(data.rows.user)
  scores = likelihoods.served(
    system,
    state.params,
    jax.tree.map(lambda leaf: jnp.asarray(leaf)[:1], contexts),
    types.Inputs(data.inputs.value[None]),
  )[0]
  good = np.asarray(data.inputs.value) @ np.array([2.0, -1, 0, 0, 0])
  # A quarter of what is served is left to taste and noise.
  assert np.corrcoef(scores, good)[0, 1] > 0.75
