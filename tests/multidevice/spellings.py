"""Prints how far the gradients of every learner lie apart on four devices.

Gradients of a phase's first step, from one given state and batch, and not the
parameters after it: Adam's first step is g / (|g| + eps), so that rounding
decides where g is nearly 0. Learners that take no step are compared by what
they predict.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import registry
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import train
from prm_jax.safeguards import debiasing
from prm_jax.systems import inference

# pmap is jit of shard_map since JAX 0.8: once a role.
PMAP = ('aggregate_mlp', 'grpo', 'polar', 'pref')
CAPTURE = optax.GradientTransformation(
  lambda params: jax.tree.map(jnp.zeros_like, params),
  lambda gradient, state, params=None: (
    jax.tree.map(jnp.zeros_like, gradient),
    gradient,
  ),
)


def stepping(learner):
  """The index of the first phase that takes steps, or None."""
  return next((i for i, p in enumerate(learner.phases) if p.steps), None)


def begun(learner, world):
  """The state before the first step, and the batch of that step, or None."""
  index = stepping(learner)
  phase = learner.phases[index]
  phases = (*learner.phases[:index], phase._replace(steps=0, collect=None))
  spec = world.spec._replace(judgements=len(world.data.rows.mask))
  state = learner.init(jax.random.key(0), spec)
  state = train.go_on(learner._replace(phases=phases), state, world.data)
  if phase.average is not None:
    state = state._replace(average=state.params)
  if phase.collect is None:
    return state, None
  batch, _ = phase.collect(jax.random.key(1), state, world.data)
  return state, jax.tree.map(np.asarray, batch)


def stepped(learner, state, data, batch, mesh=None, how='jit'):
  """The state after a step that moves nothing and keeps its gradients."""
  phase = learner.phases[stepping(learner)]
  phase = phase._replace(
    begin=None,
    collect=None,
    optimizer=CAPTURE,
    steps=1,
    average=None,
    people=None if phase.people is None else CAPTURE,
  )
  batches = None if batch is None else iter([batch])
  return train.go_on(
    learner._replace(phases=(phase,)),
    state,
    data,
    batches=batches,
    mesh=mesh,
    how=how,
  )


def kept(after):
  """The gradients that `stepped` keeps, of parameters and people."""
  (shared,) = after.opt_state.values()
  people = tuple(after.people.moments.values())
  return jax.tree.map(np.asarray, (shared, people))


def gradients(learner, state, data, batch, mesh=None, how='jit'):
  """The gradients of parameters and people in the first step."""
  return kept(stepped(learner, state, data, batch, mesh, how))


def apart(one, other):
  """The largest difference, relative to each leaf's largest entry.

  A leaf that is a millionth of the largest has no gradient, but rounding (a
  network's last bias cancels in every pair): the largest is its measure.
  """
  one, other = jax.tree.leaves(one), jax.tree.leaves(other)
  sizes = [float(np.abs(leaf).max()) for leaf in one]
  most = max(sizes)
  return max(
    float(np.abs(a - b).max()) / (size if size > 1e-6 * most else most)
    for a, b, size in zip(one, other, sizes, strict=True)
  )


def compare(kind, learner, world, mesh):
  state, batch = begun(learner, world)
  one = gradients(learner, state, world.data, batch)
  size = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(one))
  report = {'size': size}
  for how in ('jit', 'shard_map', *(('pmap',) if kind in PMAP else ())):
    found = gradients(learner, state, world.data, batch, mesh, how)
    report[how] = apart(one, found)
  phase = learner.phases[stepping(learner)]
  if phase.people is not None and kind in PMAP:
    # As minibatches are: people are gathered, renumbered and put back.
    for how in ('jit', 'shard_map'):
      found = gradients(learner, state, world.data, world.data, mesh, how)
      report[f'{how} by rows'] = apart(one, found)
  return report


def predictions(learner, world, mesh=None):
  key = jax.random.key(0)
  state = train.fit(learner, world.data, key=key, spec=world.spec, mesh=mesh)
  contexts = inference.infer(
    learner.system, state.params, world.data, key=key, people=world.spec.people
  )
  return inference.predict(learner.system, state.params, contexts, world.data)


def debiased(learner, world):
  bias = np.random.default_rng(3).normal(size=len(world.data.inputs.value))
  return debiasing.debiased(learner, jnp.asarray(bias), strength=2.0)


def fits(kind, mesh):
  """How far whole fits lie apart: parameters, relative to their changes."""
  world = registry.LEARNERS[kind].small()
  learner = registry.build('learner', {'kind': kind, **world.options})
  key = jax.random.key(0)

  def fit(**options):
    return train.fit(learner, world.data, key=key, spec=world.spec, **options)

  one = jax.tree.map(np.asarray, fit().params)
  start = jax.tree.map(
    np.asarray,
    learner.init(
      key, world.spec._replace(judgements=len(world.data.rows.mask))
    ).params,
  )
  moved = max(
    float(np.abs(a - b).max())
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(start), strict=True)
  )
  found = {}
  for how in ('jit', 'shard_map'):
    other = jax.tree.map(np.asarray, fit(mesh=mesh, how=how).params)
    found[how] = max(
      float(np.abs(a - b).max()) / moved
      for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )
  return found


def main(kinds):
  mesh = meshes.make_mesh(devices=jax.devices()[:4])
  report = {'devices': jax.device_count()}
  if kinds[:1] == ['--fits']:
    print(json.dumps({kind: fits(kind, mesh) for kind in kinds[1:]}))
    return
  for kind in kinds:
    world = registry.LEARNERS[kind.removesuffix('_debiased')].small()
    learner = registry.build(
      'learner', {'kind': kind.removesuffix('_debiased'), **world.options}
    )
    if kind.endswith('_debiased'):
      learner = debiased(learner, world)
    if stepping(learner) is not None:
      report[kind] = compare(kind, learner, world, mesh)
    else:
      one = predictions(learner, world)
      other = predictions(learner, world, mesh)
      report[kind] = {'size': float(np.std(one)), 'jit': apart(one, other)}
    jax.clear_caches()
  print(json.dumps(report))


if __name__ == '__main__':
  main(sys.argv[1:])
