"""Counts of character n-grams."""

import numpy as np

from prm_jax.models import ngrams


def test_ngrams_by_hand():
  found = ngrams.count(['abab', 'ab', 'zz', ''], (2,))
  # abab has ab twice, ba once: (1 + log 2, 1); ab has ab once.
  want = (1 + np.log(2)) / np.hypot(1 + np.log(2), 1)
  product = (found @ found.T).toarray()
  np.testing.assert_allclose(product[0, :3], [1, want, 0], atol=1e-12)
  np.testing.assert_allclose(product[3], 0)


def test_sizes_are_counted_apart():
  found = ngrams.count(['aaa'], (1, 2))
  # a three times, aa twice.
  want = np.array([1 + np.log(3), 1 + np.log(2)])
  want = sorted(want / np.linalg.norm(want))
  np.testing.assert_allclose(sorted(found.data), want)
