"""Writes RESULTS.md and answer.svg of every study from its committed results.

python -m experiments.documents           # after results have changed
python -m experiments.documents --check   # fails if one is not current
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from prm_jax.report import markdown, page
from prm_jax.runtime import writers

ROOT = Path(__file__).parent
_FIRST = 'full.json'  # of several results, what the README tells of


def documents(folder: Path) -> Iterator[tuple[Path, str]]:
  """Yields the path and the text of what is written of one study."""
  paths = sorted(
    folder.glob('results/*.json'), key=lambda path: (path.name != _FIRST, path)
  )
  own = page_of(folder)
  texts = [f'# Results: {folder.name.replace("_", " ")}\n']
  texts.append(
    'Written by `python -m experiments.documents` from `results/`; do not edit.'
    '\n'
  )
  for path in paths:
    results = json.loads(path.read_text('utf-8'))
    if 'tables' not in results:
      continue
    texts.append(markdown.written(path.name, results, own))
    drawn = page.picture(results, own)
    if drawn and path == paths[0]:
      yield folder / 'answer.svg', drawn.svg
  yield folder / 'RESULTS.md', '\n'.join(texts)


def page_of(folder: Path) -> page.Page:
  """Returns what a study's page adds; nothing where it has no page.py."""
  if not (folder / 'page.py').exists():
    return page.PLAIN
  return importlib.import_module(f'experiments.{folder.name}.page').PAGE


def main() -> int:
  """Writes what is not current, or says so."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--check', action='store_true')
  check = parser.parse_args().check
  stale = [
    (path, text)
    for folder in sorted(path.parent for path in ROOT.glob('*/results'))
    if folder.name != 'benchmarks'
    for path, text in documents(folder)
    if not path.exists() or path.read_text('utf-8') != text
  ]
  for path, text in stale:
    if not check:
      writers.write_text_atomic(path, text)
    print(f'{path} {"is not current" if check else "written"}')
  return int(check and bool(stale))


if __name__ == '__main__':
  sys.exit(main())
