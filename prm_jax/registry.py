"""Explicit tables: kind -> factory."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prm_jax.learners import aggregate, hierarchical, lore, pref
from prm_jax.rewards import factorized, scalar
from prm_jax.users import gaussian, population, simplex

LEARNERS: dict[str, Callable[..., Any]] = {
  'aggregate': aggregate.linear,
  'aggregate_mlp': aggregate.mlp,
  'hierarchical': hierarchical.hierarchical,
  'lore': lore.lore,
  'pref': pref.pref,
}
USERS: dict[str, Callable[..., Any]] = {
  'gaussian': gaussian.gaussian,
  'population': population.population,
  'simplex': simplex.simplex,
}
REWARDS: dict[str, Callable[..., Any]] = {
  'factorized': factorized.factorized,
  'identity': factorized.identity,
  'linear': scalar.linear,
  'mixture': factorized.mixture,
  'mlp': scalar.mlp,
}
ROOMS = {'learner': LEARNERS, 'user': USERS, 'reward': REWARDS}


def build(room: str, node: Mapping[str, Any]) -> Any:
  """Returns what `node['kind']` names, made with the node's other keys.

  Args:
    room: 'learner', 'user' or 'reward'.
    node: plain data.

  Raises:
    ValueError: the kind or a key is unknown; the known ones are named.
  """
  options = dict(node)
  kind = options.pop('kind', None)
  table = ROOMS[room]
  if kind not in table:
    raise ValueError(f'unknown {room} {kind!r}: one of {sorted(table)}')
  accepted = inspect.signature(table[kind]).parameters
  unknown = sorted(set(options) - set(accepted))
  if unknown:
    raise ValueError(
      f'{room} {kind!r} does not take {unknown}: it takes {sorted(accepted)}'
    )
  return table[kind](**options)
