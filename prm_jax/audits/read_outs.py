"""What features carry: known values, as a linear model reads them from texts.

A ridge is fitted to some texts, its strength chosen on others of them, so that
what is read of the rest is what a reward that is linear in the features could
know.
"""

from collections.abc import Callable

import numpy as np

_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_SCALED_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of features' mean square
_HELD_TOPICS, _HELD_PROMPTS = 8, 5  # topics; one in so many prompts


def across_topics(
  features: np.ndarray, values: np.ndarray, topics: np.ndarray, train
) -> np.ndarray:
  """Returns values `[M, A]` as a ridge with an intercept reads them.

  The strength with the best mean correlation on some training topics.

  Args:
    features: `[M, D]`.
    values: `[M, A]`.
    topics: `[M]` names.
    train: `[M]` True where the ridge may look.
  """
  held = _held(topics[train], _HELD_TOPICS)
  validate = train & np.isin(topics, held)
  x = np.concatenate([features, np.ones((len(features), 1))], 1)

  def predict(rows, strength):
    return _ridge(x, values, rows, strength * rows.sum())

  def score(read):
    return correlations(read[validate], values[validate]).mean()

  return _best(predict, score, train, validate, _STRENGTHS)


def within_prompts(
  features: np.ndarray, values: np.ndarray, prompt: np.ndarray, train
) -> np.ndarray:
  """Returns values `[M, A]` as a ridge reads them from features.

  The strength with the least squared error on a fifth of the training prompts.

  Args:
    features: `[M, D]`, less their prompt's mean.
    values: `[M, A]`, less their prompt's mean: what is the same for all texts
      of a prompt is not to be read.
    prompt: `[M]` rows.
    train: `[M]` True where the ridge may look.
  """
  names = np.unique(prompt[train])
  held = _held(prompt[train], len(names) // _HELD_PROMPTS)
  validate = train & np.isin(prompt, held)

  def predict(rows, strength):
    # In units of the features' mean square, so that one grid serves all.
    scale = strength * rows.sum() * np.mean(features[rows] ** 2)
    return _ridge(features, values, rows, scale)

  def score(read):
    return -np.mean((read[validate] - values[validate]) ** 2)

  return _best(predict, score, train, validate, _SCALED_STRENGTHS)


def correlations(read: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Returns the correlation `[A]` of each column of two arrays `[M, A]`."""
  columns = zip(read.T, values.T, strict=True)
  return np.array([np.corrcoef(one, other)[0, 1] for one, other in columns])


def _held(names: np.ndarray, count: int) -> np.ndarray:
  """Returns so many of the names, drawn always alike."""
  return np.random.default_rng(0).permutation(np.unique(names))[:count]


def _ridge(x, y, rows, strength) -> np.ndarray:
  gram = x[rows].T @ x[rows] + strength * np.eye(x.shape[1])
  return x @ np.linalg.solve(gram, x[rows].T @ y[rows])


def _best(
  predict: Callable, score: Callable, train, validate, strengths
) -> np.ndarray:
  """Returns the reading of all training texts, at the strength that is best."""
  scores = [score(predict(train & ~validate, one)) for one in strengths]
  return predict(train, strengths[int(np.argmax(scores))])
