import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_readme_example_runs():
  result = doctest.testfile(str(ROOT / 'README.md'), module_relative=False)
  assert result.attempted > 15
  assert result.failed == 0


def test_links_of_the_documents_lead_somewhere():
  for page in [*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'),
               *ROOT.glob('experiments/**/*.md')]:  # fmt: skip
    for target in re.findall(r'\]\(([^)#:]+)\)', page.read_text()):
      assert (page.parent / target).exists(), f'{page}: {target}'
