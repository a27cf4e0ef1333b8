"""Prints how far in-batch negatives of eight devices lie from those of one."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from prm_jax import types
from prm_jax.ops import discrimination
from prm_jax.runtime import mesh as meshes

B, D, J = 24, 5, 4
POLICIES = 6


class Rows(NamedTuple):
  reference: types.ArrayLike
  candidate: types.ArrayLike
  policy: types.ArrayLike
  mask: types.ArrayLike


def data():
  rng = np.random.default_rng(0)
  mask = np.ones(B, np.float32)
  mask[-2:] = 0  # padding: the last device has one row
  rows = Rows(
    rng.normal(size=(B, D)).astype(np.float32),
    rng.normal(size=(B, D)).astype(np.float32),
    rng.integers(0, POLICIES, B).astype(np.int32),
    mask,
  )
  params = {
    'reference': rng.normal(size=(D, J)).astype(np.float32),
    'candidate': rng.normal(size=(D, J)).astype(np.float32),
    'bilinear': rng.normal(size=(J, J)).astype(np.float32),
  }
  return params, rows


def step(params, rows, axis=None, gathered=True, shifted=True):
  """Returns the mean loss of all rows and its gradient."""
  count = jnp.sum(rows.mask)
  if axis is not None:
    # Else shard_map's check sums gradients of what is replicated by itself.
    params = jax.lax.pcast(params, axis, to='varying')
    count = jax.lax.psum(count, axis)

  def loss(params):
    reference = jnp.tanh(rows.reference @ params['reference'])
    candidate = jnp.tanh(rows.candidate @ params['candidate'])
    over = axis if gathered else None
    candidate, policy, mask = discrimination.gather(
      (candidate, rows.policy, rows.mask), over
    )
    here = len(rows.mask)
    first = discrimination.offset(here, over if shifted else None)
    each = discrimination.in_batch(
      reference @ params['bilinear'] @ candidate.T,
      rows.policy,
      policy,
      first + jnp.arange(here),
      mask,
    )
    return jnp.sum(rows.mask * each) / count

  result = jax.value_and_grad(loss)(params)
  return result if axis is None else jax.lax.psum(result, axis)


def difference(a, b):
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(float(np.max(np.abs(np.subtract(x, y)))) for x, y in pairs)


def main():
  params, rows = data()
  mesh = meshes.make_mesh()

  def shard_map(check=True, **options):
    mapped = jax.shard_map(
      lambda params, rows: step(params, rows, 'data', **options),
      mesh=mesh,
      in_specs=(P(), Rows(*[P('data')] * 4)),
      out_specs=P(),
      check_vma=check,
    )
    return jax.jit(mapped)(params, rows)

  mapped = jax.pmap(
    lambda params, rows: step(params, rows, 'data'),
    axis_name='data',
    in_axes=(None, 0),
    out_axes=None,
  )
  split = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), rows)
  found = {
    'shard_map': shard_map(),
    'shard_map unchecked': shard_map(check=False),
    'pmap': mapped(params, split),
    'not gathered': shard_map(gathered=False),
    'not shifted': shard_map(shifted=False),
  }
  one = jax.jit(step)(params, rows)
  report = {
    how: {
      'loss': difference(one[0], result[0]),
      'gradient': difference(one[1], result[1]),
    }
    for how, result in found.items()
  }
  smallest = min(float(np.abs(g).max()) for g in one[1].values())
  sizes = {'devices': jax.device_count(), 'gradient': smallest}
  print(json.dumps(report | sizes))


if __name__ == '__main__':
  main()
