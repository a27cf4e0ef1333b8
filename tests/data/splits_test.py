from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_jax.data import splits

NAMES = [f'person {i}' for i in range(3000)]


def test_buckets_are_even_and_stable():
  first = splits.bucket(NAMES, 'salt', 3)
  assert min(Counter(first.tolist()).values()) > 900
  again = splits.bucket(NAMES[::-1], 'salt', 3)
  np.testing.assert_array_equal(first, again[::-1])
  other = splits.bucket(NAMES, 'other', 3)
  assert 0.25 < np.mean(first == other) < 0.42


@given(st.lists(st.sampled_from('abcdefghij'), min_size=40, max_size=200))
def test_folds_keep_topics_together(topics):
  if len(set(topics)) < 4:
    with pytest.raises(ValueError, match='do not make 4 folds'):
      splits.folds(topics, 4, 's')
    return
  fold = splits.folds(topics, 4, 's')
  for topic in set(topics):
    inside = {
      f for f, t in zip(fold.tolist(), topics, strict=True) if t == topic
    }
    assert len(inside) == 1
  assert set(fold.tolist()) == {0, 1, 2, 3}
  reversed_ = splits.folds(topics[::-1], 4, 's')
  np.testing.assert_array_equal(fold, reversed_[::-1])


def test_folds_are_balanced_in_rows():
  topics = [f't{i}' for i in range(28) for _ in range(50 + i)]
  size = Counter(splits.folds(topics, 7, 's').tolist())
  assert max(size.values()) / min(size.values()) < 1.1


def test_near_duplicates_are_the_same():
  same = ['A  b\n', 'a b', ' a b\u200b', '\uff21 b\u200b']
  assert {splits.plain(text) for text in same} == {'a b'}
  assert splits.plain('ab') != splits.plain('a b')
  assert splits.plain('a\tb') == 'a b'
