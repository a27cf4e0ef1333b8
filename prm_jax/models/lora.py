"""Low-rank adapters of a decoder's weights: one set of weights, many models.

Adapters are plain arrays. They are merged into the weights before a forward
pass, or applied beside them, x W + (x a) b (`adapters` of a `Decoder`): where
a leading axis of people or policies is mapped over with `jax.vmap`, merging
makes a copy of the kernels for each, and applying does not.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types

TARGETS = ('query', 'value')


class Adapter(NamedTuple):
  """A change of one kernel in every layer: scale * a @ b.

  Attributes:
    a: `[L, in, r]`.
    b: `[L, r, out]`.
  """

  a: types.Array
  b: types.Array


Adapters = Mapping[str, Adapter]


def init(
  key: types.Key,
  params: types.PyTree,
  *,
  rank: int,
  targets: Sequence[str] = TARGETS,
) -> dict[str, Adapter]:
  """Returns adapters that change nothing yet.

  a is Gaussian with variance 1 / in, and b is zero.

  Args:
    key: of a.
    params: of a `Decoder`, or of a `Stack`.
    rank: r.
    targets: names of a layer's kernels.

  Raises:
    ValueError: no such kernel, or no rank.

  References:
    Hu et al. 2021 (LoRA), arXiv:2106.09685.
  """
  if rank < 1:
    raise ValueError(f'rank {rank}: at least 1')
  known = kernels(params)
  if unknown := sorted(set(targets) - set(known)):
    raise ValueError(f'targets {unknown}: choose some of {sorted(known)}')
  adapters = {}
  for name in sorted(set(targets)):
    L, inner, outer = known[name].shape
    # The name keys the draw: it does not depend on the other targets.
    own = jax.random.fold_in(key, zlib.crc32(name.encode()))
    a = jax.random.normal(own, (L, inner, rank)) / inner**0.5
    adapters[name] = Adapter(a, jnp.zeros((L, rank, outer)))
  return adapters


def kernels(params: types.PyTree) -> dict[str, types.Array]:
  """Returns the kernels `[L, in, out]` that adapters can change, by name."""
  layer = _layer(params)
  return {
    name: leaf['kernel']
    for name, leaf in layer.items()
    if 'kernel' in leaf and leaf['kernel'].ndim == 3
  }


def merge(
  params: types.PyTree, adapters: Adapters, *, scale: types.Scalar = 1.0
) -> types.PyTree:
  """Returns parameters with kernels + scale * a @ b.

  Args:
    params: of a `Decoder`, or of a `Stack`; not changed.
    adapters: from `init`.
    scale: of the change.

  Raises:
    ValueError: an adapter's kernel is not there or has another shape.
  """
  layer, known = dict(_layer(params)), kernels(params)
  for name, (a, b) in adapters.items():
    if name not in known:
      raise ValueError(f'adapter {name!r}: choose some of {sorted(known)}')
    kernel = known[name]
    shape = (*a.shape[:-1], b.shape[-1])
    if shape != kernel.shape:
      raise ValueError(
        f'adapter {name!r} makes {shape}, its kernel is {kernel.shape}'
      )
    change = scale * jnp.einsum('lir,lro->lio', a, b)
    merged = (kernel + change).astype(kernel.dtype)
    layer[name] = {**layer[name], 'kernel': merged}
  inner = params['params']
  if 'layers' in inner:
    return {**params, 'params': {**inner, 'layers': {'layer': layer}}}
  return {**params, 'params': {**inner, 'layer': layer}}


def raised(adapters: Adapters, layers: int) -> dict[str, Adapter]:
  """Returns adapters of all layers, that change the highest alone.

  Args:
    adapters: of some layers, the highest.
    layers: of the decoder.

  Raises:
    ValueError: the decoder has fewer.
  """

  def pad(leaf):
    below = layers - len(leaf)
    if below < 0:
      raise ValueError(
        f'adapters of {len(leaf)} layers, and there are {layers}'
      )
    return jnp.pad(jnp.asarray(leaf), ((below, 0), (0, 0), (0, 0)))

  return {
    name: Adapter(*(pad(leaf) for leaf in adapter))
    for name, adapter in adapters.items()
  }


def count(adapters: Adapters) -> int:
  """Returns the number of parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(dict(adapters)))


def _layer(params: types.PyTree) -> Mapping[str, types.PyTree]:
  inner = params['params']
  return inner.get('layers', inner)['layer']
