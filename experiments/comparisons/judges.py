"""How often two language models choose as people do, on llmfao's pairs.

    PRM_DATA_DIR=DATA python -m experiments.comparisons.judges --output=FILE

On people's strict choices, a judge's tie counting half. Beside it, how often
one person chooses as most of the others did on the same pair, on the rows
where the others have a majority. Intervals over people and prompts at once.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from prm_jax.data import load
from prm_jax.lab import columns
from prm_jax.ops import intervals
from prm_jax.runtime import writers


def agreement(data_dir: Path | None = None) -> list[dict[str, Any]]:
  """Returns a row for each judge, and for the majority of the others.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.
  """
  judged = load.judgements('llmfao', data_dir=data_dir)
  judges = load.llmfao_judges(data_dir)
  strict = judged.label != 0.5
  user, pair = judged.user[strict], judges.pair[strict]
  label = judged.label[strict]
  prompt = judged.item_prompt[judged.items[strict, 0]]
  others = of_others(user, pair, label)
  majority = others != 0.5
  rows = []
  said = {name: judges.label[i][pair] for i, name in enumerate(judges.names)}
  for name, choice in {**said, 'majority of the others': others}.items():
    for where, chosen in (
      ('all', np.ones(len(user), bool)),
      ('same', majority),
    ):
      if name not in said and where == 'all':
        continue
      right = np.where(choice == 0.5, 0.5, choice == label)[chosen]
      agreed = intervals.crossed(
        right,
        np.ones(len(right)),
        intervals.crossing(user[chosen], prompt[chosen]),
      )
      rows.append(
        {
          'judge': name,
          'rows': 'all strict choices' if where == 'all' else 'of a majority',
          **columns.interval('agreement', agreed),
          'people': agreed.first,
          'prompts': agreed.second,
          'choices': len(right),
        }
      )
  return rows


def of_others(
  user: np.ndarray, pair: np.ndarray, label: np.ndarray
) -> np.ndarray:
  """Returns what most of the others chose of a pair, `[n]`; 1/2 if neither.

  Args:
    user: `[n]` whose choice it is.
    pair: `[n]` of which pair.
    label: `[n]` 1 for the first, 0 for the other.
  """
  total = np.bincount(pair, 2 * label - 1)
  key = user.astype(np.int64) * (pair.max() + 1) + pair
  _, place = np.unique(key, return_inverse=True)
  own = np.bincount(place, 2 * label - 1)[place]
  return (np.sign(total[pair] - own) + 1) / 2


def main() -> None:
  """Writes and prints the rows."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', type=Path, required=True)
  output = parser.parse_args().output
  rows = agreement()
  for row in rows:
    print(row)
  writers.write_json_atomic(output, rows)


if __name__ == '__main__':
  main()
