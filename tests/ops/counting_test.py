import collections

import jax
import numpy as np
import pytest

from prm_jax.ops import counting


def by_hand(values, present, last):
  rows = [row for row, there in zip(values, present, strict=True) if there]
  rows = rows[max(len(rows) - last, 0) :] if last is not None else rows
  found = []
  for said in zip(*rows, strict=True) if rows else [()] * values.shape[1]:
    said = [v for v in said if 0 <= v < 3]
    count = collections.Counter(said)
    best = [v for v in count if count[v] == max(count.values())]
    found.append(max(best, key=lambda v: _last(said, v)) if best else None)
  return found


def _last(said, value):
  return max(i for i, v in enumerate(said) if v == value)


@pytest.mark.parametrize('last', [None, 0, 3])
def test_the_most_frequent_and_of_equal_ones_the_latest(last):
  rng = np.random.default_rng(0)
  values = rng.integers(-1, 4, (40, 7, 5))
  present = rng.random((40, 7)) < 0.7
  present[0] = False
  found = jax.jit(
    jax.vmap(lambda v, p: counting.most_frequent(v, p, size=3, last=last))
  )(values, present)
  for u in range(40):
    expected = by_hand(values[u], present[u], last)
    np.testing.assert_array_equal(
      found.mask[u], [v is not None for v in expected]
    )
    np.testing.assert_array_equal(found.value[u], [v or 0 for v in expected])


def test_nobody_and_nothing():
  found = counting.most_frequent(np.zeros((0, 2), int), np.zeros(0), size=3)
  np.testing.assert_array_equal(found.mask, [0, 0])
  with pytest.raises(ValueError, match='size 0'):
    counting.most_frequent(np.zeros((1, 2), int), np.ones(1), size=0)
