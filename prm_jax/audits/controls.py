"""Controls of a personal gain: is it personal, and is it the text."""

import jax
import numpy as np

from prm_jax import types


def swapped_people(
  contexts: types.PyTree, people: np.ndarray, *, seed: int
) -> types.PyTree:
  """Returns everybody's contexts, each person with another's.

  Args:
    contexts: pytree of `[U, ...]`.
    people: rows among whom to swap, in one cycle: nobody keeps their own.
    seed: of the cycle.
  """
  cycle = np.random.default_rng([seed, 3]).permutation(people)

  def swap(leaf):
    other = np.arange(len(leaf))
    other[cycle] = np.roll(cycle, 1)
    return leaf[other]

  return jax.tree.map(swap, contexts)


def flipped(data: types.Batch) -> types.Batch:
  """Returns the answers reversed: a belief that listens has to turn round."""
  label = 1 - np.asarray(data.rows.label)
  return data._replace(rows=data.rows._replace(label=label))


def exchanged(data: types.Batch) -> types.Batch:
  """Returns the rows with first and second text, and label, exchanged."""
  turned = flipped(data)
  index = np.asarray(data.inputs.index)[:, ::-1]
  return turned._replace(inputs=turned.inputs._replace(index=index))


def majority_of_others(asked: types.Batch, known: types.Batch) -> np.ndarray:
  """Returns how the other people judged each pair, NaN where none did.

  (k + 1/2) / (n + 1) for k of n answers that preferred the first text.

  Args:
    asked: judgements to predict.
    known: those that train.
  """

  def code(items):
    low, high = np.minimum(*items.T), np.maximum(*items.T)
    return low.astype(np.int64) << 32 | high

  def side(data):
    """Label of the lower-numbered text."""
    swap = data.inputs.index[:, 0] > data.inputs.index[:, 1]
    return np.where(swap, 1 - data.rows.label, data.rows.label)

  pairs, inverse = np.unique(
    np.concatenate([code(known.inputs.index), code(asked.inputs.index)]),
    return_inverse=True,
  )
  pair, mine = np.split(inverse, [len(known.rows.user)])
  total = np.bincount(pair, minlength=len(pairs)).astype(float)
  preferred = np.bincount(pair, side(known), len(pairs))
  # What the person said before about the same pair is not the others'.
  own = (known.rows.user.astype(np.int64) << 32) | pair
  keys, place = np.unique(own, return_inverse=True)
  own_total = np.bincount(place, minlength=len(keys)).astype(float)
  own_preferred = np.bincount(place, side(known), len(keys))
  asked_key = (asked.rows.user.astype(np.int64) << 32) | mine
  where = np.minimum(np.searchsorted(keys, asked_key), len(keys) - 1)
  found = keys[where] == asked_key
  n = total[mine] - np.where(found, own_total[where], 0)
  k = preferred[mine] - np.where(found, own_preferred[where], 0)
  p = np.where(n > 0, (k + 0.5) / (n + 1), np.nan)
  return np.where(asked.inputs.index[:, 0] > asked.inputs.index[:, 1], 1 - p, p)
