"""What the simulated truth says: ceilings, and what features carry."""

from typing import Any

import numpy as np

from prm_jax.worlds import attributes

_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def ceilings(world: attributes.World, seen: np.ndarray) -> dict[str, Any]:
  """Returns the best accuracy of rules that ignore who is asked.

  Args:
    world: simulated people.
    seen: rows of the people who are scored.
  """
  splits = {'new_topics': 'new_prompts', 'new_lexicon': 'new_lexicon'}
  return {
    split: {
      'linear_ceiling': attributes.aggregate_ceiling(
        world, regime=regime, people=seen
      ),
      'pairwise_ceiling': attributes.pairwise_ceiling(
        world, regime=regime, people=seen
      ),
    }
    for split, regime in splits.items()
  }


def decodability(
  features: np.ndarray,
  values: np.ndarray,
  regime: np.ndarray,
  topics: np.ndarray,
) -> list[dict[str, Any]]:
  """Returns how well a ridge reads each attribute's level from features.

  The strength is chosen on held-back training topics.

  Args:
    features: `[M, D]`.
    values: `[M, 7]` true levels.
    regime: `[M]` names; `train` is fitted.
    topics: `[M]` names.
  """
  train = regime == 'train'
  names = np.unique(topics[train])
  held = np.isin(topics, np.random.default_rng(0).permutation(names)[:8])
  fit, validate = train & ~held, train & held

  def predict(rows, ridge):
    x = np.concatenate([features, np.ones((len(features), 1))], 1)
    gram = x[rows].T @ x[rows] + ridge * rows.sum() * np.eye(x.shape[1])
    return x @ np.linalg.solve(gram, x[rows].T @ values[rows])

  def correlations(predicted, rows):
    return np.array(
      [
        np.corrcoef(predicted[rows, k], values[rows, k])[0, 1]
        for k in range(values.shape[1])
      ]
    )

  scores = [correlations(predict(fit, r), validate).mean() for r in _RIDGES]
  predicted = predict(train, _RIDGES[int(np.argmax(scores))])
  found = {
    name: correlations(predicted, regime == name)
    for name in ('new_prompts', 'new_lexicon')
  }
  return [
    {
      'attribute': attribute,
      'correlation_new_prompts': float(found['new_prompts'][k]),
      'correlation_new_lexicon': float(found['new_lexicon'][k]),
    }
    for k, attribute in enumerate(attributes.ATTRIBUTES)
  ]
