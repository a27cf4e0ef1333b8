"""Paths of a tree's leaves, and the part of it that is trained."""

from collections.abc import Mapping

import jax

from prm_jax import types


def name(path: tuple) -> str:
  """Returns a leaf's path as `people/free/coefficients`."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def flat(tree: types.PyTree, prefix: str = '') -> dict[str, types.Array]:
  """Returns path -> leaf, in the tree's order.

  Args:
    tree: any.
    prefix: put before every path, with a slash.
  """
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  start = f'{prefix}/' if prefix else ''
  return {start + name(path): leaf for path, leaf in leaves}


def paths(tree: types.PyTree) -> set[str]:
  """Returns the paths of all leaves."""
  return set(flat(tree))


def put(tree: types.PyTree, leaves: Mapping[str, types.Array]) -> types.PyTree:
  """Returns the tree with some leaves in place of its own.

  Args:
    tree: any.
    leaves: path -> leaf.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaves.get(name(path), leaf), tree
  )


def names(path: str, part: str) -> bool:
  """Returns whether whole components of a path are those of `part`."""
  return f'/{part}/' in f'/{path}/'


def split(
  params: types.PyTree, train: str
) -> tuple[types.PyTree, types.PyTree]:
  """Returns the parameters that train and the others, None in their places.

  Args:
    params: a tree.
    train: see `Phase.train`.

  Raises:
    ValueError: a part of `train` matches no path.
  """
  if not train:
    return params, jax.tree.map(lambda _: None, params)
  known, parts = paths(params), train.split('|')
  for part in parts:
    if not any(names(path, part.removeprefix('-')) for path in known):
      raise ValueError(
        f'train={train!r}: {part!r} names no parameter; there are '
        f'{sorted(known)[:8]}'
      )

  named = [part for part in parts if not part.startswith('-')]
  others = [part[1:] for part in parts if part.startswith('-')]

  def trains(path):
    inside = not named or any(names(path, part) for part in named)
    return inside and not any(names(path, part) for part in others)

  def chosen(wanted):
    return jax.tree_util.tree_map_with_path(
      lambda path, leaf: leaf if trains(name(path)) == wanted else None, params
    )

  return chosen(True), chosen(False)


def join(first: types.PyTree, second: types.PyTree) -> types.PyTree:
  """Returns one tree of two, each of which has None where the other has not."""
  return jax.tree.map(
    lambda a, b: b if a is None else a,
    first,
    second,
    is_leaf=lambda leaf: leaf is None,
  )
