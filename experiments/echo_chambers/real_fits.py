"""What the real-text rows share: features, fits, rows and their intervals."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from prm_jax import registry, types
from prm_jax.learners import inference
from prm_jax.models import embeddings, reduce
from prm_jax.ops import statistics
from prm_jax.runtime import train

MIDDLE = (1, 3, 5)  # layers, as the other studies' `middle`


class Features:
  """Whitened components and log length, fitted on some of the texts.

  Attributes:
    values: `[M, components + 1]` of the texts.
  """

  def __init__(self, texts, raw, fit_on, components):
    length = embeddings.text_length_features(texts)
    self._pca = reduce.principal_components(
      raw, fit_on, components, whiten=True
    )
    self._length = reduce.standardisation(length, fit_on)
    self.values = self(texts, raw)

  def __call__(self, texts, raw) -> np.ndarray:
    """Returns the features `[N, components + 1]` of any texts."""
    length = embeddings.text_length_features(texts)
    return np.concatenate([self._pca(raw), self._length(length)], 1)


def fit(
  choice: Mapping[str, Any],
  features: np.ndarray,
  judged: types.Batch,
  *,
  people: int,
  seed: int,
) -> np.ndarray:
  """Returns weights of the features, `[U, D]`, or `[1, D]` of everybody.

  Args:
    choice: 'aggregate' or 'hierarchical' and its options.
    features: `[M, D]` features.
    judged: training judgements, which are also the evidence on each person.
    people: U.
    seed: of the learner.
  """
  learner, key = _learner(tuple(choice.items())), jax.random.key(seed)
  data = judged.over(features)
  state = train.fit(
    learner, data, key=key, spec=types.Spec(features.shape[1], people)
  )
  if choice['kind'] == 'aggregate':
    return np.asarray(state.params['reward']['weight'])[None]
  contexts = inference.infer(
    learner.system, state.params, data, key=key, people=people
  )
  return np.asarray(contexts.mean)


@functools.lru_cache(maxsize=8)
def _learner(options: tuple[tuple[str, Any], ...]) -> types.Learner:
  return registry.build('learner', dict(options))


def by_person(user: np.ndarray, values: np.ndarray, people: int) -> np.ndarray:
  """Returns means `[U]` of `[n]`; everybody has a row."""
  return np.bincount(user, values, people) / np.bincount(user, minlength=people)


def over_seeds(functions, group: np.ndarray, weights: np.ndarray):
  """Returns the mean `[1 + R]` over seeds of f(weights of its people)."""
  total = np.zeros(len(weights))
  share = np.zeros(len(weights))
  for seed, function in enumerate(functions):
    own = weights[:, group == seed]
    size = own.sum(1)
    there = size > 0
    # A replicate may leave a seed out; it must not divide by nothing.
    values = function(np.where(there[:, None], own, 1.0))
    total += np.where(there, size * values, 0.0)
    share += size
  return total / share


def row(material, method, quantity, values, n, unit) -> dict:
  """Returns a row: of `[1 + R]` the first is the value, then replicates."""
  low, high = statistics.interval(values[1:])
  return {
    'material': material,
    'method': method,
    'quantity': quantity,
    'value': float(values[0]),
    'value_low': low,
    'value_high': high,
    'n': int(n),
    'unit': unit,
  }


def mean_row(material, method, quantity, values, unit, replicates) -> dict:
  """Returns a row: the mean of `[n]`, and its bootstrap."""
  n = len(values)
  drawn = np.random.default_rng(0).integers(n, size=(replicates, n))
  means = np.concatenate([[values.mean()], values[drawn].mean(1)])
  return row(material, method, quantity, means, n, unit)
