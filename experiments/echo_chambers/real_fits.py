"""What the rows of real texts share: features, fits, and their intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from prm_jax import types
from prm_jax.lab import columns, fitting
from prm_jax.ops import statistics

Row = dict[str, Any]
# Texts -> `[M, D]`: `models.features.Source`, or what a test has in its place.
Source = Any
REPLICATES = 1000  # of every bootstrap and permutation


def fit(
  node: Mapping[str, Any],
  features: np.ndarray,
  judged: types.Batch,
  *,
  people: int,
  seed: int,
) -> np.ndarray:
  """Returns weights of the features, `[U, D]`, or `[1, D]` of everybody.

  Args:
    node: 'aggregate' or 'hierarchical' and its options.
    features: `[M, D]` features.
    judged: training judgements, which are also the evidence on each person.
    people: U.
    seed: of the learner.
  """
  problem = fitting.of_judgements(judged, features, people=people, seed=seed)
  fitted = fitting.Fitted.fit(
    node, {'features': 'given'}, problem, judged, fitting.FeatureSets(problem)
  )
  if node['kind'] == 'aggregate':
    return np.asarray(fitted.state.params['reward']['weight'])[None]
  return np.asarray(fitted.contexts(judged).mean)


def draws(
  group: np.ndarray, *, resample_groups: bool = False, seed: int = 0
) -> np.ndarray:
  """Returns how often each is drawn, `[1 + R, n]`: once, then R draws.

  Groups and seed are as in `statistics.bootstrap_weights`.
  """
  weights = statistics.bootstrap_weights(
    group, REPLICATES, resample_groups=resample_groups, seed=seed
  )
  return np.concatenate([np.ones((1, len(group))), weights])


def row(material, method, quantity, values, n, unit) -> Row:
  """Returns a row: of `[1 + R]` the first is the value, then replicates."""
  limits = (values[0], *statistics.interval(values[1:]))
  return {
    'material': material,
    'method': method,
    'quantity': quantity,
    **columns.interval('value', limits),
    'n': int(n),
    'unit': unit,
  }


def mean_row(material, method, quantity, values, unit) -> Row:
  """Returns a row: the mean of `[n]`, and its bootstrap."""
  n = len(values)
  drawn = np.random.default_rng(0).integers(n, size=(REPLICATES, n))
  means = np.concatenate([[values.mean()], values[drawn].mean(1)])
  return row(material, method, quantity, means, n, unit)
