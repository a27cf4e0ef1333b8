"""From runs to the tables of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.lab import columns
from prm_jax.ops import decoding

Row = dict[str, Any]
LEVELS = (
  0.0,
  0.5,
  1.0,
  2.0,
  4.0,
  8.0,
  16.0,
  32.0,
)  # nats at which policies are read


def tables(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Row]]:
  """Returns gold against KL for best-of-n and for policies, and what is kept.

  Means and Student's intervals are over seeds, each with a true reward,
  judgements, starts and answers of its own.

  Args:
    records: of all seeds.
  """
  best, kept, policy = [], [], []
  for place, first in enumerate(records[0]['arms']):
    runs = [record['arms'][place] for record in records]
    head = {
      'fit': first['fit'],
      'arm': first['arm'],
      'penalized': runs[0]['penalized'],
      'seeds': len(runs),
    }
    curves = np.array([[row[1] for row in run['best']] for run in runs])
    for column, (n, _) in enumerate(runs[0]['best']):
      best.append(
        {
          **head,
          'n': n,
          'kl': decoding.best_of_n_bound(n),
          **columns.mean('gold', curves[:, column]),
        }
      )
    trained = [np.array(run['policy']) for run in runs]
    peaks = [run[:, 1].max() for run in trained]
    kept.append(
      {
        **head,
        **columns.mean('accuracy', [run['accuracy'] for run in runs]),
        **columns.mean('gold_at_most', curves[:, -1]),
        **columns.mean('kept', curves[:, -1] / curves.max(1)),
        **columns.mean('policy_peak', peaks),
        **columns.mean('policy_end', [run[-1, 1] for run in trained]),
        **columns.mean('policy_kl', [run[-1, 0] for run in trained]),
      }
    )
    policy += [
      {**head, 'kl': level, **columns.mean('gold', values)}
      for level, values in _levels(trained)
    ]
  return {'best_of_n': best, 'kept': kept, 'policy': policy}


def _levels(trained):
  """Yields the levels of KL that all runs reach, and gold there."""
  for level in LEVELS:
    if all(run[:, 0].max() >= level for run in trained):
      yield (
        level,
        [
          np.interp(level, np.maximum.accumulate(run[:, 0]), run[:, 1])
          for run in trained
        ],
      )


def answer(made: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns what the tables say, in plain sentences."""
  last = made['best_of_n'][-1]['n']
  said = []
  for row in made['kept']:
    if row['arm'] == 'gold':
      continue
    kept = columns.percent(row, 'kept')
    said.append(
      f'{row["arm"]} ({row["fit"]}): the best of {last:,} keeps {kept} of the '
      'gold score at its peak; a policy trained by it ends '
      f'{row["policy_end"]:.2f} logits above the base, '
      f'{row["policy_peak"]:.2f} at its peak.'
    )
  return said
