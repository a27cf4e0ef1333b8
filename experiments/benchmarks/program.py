"""The command line and the results file of every benchmark.

  python -m experiments.benchmarks.NAME --output=FILE.json

`--smoke` takes the smallest sizes; every number and word among the sizes is an
option of its own.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.benchmarks import page
from prm_jax.lab import timing
from prm_jax.report import markdown
from prm_jax.runtime import writers

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Sizes = TypeVar('Sizes', bound=NamedTuple)


def main(
  about: str, measure: Callable[[Sizes], Tables], sizes: Sizes, smoke: Sizes
) -> None:
  """Measures, prints the tables and writes them.

  Args:
    about: what the program does.
    measure: what it does.
    sizes: how much of it.
    smoke: as little as shows that it runs.
  """
  parser = argparse.ArgumentParser(
    description=about, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--output', type=Path, help='JSON file to write')
  parser.add_argument('--smoke', action='store_true', help='smallest sizes')
  for name, value in sizes._asdict().items():
    if isinstance(value, int | str):
      parser.add_argument(f'--{name}', type=type(value), help=str(value))
  given = vars(parser.parse_args())
  output, least = given.pop('output'), given.pop('smoke')
  asked = {name: value for name, value in given.items() if value is not None}
  chosen = (smoke if least else sizes)._replace(**asked)
  load = os.getloadavg()[0]
  if load > 1:
    print('others are running: times mean little', file=sys.stderr)
  tables = measure(chosen)
  machine = timing.hardware()
  machine |= {'load': load, 'load_after': machine['load']}
  results: Row = {
    'study': Path(sys.argv[0]).stem,
    'config': chosen._asdict(),
    'notes': [' '.join(part.split()) for part in about.split('\n\n')],
    'tables': {**tables, 'hardware': [machine]},
  }
  print(markdown.written(results['study'], results, page.PAGE))
  if output:
    writers.write_json_atomic(output, results)
