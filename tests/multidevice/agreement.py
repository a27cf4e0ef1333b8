"""Prints, for eight devices, how far the three spellings lie apart."""

import json

import bilinear
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from prm_jax import types
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import train
from prm_jax.runtime import update as updates


def difference(a, b) -> float:
  pairs = zip(bilinear.arrays(a), bilinear.arrays(b), strict=True)
  return max(
    float(np.max(np.abs(x.astype(np.float64) - y.astype(np.float64))))
    for x, y in pairs
  )


def checked(batch, mesh) -> float:
  """The same under a bare shard_map, whose check sums gradients by itself."""

  def objective(params, people, state, batch, gather):
    del state, gather
    scores = batch.inputs.value @ params['reward']['basis']
    pair = scores[batch.inputs.index]
    coefficients = people.free['coefficients'][batch.rows.user]
    margin = jnp.sum((pair[:, 0] - pair[:, 1]) * coefficients, 1)
    loss = jnp.logaddexp(0.0, margin) - batch.rows.label * margin
    square = 0.1 * jnp.sum(params['reward']['basis'] ** 2)
    return {'nll': (loss, jnp.ones_like(loss))}, {'basis': square}, {}

  batch = compiling.pad(batch, 8)
  sgd = optax.sgd(0.1)
  phase = types.Phase('sgd', None, objective, sgd, sgd, steps=1)
  state = updates.initialize(bilinear.state(), phase)
  update = updates.make_update(phase)
  mapped = jax.shard_map(
    lambda state, batch: update(state, batch, axis='data'),
    mesh=mesh,
    in_specs=(P(), types.Batch(P('data'), types.Inputs(P(), P('data')))),
    out_specs=P(),
  )
  expected = jax.jit(update)(state, batch)[0]
  return difference(expected, jax.jit(mapped)(state, batch)[0])


def main():
  # 93 rows, which 8 devices do not divide, and people, which they do.
  batch = bilinear.data(rows=93)
  batch.rows.mask[-1] = 1  # so that padding differs from the last row
  phase = bilinear.learner().phases[1]
  start = updates.initialize(bilinear.state(), phase)
  update = updates.make_update(phase)

  def run(step):
    state = start
    for _ in range(3):
      state, metrics = step(state, batch)
    # Totals grow with the rows; their means are what is compared.
    return state, {name: mean.compute() for name, mean in metrics.items()}

  expected = run(jax.jit(update))
  mesh = meshes.make_mesh()
  found = {
    how: run(compiling.compile_update(update, mesh, how))
    for how in ('jit', 'shard_map', 'pmap')
  }
  split = meshes.make_mesh(data=4, fsdp=2)
  found['jit 4x2'] = run(compiling.compile_update(update, split))
  report = {how: difference(expected, result) for how, result in found.items()}
  report['checked'] = checked(batch, mesh)
  fits = {}
  for how in ('jit', 'shard_map', 'pmap'):
    learner = bilinear.learner(6)
    fits[how] = train.go_on(
      learner, bilinear.state(), batch, mesh=mesh, how=how
    )
  one = train.go_on(bilinear.learner(6), bilinear.state(), batch)
  for how, state in fits.items():
    report[f'fit {how}'] = difference(one, state)
  people = found['jit'][0].people.free['coefficients']
  report['devices'] = jax.device_count()
  report['people on a device'] = people.addressable_shards[0].data.shape[0]
  moved = jnp.abs(expected[0].people.free['coefficients'] - 1.0)
  report['moved'] = float(jnp.max(moved))
  print(json.dumps(report))


if __name__ == '__main__':
  main()
