"""Keeps what a comparison found, and nothing of a person.

python -m experiments.comparisons.keep WORKDIR RESULTS.json
"""

import json
import sys
from pathlib import Path

from prm_jax import comparing
from prm_jax.runtime import writers

_TABLES = (
  'gain',
  'accuracy',
  'controls',
  'ties',
  'traits',
  'left_out',
  'choices',
  'audit',
)
_DIGITS = 5


def kept(results: dict) -> dict:
  """Returns the tables of aggregates, rounded to what they are worth."""
  tables = {
    name: [
      {
        key: round(value, _DIGITS) if isinstance(value, float) else value
        for key, value in row.items()
      }
      for row in results['tables'].get(name, [])
    ]
    for name in _TABLES
  }
  return {**results, 'tables': tables}


def main() -> None:
  """Writes the file."""
  workdir, output = map(Path, sys.argv[1:])
  path = workdir / comparing.FOLDER / 'results.json'
  writers.write_json_atomic(output, kept(json.loads(path.read_text('utf-8'))))


if __name__ == '__main__':
  main()
