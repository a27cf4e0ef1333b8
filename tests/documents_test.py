import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
  *ROOT.glob('*.md'),
  *ROOT.glob('docs/**/*.md'),
  *ROOT.glob('experiments/**/*.md'),
]
MODULES = [
  path.relative_to(ROOT).with_suffix('')
  for path in sorted((ROOT / 'prm_jax').rglob('*.py'))
  if '>>> ' in path.read_text()
]


def run(page):
  return doctest.testfile(
    str(page), module_relative=False, optionflags=doctest.ELLIPSIS
  )


def test_readme_example_runs():
  result = run(ROOT / 'README.md')
  assert result.attempted > 15
  assert result.failed == 0


@pytest.mark.parametrize('path', MODULES, ids=map(str, MODULES))
def test_examples_in_docstrings_run(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  module = importlib.import_module('.'.join(path.parts))
  result = doctest.testmod(module)
  assert result.attempted > 0
  assert result.failed == 0


def test_links_of_the_documents_lead_somewhere():
  for page in PAGES:
    for target in re.findall(r'\]\(([^)#:]+)\)', page.read_text()):
      assert (page.parent / target).exists(), f'{page}: {target}'
