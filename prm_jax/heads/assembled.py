"""Heads by name: what a learner's option `head` is built from."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from prm_jax import types
from prm_jax.heads import paired, penalized, ranked, rated

FACTORIES: Mapping[str, Callable[..., types.Head]] = MappingProxyType(
  {
    'all_pairs': ranked.all_pairs,
    'best_of_n': ranked.best_of_n,
    'bins': rated.bins,
    'bradley_terry': paired.bradley_terry,
    'classifier': paired.classifier,
    'conservative': paired.conservative,
    'cumulative': paired.cumulative,
    'davidson': paired.davidson,
    'disentangled': penalized.disentangled,
    'evidential': rated.evidential,
    'hinge': paired.hinge,
    'listnet': ranked.listnet,
    'mean_variance': rated.mean_variance,
    'penalized': penalized.penalized,
    'plackett_luce': ranked.plackett_luce,
    'quantiles': rated.quantiles,
    'rao_kupper': paired.rao_kupper,
    'regression': rated.regression,
    'robust': paired.robust,
    'squared': paired.squared,
    'steps': rated.steps,
    'strength_margin': paired.strength_margin,
    'strength_weight': paired.strength_weight,
    'thurstone': paired.thurstone,
  }
)

# Those whose labels are of two candidates, one number a judgement.
OF_TWO = (
  'bradley_terry',
  'classifier',
  'conservative',
  'cumulative',
  'davidson',
  'hinge',
  'rao_kupper',
  'robust',
  'squared',
  'strength_margin',
  'strength_weight',
  'thurstone',
)


def given(node: types.Head | Mapping[str, Any] | None) -> types.Head | None:
  """Returns a head, which may be plain data; None stays None.

  Args:
    node: a head, or 'kind' and options.

  Raises:
    ValueError: the kind or an option is unknown; the known ones are named.
  """
  if node is None or isinstance(node, types.Head):
    return node
  return built('head', FACTORIES, node)


def built(
  room: str, factories: Mapping[str, Callable[..., Any]], node: Mapping
) -> Any:
  """Returns what `node['kind']` names, made with the node's other keys.

  Args:
    room: what is built, for errors.
    factories: by kind.
    node: plain data.

  Raises:
    ValueError: the kind or a key is unknown; the known ones are named.
  """
  options = dict(node)
  kind = options.pop('kind', None)
  if kind not in factories:
    raise ValueError(f'unknown {room} {kind!r}: one of {sorted(factories)}')
  accepted = inspect.signature(factories[kind]).parameters
  unknown = sorted(set(options) - set(accepted))
  if unknown:
    raise ValueError(
      f'{room} {kind!r} does not take {unknown}: it takes {sorted(accepted)}'
    )
  return factories[kind](**options)
