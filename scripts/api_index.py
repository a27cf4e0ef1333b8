#!/usr/bin/env python3
"""Writes docs/api.md, the index of what is public.

Read from the source, so that nothing is imported: every module of prm_jax,
its functions and classes without an underscore, with their methods, each with
the first sentence of its docstring.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """# Index of the public API

Written by `scripts/api_index.py` from the first lines of docstrings; a test
says when it has to be run again. The [glossary](glossary.md) explains the
words.
"""


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
  """Yields the functions and classes of a body that have no underscore."""
  for node in body:
    named = isinstance(node, ast.FunctionDef | ast.ClassDef)
    if named and not node.name.startswith('_'):
      yield node


def arguments(node: ast.FunctionDef) -> str:
  """Returns the names of a function's arguments, as a call has them."""
  given = node.args
  names = [a.arg for a in given.posonlyargs + given.args]
  names = [name for name in names if name not in ('self', 'cls')]
  if given.vararg:
    names.append(f'*{given.vararg.arg}')
  elif given.kwonlyargs:
    names.append('*')
  names += [a.arg for a in given.kwonlyargs]
  return ', '.join(names + ([f'**{given.kwarg.arg}'] if given.kwarg else []))


def called(node: ast.FunctionDef | ast.ClassDef) -> bool:
  """Returns whether a function is called, and not a property."""
  said = [ast.unparse(decorator) for decorator in node.decorator_list]
  return isinstance(node, ast.FunctionDef) and not any(
    name.endswith('property') for name in said
  )


def line(node: ast.FunctionDef | ast.ClassDef, of: str = '') -> str:
  """Returns a line of the index; without docstring it ends in a colon."""
  name = f'{of}{node.name}'
  if isinstance(node, ast.FunctionDef) and called(node):
    name += f'({arguments(node)})'
  says = (ast.get_docstring(node) or '').split('\n\n')[0]
  return f'- `{name}`: {" ".join(says.split())}'.rstrip()


def section(path: Path, root: Path) -> str:
  """Returns the section of a module of the repository at `root`."""
  tree = ast.parse(path.read_text('utf-8'))
  says = (ast.get_docstring(tree) or '').split('\n\n')[0]
  lines = []
  for node in public(tree.body):
    lines.append(line(node))
    if isinstance(node, ast.ClassDef):
      lines += [
        line(method, f'{node.name}.')
        for method in public(node.body)
        if isinstance(method, ast.FunctionDef)
      ]
  title = f'## {path.relative_to(root)}\n\n{" ".join(says.split())}\n'
  return '\n'.join([title, *lines]).rstrip() + '\n'


def index(root: Path = ROOT) -> str:
  """Returns the whole page, of the repository at `root`."""
  paths = sorted((root / 'prm_jax').rglob('*.py'))
  return '\n'.join([HEAD, *(section(path, root) for path in paths)])


if __name__ == '__main__':
  (ROOT / 'docs' / 'api.md').write_text(index(), 'utf-8')
