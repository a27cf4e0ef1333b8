"""docs/api.md is current, and holds what importing the modules shows."""

import functools
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import prm_jax
from prm_jax.ops import pairs

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / 'scripts' / 'api_index.py'))
MODULES = [
  found.name for found in pkgutil.walk_packages(prm_jax.__path__, 'prm_jax.')
]


DESCRIBED = (staticmethod, classmethod, property, functools.cached_property)


def public(module):
  """The names of functions and classes that a module defines."""
  for name, value in vars(module).items():
    defined = getattr(value, '__module__', None) == module.__name__
    if not callable(value) or not defined or name.startswith('_'):
      continue
    yield name
    for inner, method in vars(value).items() if isinstance(value, type) else ():
      own = getattr(method, '__qualname__', '') == f'{name}.{inner}'
      if (own or isinstance(method, DESCRIBED)) and not inner.startswith('_'):
        yield f'{name}.{inner}'


def read():
  return (ROOT / 'docs' / 'api.md').read_text()


def sections(page):
  """Module -> its entries."""
  _, *parts = re.split(r'^## (.*)\.py$', page, flags=re.MULTILINE)
  paths, entries = parts[::2], parts[1::2]
  names = [path.replace('/', '.').removesuffix('.__init__') for path in paths]
  return dict(zip(names, entries, strict=True))


def missing(module, page):
  """Public names of a module that have no entry, or one that says nothing."""
  entries = re.findall(
    r'^- `([\w.]+).*?`: \S', page[module.__name__], re.MULTILINE
  )
  return [name for name in public(module) if name not in entries]


def test_the_index_is_current():
  assert read() == SCRIPT['index'](), 'run scripts/api_index.py'


def test_everything_public_has_an_entry():
  page = sections(read())
  modules = [importlib.import_module(name) for name in MODULES]
  assert len(modules) > 200
  lacking = {module.__name__: missing(module, page) for module in modules}
  assert {name: found for name, found in lacking.items() if found} == {}


def test_what_is_missing_is_found():
  assert list(public(pairs)) == ['margins', 'moment', 'gram']
  gone = re.sub(r'^- `gram.*\n', '', read(), flags=re.MULTILINE)
  assert missing(pairs, sections(gone)) == ['gram']
  silent = re.sub(r'^(- `moment\(.*?\)`:).*', r'\1', read(), flags=re.MULTILINE)
  assert missing(pairs, sections(silent)) == ['moment']


def test_a_function_without_docstring_says_nothing(tmp_path):
  (tmp_path / 'prm_jax').mkdir()
  (tmp_path / 'prm_jax' / 'bare.py').write_text(
    'def bare(a, *, b):\n  return a\n\n\ndef _own():\n  pass\n'
  )
  page = SCRIPT['index'](tmp_path)
  assert '- `bare(a, *, b)`:\n' in page
  assert '_own' not in page
