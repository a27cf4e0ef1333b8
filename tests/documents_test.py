import doctest
import importlib
import re
from pathlib import Path

import pytest

from prm_jax.data import load
from tests.multidevice import devices

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
PAGES = [
  *ROOT.glob('*.md'),
  *ROOT.glob('docs/**/*.md'),
  *ROOT.glob('experiments/**/*.md'),
]
HOWTO = sorted((DOCS / 'howto').glob('*.md'))
ON_FOUR = 'pods'  # this page's examples have four devices
MODULES = [
  path.relative_to(ROOT).with_suffix('')
  for path in sorted((ROOT / 'prm_jax').rglob('*.py'))
  if '>>> ' in path.read_text()
]
ENTRY = re.compile(r'^\*\*(.+?)\*\*', re.MULTILINE)


def run(page):
  return doctest.testfile(
    str(page), module_relative=False, optionflags=doctest.ELLIPSIS
  )


def test_readme_example_runs():
  result = run(ROOT / 'README.md')
  assert result.attempted > 15
  assert result.failed == 0


@pytest.mark.parametrize('page', HOWTO, ids=[page.stem for page in HOWTO])
def test_howto_is_short_and_its_code_runs(page, private_cache, monkeypatch):
  assert len(page.read_text().splitlines()) <= 80
  # What a page registers is gone after it.
  monkeypatch.setattr(load, 'BUILDERS', dict(load.BUILDERS))
  if page.stem == ON_FOUR:
    quick = '--xla_backend_optimization_level=0'
    found = devices.report('page.py', 4, str(page), flags=quick)
  else:
    found = run(page)._asdict()
  assert found['attempted'] >= 10
  assert found['failed'] == 0


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


def missing(text):
  """Returns the files of the repository that a page names and are not there.

  Files of one's own, such as `configs/NAME.py`, are in capitals.
  """
  named = re.findall(r'`((?:[a-z_]+/)+[\w/.]*|[a-z_]+\.py)(?=[`:])', text)
  homes = (ROOT, ROOT / 'prm_jax')  # design.md's paths begin at the rooms
  named = [name for name in named if 'NAME' not in name]
  return [n for n in named if not any((home / n).exists() for home in homes)]


@pytest.mark.parametrize(
  'page',
  [DOCS / 'glossary.md', DOCS / 'design.md', *HOWTO],
  ids=lambda p: p.stem,
)
def test_files_that_a_page_names_are_there(page):
  assert missing(page.read_text()) == []


def test_a_file_that_is_not_there_is_found():
  text = (
    '`prm_jax/ops/heads/choices.py`, `ops/nothing.py`, `ops/` and `nowhere.py`'
  )
  assert missing(text) == ['ops/nothing.py', 'nowhere.py']


def test_every_word_of_the_glossary_has_its_module_and_its_place():
  text = (DOCS / 'glossary.md').read_text()
  words = ENTRY.findall(text)
  entries = ENTRY.split(text)[2::2]
  assert len(words) >= 40
  assert words == sorted(words, key=str.casefold)
  for word, says in zip(words, entries, strict=True):
    assert '`prm_jax/' in says, word
