"""Hashed counts of character n-grams: what a text says, and how it is spelt."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

_BINS = 1 << 16
_PRIME = np.uint32(16_777_619)  # of the FNV hash


def count(texts: Sequence[str], sizes: Sequence[int]) -> sparse.csr_matrix:
  """Returns hashed counts of character n-grams `[M, bins]`, rows of length 1.

  Counts enter as 1 + log, so that one long run of a character is not all. A
  text that has no n-gram is a row of zeros.

  Args:
    texts: M.
    sizes: n of the n-grams.
  """
  rows = []
  for text in texts:
    codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    hashes = []
    for n in sizes:
      if len(codes) >= n:
        value = np.full(len(codes) - n + 1, 2_166_136_261 ^ n, np.uint32)
        for offset in range(n):
          value = (value ^ codes[offset : len(codes) - n + 1 + offset]) * _PRIME
        hashes.append(value % _BINS)
    bins = np.concatenate(hashes) if hashes else np.zeros(0, np.uint32)
    rows.append(np.unique(bins, return_counts=True))
  start = np.cumsum([0, *(len(columns) for columns, _ in rows)])
  columns = np.concatenate([columns for columns, _ in rows])
  counts = 1 + np.log(np.concatenate([number for _, number in rows]))
  shape = len(texts), _BINS
  counted = sparse.csr_matrix((counts, columns, start), shape)
  norm = np.sqrt(np.asarray(counted.multiply(counted).sum(1)).ravel())
  scale = 1 / np.where(norm > 0, norm, 1.0)
  return sparse.csr_matrix(sparse.diags(scale) @ counted)
