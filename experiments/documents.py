"""Writes RESULTS.md and answer.svg of every study from its committed results.

And `docs/answer.svg`, the picture of the README.

python -m experiments.documents           # after results have changed
python -m experiments.documents --check   # fails if one is not current
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from prm_jax.report import kinds, markdown, page, tables
from prm_jax.runtime import writers

ROOT = Path(__file__).parent
_FIRST = ('full.json', 'llmfao.json')  # what a study's README tells of
# What the README's picture shows, by comparison.
_SETS = {
  'llmfao': "choosing between\nmodels' outputs",
  'jester1000': 'rating jokes',
  'ukp10000': 'judging arguments',
}
_OVER = {'aggregate': '', 'traits': ',\nbeyond their habits'}


def documents(folder: Path) -> Iterator[tuple[Path, str]]:
  """Yields the path and the text of what is written of one study."""
  paths = sorted(
    folder.glob('results/*.json'),
    key=lambda path: (path.name not in _FIRST, path),
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


def answer() -> str:
  """Returns the README's picture: what real people's own models gain."""
  rows, names = [], []
  for file, doing in _SETS.items():
    path = ROOT / 'comparisons' / 'results' / f'{file}.json'
    results = json.loads(path.read_text('utf-8'))
    for row in tables.rows_of(results, 'gain'):
      whole = row['answers'] == row['judgements'] == 'all'
      if row['chosen'] and whole and row['split'] == 'new_pairs':
        rows.append(row)
        names.append(f'{doing} ({row["people"]}){_OVER[row["baseline"]]}')
  axis = kinds.Axis('gain', 'gain in accuracy (points)', 100)
  heading = 'Personal models over one for everyone, on new pairs'
  ours = [row['baseline'] == 'aggregate' for row in rows]
  return kinds.bars(heading, rows, names, axis, at=0, ours=ours).svg


def studies(root: Path) -> list[Path]:
  """Returns the folders of studies with committed results."""
  folders = [path.parent for path in root.glob('*/results/*.json')]
  return sorted({folder.parent for folder in folders})


def stale(written: Iterable[tuple[Path, str]]) -> list[tuple[Path, str]]:
  """Returns the documents that are not current, as they should be."""
  return [
    (path, text)
    for path, text in written
    if not path.exists() or path.read_text('utf-8') != text
  ]


def everything() -> Iterator[tuple[Path, str]]:
  """Yields the path and the text of every document."""
  for folder in studies(ROOT):
    yield from documents(folder)
  yield ROOT.parent / 'docs' / 'answer.svg', answer()


def main() -> int:
  """Writes what is not current, or says so."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--check', action='store_true')
  check = parser.parse_args().check
  old = stale(everything())
  for path, text in old:
    if not check:
      writers.write_text_atomic(path, text)
    print(f'{path} {"is not current" if check else "written"}')
  return int(check and bool(old))


if __name__ == '__main__':
  sys.exit(main())
