"""What the rows of real texts share: features, fits, and their intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax import types
from prm_jax.lab import columns, fitting
from prm_jax.models import features as text_features
from prm_jax.ops import statistics

Row = dict[str, Any]
# Texts -> `[M, D]`; what reads them is loaded when it is first needed.
Source = Callable[[Sequence[str]], np.ndarray]


def reader(
  source: Source, texts: Sequence[str], train: np.ndarray, components: int
) -> Callable[[Sequence[str]], np.ndarray]:
  """Returns what makes `[N, components + 1]` of texts.

  Args:
    source: of features.
    texts: M texts.
    train: `[M]` bool, of which components and length are scaled.
    components: of the features, whitened; the log length is one more column.
  """
  given: Any = source
  fitted = text_features.fit('response', given, [], texts, train, components)
  return lambda some: fitted(given, [], some)


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


def over_seeds(functions, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the mean `[1 + R]` over seeds of f(weights of its people)."""
  total = np.zeros(len(weights))
  share = np.zeros(len(weights))
  for seed, function in enumerate(functions):
    own = weights[:, group == seed]
    size = own.sum(1)
    drawn = size > 0
    # A replicate may leave a seed out; it must not divide by nothing.
    values = function(np.where(drawn[:, None], own, 1.0))
    total += np.where(drawn, size * values, 0.0)
    share += size
  return total / share


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


def mean_row(material, method, quantity, values, unit, replicates) -> Row:
  """Returns a row: the mean of `[n]`, and its bootstrap."""
  n = len(values)
  drawn = np.random.default_rng(0).integers(n, size=(replicates, n))
  means = np.concatenate([[values.mean()], values[drawn].mean(1)])
  return row(material, method, quantity, means, n, unit)
