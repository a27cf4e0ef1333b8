"""Few, comparable columns from many: components and standardisation."""

from typing import NamedTuple

import numpy as np


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
    centred = np.asarray(features, np.float64) - self.mean
    return (centred @ self.directions / self.scale).astype(np.float32)


def principal_components(
  features: np.ndarray, train: np.ndarray, components: int, *, whiten: bool
) -> Reduction:
  """Returns the leading directions, the first with variance 1 over the texts.

  Whitened, all of them have: a ridge then pulls on every direction alike, and
  not harder on those in which the texts vary little.

  Means, directions and scales are those of the training texts. Of fewer than
  `components` directions that vary, the rest are zero columns, so that shapes
  do not depend on the data.

  Args:
    features: `[M, D]`, of any magnitude.
    train: `[M]` bool or indices of the texts that may be looked at.
    components: how many.
    whiten: whether to give every direction variance 1.

  Raises:
    ValueError: a feature is not finite, or there is no training text.
  """
  chosen = _checked(features)[train]
  if not len(chosen):
    raise ValueError('no training text to take statistics from')
  mean = chosen.mean(0)
  centred = chosen - mean
  # The largest magnitude divides out, so that squares stay finite.
  size = np.abs(centred).max(initial=1e-300)
  _, directions = np.linalg.eigh((centred / size).T @ (centred / size))
  directions = directions[:, ::-1][:, :components]
  missing = ((0, 0), (0, max(0, components - directions.shape[1])))
  directions = np.pad(directions, missing)
  scale = _scale(centred @ directions, size)
  if not whiten:
    scale = np.where(np.isfinite(scale), scale[0], np.inf)
  return Reduction(mean, directions, scale)


def standardisation(features: np.ndarray, train: np.ndarray) -> Reduction:
  """Returns the columns as they are, with mean 0 and variance 1.

  Arguments and errors as in `principal_components`.
  """
  chosen = _checked(features)[train]
  if not len(chosen):
    raise ValueError('no training text to take statistics from')
  mean = chosen.mean(0)
  size = np.abs(chosen).max(initial=1e-300)
  return Reduction(mean, np.eye(len(mean)), _scale(chosen - mean, size))


def _scale(centred: np.ndarray, size: float) -> np.ndarray:
  """Standard deviations; infinite where they are rounding."""
  scale = centred.std(0)
  return np.where(scale <= 1e-7 * size, np.inf, scale)


def _checked(features: np.ndarray) -> np.ndarray:
  features = np.asarray(features, np.float64)
  bad = np.flatnonzero(~np.isfinite(features).all(1))
  if bad.size:
    raise ValueError(
      f'features of text {bad[0]} are not finite ({bad.size} such texts)'
    )
  return features
