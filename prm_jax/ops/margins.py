"""What one predicted probability says: its margin, and what follows from it."""

import numpy as np

from prm_jax import types

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in the NLL
CALIBRATION_BINS = 15  # of equal width, over confidences from 1/2 to 1


def margin(probability: types.ArrayLike, label: types.ArrayLike) -> np.ndarray:
  """Returns (p - 1/2) (2 y - 1), `[B]`, after checking both.

  Args:
    probability: `[B]` that the first answer is preferred.
    label: `[B]` 1 or 0.

  Raises:
    ValueError: there are no rows, or a row is not a probability with a strict
      label.
  """
  p = np.asarray(probability, np.float64)
  y = np.asarray(label, np.float64)
  if p.ndim != 1 or p.shape != y.shape:
    raise ValueError(
      f'probability {p.shape} and label {y.shape} must be two vectors of the '
      'same length.'
    )
  if not p.size:
    raise ValueError('There are no rows to compute statistics of.')
  if (bad := np.flatnonzero(~((p >= 0) & (p <= 1)))).size:
    raise ValueError(
      f'probability[{bad[0]}] is {p[bad[0]]}; it must lie in [0, 1].'
    )
  if (bad := np.flatnonzero((y != 0) & (y != 1))).size:
    raise ValueError(
      f'label[{bad[0]}] is {y[bad[0]]}; drop rows whose label is not 0 or 1.'
    )
  return (p - 0.5) * (2 * y - 1)


def correct(margins: np.ndarray) -> np.ndarray:
  """Returns 1 where right, 0 where wrong, 1/2 where undecided, `[B]`."""
  return 0.5 + 0.5 * np.sign(margins)


def nll(margins: np.ndarray) -> np.ndarray:
  """Returns the negative log-likelihood of every row, `[B]` in nats."""
  return -np.log(np.clip(0.5 + margins, CLIP, 1 - CLIP))


def gap(margins: np.ndarray) -> np.ndarray:
  """Returns confidence less being right, `[B]`."""
  return 0.5 + np.abs(margins) - correct(margins)


def confidence_bin(margins: np.ndarray) -> np.ndarray:
  """Returns the bin of each row's confidence, `[B]` int."""
  place = np.abs(margins) * (2 * CALIBRATION_BINS)
  return np.minimum(place.astype(np.int64), CALIBRATION_BINS - 1)


def wins(margins: np.ndarray) -> np.ndarray:
  """Returns the share of rows n with m_i > -m_n, ties half, `[B]`.

  Its mean is the symmetrised area under the ROC curve.
  """
  negated = np.sort(-margins)
  below = np.searchsorted(negated, margins, 'left')
  not_above = np.searchsorted(negated, margins, 'right')
  return (below + not_above) / (2 * margins.size)


def auc_rows(margins: np.ndarray) -> np.ndarray:
  """Returns `[B]` whose mean is the AUC, and varies as it does to first order.

  A row counts twice, as the one that wins and as the one that it beats.
  """
  share = wins(margins)
  return 2 * share - share.mean()


def ece_rows(margins: np.ndarray) -> np.ndarray:
  """Returns `[B]` whose mean is the ECE, and varies as it does to first order.

  In a bin that is too confident a row adds its gap, in another one takes it
  away.
  """
  place, gaps = confidence_bin(margins), gap(margins)
  sums = np.bincount(place, gaps, CALIBRATION_BINS)
  return np.sign(sums)[place] * gaps
