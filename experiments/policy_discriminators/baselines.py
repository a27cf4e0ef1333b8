"""What tells policies apart without a policy discriminator."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

_BINS = 1 << 16
_PRIME = np.uint32(16_777_619)  # of the FNV hash


def closeness(
  vectors: np.ndarray | sparse.csr_matrix,
  reference: np.ndarray,
  candidate: np.ndarray,
) -> np.ndarray:
  """Returns the cosine `[n]` of pairs of rows; 0 where a row is zero.

  Args:
    vectors: `[M, D]` rows of length 1, or zero.
    reference: `[n]` rows.
    candidate: `[n]` rows.
  """
  if sparse.issparse(vectors):
    product = vectors[reference].multiply(vectors[candidate])
    return np.asarray(product.sum(1)).ravel()
  return np.einsum('nd,nd->n', vectors[reference], vectors[candidate])


def normalized(vectors: np.ndarray) -> np.ndarray:
  """Returns the rows at length 1; zero rows stay."""
  norm = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(norm > 0, norm, 1.0)


def ngrams(texts: Sequence[str], sizes: Sequence[int]) -> sparse.csr_matrix:
  """Returns hashed counts of character n-grams `[M, bins]`, rows of length 1.

  Counts enter as 1 + log, so that one long run of a character is not all.

  Args:
    texts: M.
    sizes: n of the n-grams.
  """
  rows = []
  for text in texts:
    codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    found = []
    for n in sizes:
      if len(codes) >= n:
        value = np.full(len(codes) - n + 1, 2_166_136_261 ^ n, np.uint32)
        for offset in range(n):
          value = (value ^ codes[offset : len(codes) - n + 1 + offset]) * _PRIME
        found.append(value % _BINS)
    bins = np.concatenate(found) if found else np.zeros(0, np.uint32)
    rows.append(np.unique(bins, return_counts=True))
  start = np.cumsum([0, *(len(columns) for columns, _ in rows)])
  columns = np.concatenate([columns for columns, _ in rows])
  counts = 1 + np.log(np.concatenate([count for _, count in rows]))
  found = sparse.csr_matrix((counts, columns, start), (len(texts), _BINS))
  norm = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
  scale = 1 / np.where(norm > 0, norm, 1.0)
  return sparse.csr_matrix(sparse.diags(scale) @ found)


def length_closeness(
  texts: Sequence[str], reference: np.ndarray, candidate: np.ndarray
) -> np.ndarray:
  """Returns minus the difference of log lengths `[n]`, in characters."""
  size = np.log1p(np.array([len(text) for text in texts]))
  return -np.abs(size[reference] - size[candidate])
