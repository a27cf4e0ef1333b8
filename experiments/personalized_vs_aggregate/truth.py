"""What the simulated truth says: ceilings, and what features carry."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prm_jax.data import schema
from prm_jax.ops import intervals, margins, statistics
from prm_jax.worlds import attributes

_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def of_table(
  known: attributes.Truth, table: schema.Judgements
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the texts' true values `[M, 7]` and the rows' P(first) `[n]`."""
  values = np.stack([known.values[text] for text in table.texts])
  weights = np.stack([known.weights[name] for name in table.user_ids])
  difference = values[table.items[:, 0]] - values[table.items[:, 1]]
  margin = known.scale * np.sum(difference * weights[table.user], 1)
  return values, 1 / (1 + np.exp(-margin))


def ceilings(world: attributes.World, seen: np.ndarray) -> dict[str, Any]:
  """Returns the best accuracy of rules that ignore who is asked.

  Args:
    world: simulated people.
    seen: rows of the people who are scored.
  """
  splits = {'new_topics': 'new_prompts', 'new_lexicon': 'new_lexicon'}
  people = seen.tolist()
  return {
    split: {
      'linear_ceiling': attributes.aggregate_ceiling(
        world, regime=regime, people=people
      ),
      'pairwise_ceiling': attributes.pairwise_ceiling(
        world, regime=regime, people=people
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


def recovered(
  method: Sequence[statistics.Run], oracle: Sequence[statistics.Run]
) -> dict[str, Any]:
  """Returns (accuracy - 0.5) / (oracle - 0.5), over people and units.

  Args:
    method: predictions with their units, one run a seed.
    oracle: the true probabilities of the same rows.
  """
  mine, best = (
    margins.correct(
      np.concatenate([margins.margin(r.probability, r.label) for r in runs])
    )
    for runs in (method, oracle)
  )
  units = [run.units for run in method if run.units is not None]
  shared = intervals.crossing(
    np.concatenate([run.person for run in method]),
    np.concatenate([u.of for u in units]),
  )
  found = intervals.crossed(mine - 0.5, best - 0.5, shared)
  return {
    'resampled': f'people and {units[0].name}',
    'people': found.first,
    'units': found.second,
    'pairs': round(len(mine) / len(method)),
    'seeds': len(method),
    'accuracy': float(mine.mean()),
    'oracle': float(best.mean()),
    'ratio': found.value,
    'ratio_low': found.low,
    'ratio_high': found.high,
  }
