"""The state before the first phase: born where it will live."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from prm_jax import types
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import processes, trees


def start(
  learner: types.Learner,
  *,
  key: types.Key,
  spec: types.Spec,
  hyper: Mapping[str, float] | None = None,
  given: Mapping[str, Any] | None = None,
  mesh: Mesh | None = None,
) -> types.TrainState:
  """Returns the state before the first phase; arguments are those of `fit`.

  With a mesh the state is born where it will live: no device holds it whole.

  Raises:
    ValueError: a number of `hyper` or a path of `given` is none of the
      learner's, or a given leaf has another shape or type.
  """
  given = dict(given or {})
  if mesh is None and not given:
    return with_hyper(learner.init(key, spec), hyper or {})
  shapes = jax.eval_shape(lambda key: learner.init(key, spec), key)
  known = trees.flat(shapes)
  _check_given(known, given)

  def init(key):
    drawn = trees.flat(learner.init(key, spec))
    return {path: leaf for path, leaf in drawn.items() if path not in given}

  # Compiled, so that what is given is never drawn.
  where: dict[str, Any] = {}
  if mesh is None:
    leaves = jax.jit(init)(key)
  else:
    where = trees.flat(meshes.shardings(shapes, mesh))
    own = {path: where[path] for path in where if path not in given}
    leaves = jax.jit(init, out_shardings=own)(key)
  for path, leaf in given.items():
    like = known[path]
    if mesh is not None and not callable(leaf):
      leaves[path] = processes.put(leaf, where[path])
    elif mesh is not None:
      leaves[path] = jax.make_array_from_callback(
        like.shape, where[path], leaf, dtype=like.dtype
      )
    else:
      leaves[path] = jnp.asarray(leaf(...) if callable(leaf) else leaf)
  return with_hyper(trees.put(shapes, leaves), hyper or {})


def _check_given(shapes, given):
  """Raises where a given leaf is none of the state's."""
  for path, leaf in given.items():
    if path not in shapes:
      raise ValueError(
        f'given {path!r} is no leaf of the state; there are '
        f'{sorted(shapes)[:8]}'
      )
    like = shapes[path]
    if callable(leaf):
      continue
    found = jnp.shape(leaf), jnp.asarray(leaf).dtype
    if found != (like.shape, like.dtype):
      raise ValueError(
        f'given {path!r} is {found[1]}{list(found[0])}, and the state has '
        f'{like.dtype}{list(like.shape)}'
      )


def with_hyper(
  state: types.TrainState, hyper: Mapping[str, float]
) -> types.TrainState:
  """Returns the state with searched numbers in place of the learner's own.

  Raises:
    ValueError: the learner has no such number: it would never be read.
  """
  unknown = sorted(set(hyper) - set(state.hyper))
  if unknown:
    raise ValueError(
      f'{unknown} are not searched numbers of this learner: it has '
      f'{sorted(state.hyper)}'
    )
  given = {name: jnp.float32(value) for name, value in hyper.items()}
  return state._replace(hyper={**state.hyper, **given})


def check(
  learner: types.Learner, state: types.TrainState, data: types.Batch
) -> None:
  """Raises ValueError where data and state do not fit, before anything runs."""
  if not len(data.rows.mask):
    raise ValueError('the data have no rows')
  if jax.tree.leaves(state.people.free) and not any(
    phase.people is not None for phase in learner.phases
  ):
    raise ValueError(
      'people have free parameters, and no phase trains them: give one '
      '`people`, an optimizer'
    )
  inputs = data.inputs
  if inputs is None or inputs.index is None or inputs.value is None:
    return
  leaves = jax.tree.leaves(inputs.value)
  texts = len(leaves[0]) if leaves else 0
  if isinstance(inputs.value, types.Tokens) and inputs.value.end is not None:
    texts = inputs.value.end.size
  index = np.asarray(inputs.index)
  if index.size and not 0 <= index.min() <= index.max() < texts:
    row = int(np.argmax(((index < 0) | (index >= texts)).any(1)))
    raise ValueError(
      f'row {row} points to texts {index[row].tolist()}, and there are {texts}'
    )


def weighed(state: types.TrainState, data: types.Batch) -> types.TrainState:
  """Returns the state that knows how much each person's rows weigh."""
  if not isinstance(data.rows, types.Judgements):
    return state
  weight = np.bincount(
    np.asarray(data.rows.user),
    np.asarray(data.rows.mask, np.float64),
    len(state.people.ids),
  ).astype(np.float32)
  return state._replace(
    people=state.people._replace(weight=jnp.asarray(weight))
  )
