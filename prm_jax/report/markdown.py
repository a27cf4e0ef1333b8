"""Results as a page of Markdown: what is committed, and read beside code."""

from collections.abc import Mapping
from typing import Any

from prm_jax.report import page

_MOST = 300  # rows of a table; longer ones are read by programs


def written(name: str, results: Mapping[str, Any], own: page.Page) -> str:
  """Returns all tables of results, with their notes.

  Args:
    name: of the file.
    results: the content of results.json.
    own: what the study's page adds.
  """
  lines = [f'## {name}', '']
  lines += [f'* {note}' for note in results.get('notes') or []]
  for shown in page.all_tables(results, own):
    if shown.rows:
      lines += ['', f'### {shown.title}', '']
      lines += [shown.note, ''] if shown.note else []
      if len(shown.rows) > _MOST:
        lines.append(f'{len(shown.rows):,} rows: see `results/{name}`.')
        continue
      lines += [_row(shown.header), _row(['---'] * len(shown.header))]
      lines += map(_row, shown.rows)
  return '\n'.join(lines) + '\n'


def _row(cells: list[str]) -> str:
  return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'
