"""Explicit tables: kind -> factory."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prm_jax import types
from prm_jax.learners import (
  aggregate,
  amortized,
  hierarchical,
  likeness,
  lore,
  mrm,
  pal,
  pref,
  rfm,
)
from prm_jax.rewards import (
  conditioned,
  discriminative,
  factorized,
  ideal_point,
  scalar,
)
from prm_jax.rewards import likeness as likeness_rewards
from prm_jax.safeguards import adaptive, coefficients, policies
from prm_jax.safeguards import rewards as reward_safeguards
from prm_jax.users import (
  gaussian,
  in_context,
  latent,
  meta,
  population,
  references,
  simplex,
)

LEARNERS: dict[str, Callable[..., Any]] = {
  'aggregate': aggregate.linear,
  'aggregate_mlp': aggregate.mlp,
  'gpo': amortized.gpo,
  'hierarchical': hierarchical.hierarchical,
  'in_context': amortized.in_context,
  'likeness': likeness.likeness,
  'lore': lore.lore,
  'mrm': mrm.mrm,
  'pal': pal.pal,
  'pref': pref.pref,
  'rfm': rfm.rfm,
  'spl': amortized.spl,
  'vpl': amortized.vpl,
}
USERS: dict[str, Callable[..., Any]] = {
  'flow': latent.flow,
  'gaussian': gaussian.gaussian,
  'in_context': in_context.in_context,
  'latent': latent.latent,
  'meta': meta.meta,
  'online': gaussian.online,
  'population': population.population,
  'references': references.references,
  'simplex': simplex.simplex,
}
REWARDS: dict[str, Callable[..., Any]] = {
  'discriminative': discriminative.discriminative,
  'factorized': factorized.factorized,
  'ideal_point': ideal_point.ideal_point,
  'identity': factorized.identity,
  'in_context': conditioned.in_context,
  'latent': conditioned.latent,
  'likeness': likeness_rewards.likeness,
  'linear': scalar.linear,
  'mixture': factorized.mixture,
  'mlp': scalar.mlp,
  'network': factorized.network,
}
SAFEGUARDS: dict[str, Callable[..., types.Safeguard]] = {
  'agreement_penalty': reward_safeguards.agreement_penalty,
  'bridging': policies.bridging,
  'constitutional_floor': adaptive.constitutional_floor,
  'empirical_shrinkage': reward_safeguards.empirical_shrinkage,
  'exposure': adaptive.exposure,
  'floor': policies.floor,
  'lower_bound': reward_safeguards.lower_bound,
  'matching': policies.matching,
  'preference_shift': adaptive.preference_shift,
  'projection': coefficients.projection,
  'residual': reward_safeguards.residual,
  'shrinkage': reward_safeguards.shrinkage,
  'trust_region': policies.trust_region,
}
ROOMS = {
  'learner': LEARNERS,
  'user': USERS,
  'reward': REWARDS,
  'safeguard': SAFEGUARDS,
}


def build(room: str, node: Mapping[str, Any]) -> Any:
  """Returns what `node['kind']` names, made with the node's other keys.

  Args:
    room: 'learner', 'user', 'reward' or 'safeguard'.
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
