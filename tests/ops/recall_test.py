import jax
import numpy as np
import pytest

from prm_jax.ops import recall


def test_of_equal_things_the_first_in_order_is_chosen():
  """What contradicts is of one subject: rounding must not choose."""
  U, C, D = 2, 17, 64
  rng = np.random.default_rng(0)
  kept = np.broadcast_to(rng.normal(size=D), (U, C, D)).astype(np.float32)
  order = np.stack([rng.permutation(C) for _ in range(U)])
  query = rng.normal(size=(U, D)).astype(np.float32)
  product = jax.jit(jax.vmap(lambda a, b: a @ b))(kept, query)
  find = jax.jit(
    jax.vmap(
      lambda q, kept, present, order: recall.most_similar(
        q, kept, present, count=5, order=order
      )
    )
  )
  found = find(query, kept, np.ones((U, C)), order)
  np.testing.assert_array_equal(found.place, order[:, :5])
  assert np.ptp(product, -1).max() < 1e-5  # not always 0: hence the test
  present = np.ones((U, C))
  present[0, order[0, 0]] = 0
  found = find(query, kept, present, order)
  np.testing.assert_array_equal(found.place[0], order[0, 1:6])


def test_the_most_similar_are_those_of_the_largest_product():
  rng = np.random.default_rng(1)
  kept, query = rng.normal(size=(300, 16)), rng.normal(size=16)
  kept = kept.astype(np.float32)
  found = recall.most_similar(query, kept, np.ones(300), count=8)
  expected = np.argsort(-(kept.astype(float) @ query))[:8]
  np.testing.assert_array_equal(found.place, expected)


def test_a_count_below_nothing_is_refused():
  with pytest.raises(ValueError, match='count -1'):
    recall.top(np.ones(3), np.ones(3), count=-1)


def test_similar_are_all_that_are_as_like_as_the_last():
  rng = np.random.default_rng(3)
  kept = rng.integers(-2, 3, (9, 4)).astype(np.float32)  # many are equally like
  kept[4] = kept[1]
  present = np.ones(9, np.float32)
  present[[2, 7]] = 0
  query = np.array([1.0, 0.0, -1.0, 2.0], np.float32)
  for count in range(1, 12):
    like = [(kept[i] @ query) if present[i] else -np.inf for i in range(9)]
    last = sorted(like, reverse=True)[min(count, 7) - 1]
    expected = [float(present[i] and like[i] >= last) for i in range(9)]
    found = recall.similar(query, kept, present, count=count)
    np.testing.assert_array_equal(found, expected)
    order = rng.permutation(9)
    mixed = recall.similar(query, kept[order], present[order], count=count)
    np.testing.assert_array_equal(mixed, np.array(expected)[order])
  assert not recall.similar(query, kept, 0 * present, count=3).any()
  assert not recall.similar(query, kept, present, count=0).any()
  assert recall.similar(query, kept[:0], present[:0], count=3).shape == (0,)
