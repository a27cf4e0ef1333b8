"""A study: pieces of work, and what is written of them.

A study says what its units are, which tables come of them, and what these say.
Everything else is the same for all: a killed study goes on, several processes
and machines share one folder, results.json, predictions and page are written.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prm_jax.lab import units
from prm_jax.report import page as pages
from prm_jax.runtime import writers

Row = dict[str, Any]
Tables = dict[str, list[Row]]
CELLS = 'cells'  # folder of units in the workdir


class Study(NamedTuple):
  """What is particular to a study; see docs/howto/study.md.

  Attributes:
    work: `(config, folder)` -> what makes each unit, in an order that suits.
    tables: `(config, folder)` -> rows by table, when all units are done.
    answer: what the tables say, in sentences; None for what
      `report.page.plain_answer` says of personal models.
    page: pictures and tables of its own.
    notes: how to read the tables.
    predictions: `(config, folder)` -> lines of predictions.jsonl.gz.
  """

  work: Callable[[Any, units.Folder], Mapping[str, units.Make]]
  tables: Callable[[Any, units.Folder], Tables]
  answer: Callable[[Tables], Sequence[str]] | None = None
  page: pages.Page = pages.PLAIN
  notes: Sequence[str] = ()
  predictions: Callable[[Any, units.Folder], Iterable[str]] | None = None


def run(
  study: Study, config: Any, workdir: Path, *, tabulate: bool = True
) -> Row | None:
  """Makes the units that are not yet in `workdir`, and returns the results.

  Args:
    study: what is done.
    config: of the study, a `ConfigDict` with `study` and `seeds`.
    workdir: where units, results.json, predictions and report are written.
    tabulate: else nothing is written but units, and None is returned: one of
      several machines that share a folder.
  """
  folder = units.Folder(workdir / CELLS)
  folder.make_all(study.work(config, folder), str(config.study))
  if not tabulate:
    return None
  results: Row = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'notes': list(study.notes),
    'tables': study.tables(config, folder),
  }
  answer = study.answer(results['tables']) if study.answer else None
  results['answer'] = list(answer or pages.plain_answer(results))
  writers.write_json_atomic(workdir / 'results.json', results)
  if study.predictions:
    writers.write_lines(
      workdir / 'predictions.jsonl.gz', study.predictions(config, folder)
    )
  pages.write_page(results, workdir / 'report' / 'index.html', study.page)
  return results


def seeds(text: str) -> list[int]:
  """Returns the seeds that a command line names.

  >>> seeds('0..2,7')
  [0, 1, 2, 7]

  Raises:
    ValueError: it is no list of numbers and ranges, or names one twice.
  """

  def named() -> Iterator[int]:
    for part in text.split(','):
      first, dots, last = part.partition('..')
      if not first.isdecimal() or (dots and not last.isdecimal()):
        raise ValueError(f'{text!r} are no seeds: write 3, or 0..4, or 0,2,5')
      yield from range(int(first), int(last if dots else first) + 1)

  found = list(named())
  if not found or len(set(found)) < len(found):
    raise ValueError(f'{text!r} names no seed, or one twice')
  return found


def grid(text: str) -> list[dict[str, str]]:
  """Returns the settings that a command line asks for, one after another.

  >>> grid('rate=0.1,0.2;steps=5')
  [{'rate': '0.1', 'steps': '5'}, {'rate': '0.2', 'steps': '5'}]

  Args:
    text: names of the configuration, each with its values.

  Raises:
    ValueError: a name has no value.
  """
  points: list[dict[str, str]] = [{}]
  for part in filter(None, text.split(';')):
    name, _, values = part.partition('=')
    if not name or not all(values.split(',')):
      raise ValueError(f'{part!r} is no grid: write NAME=VALUE,VALUE')
    points = [
      {**point, name: value} for point in points for value in values.split(',')
    ]
  return points
