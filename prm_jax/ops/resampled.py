"""Metrics under many weightings of people, for a bootstrap over people."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from prm_jax.ops import margins

RANK_BINS = 512  # of |margin|, for the AUC of a replicate
HALF_SPLITS = 20
WORST_SHARE = 0.1
WORST_PAIRS = 20  # a person with fewer pairs has no worst-decile accuracy
WORST_PEOPLE = 10  # with fewer people there is no worst decile
_CHUNK = 2**25  # numbers in the largest temporary array


class Halves(NamedTuple):
  """Random halves of eligible people's pairs, one a row.

  Attributes:
    people: `[S, E]` indices, from the worst to the best on the first half.
    measured: `[S, E]` their accuracy on the second half.
  """

  people: np.ndarray
  measured: np.ndarray


def person_weights(
  rng: np.random.Generator, people: int, replicates: int
) -> Iterator[np.ndarray]:
  """Yields how often each person is drawn, float32 `[<=R, U]`."""
  size = max(1, _CHUNK // people)
  for start in range(0, replicates, size):
    count = min(size, replicates - start)
    drawn = rng.integers(people, size=(count, people))
    drawn += people * np.arange(count)[:, None]
    flat = np.bincount(drawn.ravel(), minlength=count * people)
    yield flat.reshape(count, people).astype(np.float32)


def weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Returns weights @ values, `[R, C]`, in the precision of the weights."""
  return (weights @ values.astype(weights.dtype)).astype(np.float64)


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
  """Returns total / count, NaN where the count is 0."""
  nothing = np.full(np.shape(total), np.nan)
  return np.divide(total, count, out=nothing, where=count > 0)


def weighted_ece(
  index: np.ndarray, margin: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  """Returns the calibration error under each row of `weights`, `[R]`."""
  people = weights.shape[1]
  place = index * margins.CALIBRATION_BINS + margins.confidence_bin(margin)
  sums = np.bincount(
    place, margins.gap(margin), people * margins.CALIBRATION_BINS
  )
  sums = weighted(weights, sums.reshape(people, margins.CALIBRATION_BINS))
  pairs = np.bincount(index, minlength=people)[:, None]
  return _ratio(np.abs(sums).sum(axis=1), weighted(weights, pairs)[:, 0])


def binned_auc(
  index: np.ndarray, margin: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  """Returns the AUC `[R]` from histograms of margins by person.

  Bins are ranks of |margin|, so that negating a margin mirrors its bin; two
  rows in one bin count as a tie.
  """
  people = weights.shape[1]
  size = np.abs(margin)
  grid = np.linspace(0, 1, RANK_BINS + 1)
  # Edges are values that occur: few distinct values get a bin each.
  edges = np.unique(np.quantile(size, grid, method='inverted_cdf'))
  bins = 2 * edges.size + 1
  rank = 1 + np.searchsorted(edges, size, 'left')
  place = edges.size + np.sign(margin).astype(np.int64) * rank
  order = np.argsort(index, kind='stable')
  index, place = index[order], place[order]
  histogram = np.zeros((len(weights), bins), weights.dtype)
  step = max(1, _CHUNK // bins)
  for start in range(0, people, step):
    count = min(step, people - start)
    begin, end = np.searchsorted(index, (start, start + count))
    flat = (index[begin:end] - start) * bins + place[begin:end]
    by_person = np.bincount(flat, minlength=count * bins).reshape(count, bins)
    histogram += weights[:, start : start + count] @ by_person.astype(
      weights.dtype
    )
  positive = histogram.astype(np.float64)
  negative = positive[:, ::-1]
  below = np.cumsum(negative, axis=1) - negative / 2
  wins = np.einsum('rb,rb->r', positive, below)
  return _ratio(wins, positive.sum(axis=1) ** 2)


# -------------------------------------------------------------- worst decile


def half_accuracies(
  rng: np.random.Generator, index: np.ndarray, correct: np.ndarray, people: int
) -> Halves:
  """Returns random halves of everybody's pairs, people ordered on the first."""
  pairs = np.bincount(index, minlength=people)
  start = np.cumsum(pairs) - pairs
  eligible = np.flatnonzero(pairs >= WORST_PAIRS)
  first_size = pairs // 2
  order = np.empty((HALF_SPLITS, eligible.size), np.int64)
  measured = np.empty((HALF_SPLITS, eligible.size))
  for split in range(HALF_SPLITS):
    shuffled = np.argsort(index + rng.random(index.size))
    who = index[shuffled]
    first = np.arange(who.size) - start[who] < first_size[who]
    right = correct[shuffled]
    chosen, other = (
      np.bincount(who[half], right[half], people)[eligible]
      for half in (first, ~first)
    )
    # Equal accuracies are ordered by chance, not by who comes first.
    tie = rng.random(eligible.size)
    worst_first = np.lexsort((tie, chosen / first_size[eligible]))
    order[split] = eligible[worst_first]
    accuracy_left = other / (pairs - first_size)[eligible]
    measured[split] = accuracy_left[worst_first]
  return Halves(order, measured)


def worst_decile(halves: Halves, weights: np.ndarray) -> np.ndarray:
  """Returns the mean accuracy `[R]` of the worst tenth of the weight."""
  eligible = halves.people.shape[1]
  if eligible < WORST_PEOPLE:
    return np.full(len(weights), np.nan)
  limit = WORST_SHARE * weights[:, halves.people[0]].sum(axis=1, keepdims=True)
  # A tenth of the weight never reaches far beyond a tenth of the people.
  reach = eligible // 4 + 20
  total = np.zeros(len(weights))
  for people, measured in zip(halves.people, halves.measured, strict=True):
    weight = weights[:, people[:reach]]
    before = np.cumsum(weight, axis=1) - weight
    taken = np.clip(limit - before, 0, weight)
    total += _ratio(taken @ measured[:reach], taken.sum(axis=1))
  return total / HALF_SPLITS
