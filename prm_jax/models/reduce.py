"""Few, comparable columns from many: components and standardisation."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_BLOCK = 1 << 14  # texts whose features are held in float64 at once
# Of a feature's magnitude: so far a network's features of one text lie apart
# from batch to batch and from device to device.
_ROUNDING = 1e-5


class Reduction(NamedTuple):
  """(features - mean) @ directions / scale.

  Attributes:
    mean: `[D]`.
    directions: `[D, C]`.
    scale: `[C]`; infinite for a column that says nothing, which becomes zero.
  """

  mean: np.ndarray
  directions: np.ndarray
  scale: np.ndarray

  def __call__(self, features: np.ndarray) -> np.ndarray:
    """Returns `[M, C]` float32 from `[M, D]`."""
    made = np.zeros((len(features), self.directions.shape[1]), np.float32)
    for first in range(0, len(features), _BLOCK):
      rows = slice(first, first + _BLOCK)
      centred = np.asarray(features[rows], np.float64) - self.mean
      made[rows] = centred @ self.directions / self.scale
    return made


def principal_components(
  features: np.ndarray, train: np.ndarray, components: int, *, whiten: bool
) -> Reduction:
  """Returns the leading directions, the first with variance 1 over the texts.

  Whitened, all of them have: a ridge then pulls on every direction alike, and
  not harder on those in which the texts vary little.

  Means, directions and scales are those of the training texts. Of fewer than
  `components` directions that vary, by more than a network's features do by
  rounding, the rest are zero columns, so that shapes do not depend on the data.

  Args:
    features: `[M, D]`, of any magnitude.
    train: `[M]` bool or indices of the texts that may be looked at.
    components: how many.
    whiten: whether to give every direction variance 1.

  Raises:
    ValueError: a feature is not finite, or there is no training text.
  """
  blocks = _Blocks(features, train)
  mean = sum(block.sum(0) for block in blocks) / blocks.count
  # The largest magnitude divides out, so that squares stay finite.
  size = max(np.abs(block - mean).max(initial=1e-300) for block in blocks)
  gram = sum(((x - mean) / size).T @ ((x - mean) / size) for x in blocks)
  _, directions = np.linalg.eigh(gram)
  directions = directions[:, ::-1][:, :components]
  missing = ((0, 0), (0, max(0, components - directions.shape[1])))
  directions = np.pad(directions, missing)
  along = np.concatenate([(block - mean) @ directions for block in blocks])
  scale = _scale(along, size)
  # Whitened, rounding would be as large as what texts say.
  most = np.max([np.abs(block).max(0) for block in blocks], axis=0)
  rounding = _ROUNDING * np.sqrt((most * most) @ (directions * directions))
  scale = np.where(scale <= rounding, np.inf, scale)
  if not whiten:
    scale = np.where(np.isfinite(scale), scale[0], np.inf)
  return Reduction(mean, directions, scale)


def standardisation(features: np.ndarray, train: np.ndarray) -> Reduction:
  """Returns the columns as they are, with mean 0 and variance 1.

  Arguments and errors as in `principal_components`.
  """
  chosen = np.concatenate(list(_Blocks(features, train)))
  mean = chosen.mean(0)
  size = np.abs(chosen).max(initial=1e-300)
  return Reduction(mean, np.eye(len(mean)), _scale(chosen - mean, size))


def _scale(centred: np.ndarray, size: float) -> np.ndarray:
  """Standard deviations; infinite where they are rounding."""
  scale = centred.std(0)
  return np.where(scale <= 1e-7 * size, np.inf, scale)


class _Blocks:
  """Training texts' features in float64, some at a time."""

  def __init__(self, features: np.ndarray, train: np.ndarray):
    self._features = np.asarray(features)
    self._chosen = np.arange(len(self._features))[train]
    self.count = len(self._chosen)
    for first in range(0, len(self._features), _BLOCK):
      rows = self._features[first : first + _BLOCK]
      bad = np.flatnonzero(~np.isfinite(rows).all(1))
      if bad.size:
        raise ValueError(f'features of text {first + bad[0]} are not finite')
    if not self.count:
      raise ValueError('no training text to take statistics from')

  def __iter__(self) -> Iterator[np.ndarray]:
    for first in range(0, self.count, _BLOCK):
      rows = self._chosen[first : first + _BLOCK]
      yield np.asarray(self._features[rows], np.float64)
