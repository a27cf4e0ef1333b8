"""What is written of committed results is current; a wrong page is found."""

import json
import sys

import pytest

from experiments import documents

STUDIES = [folder.name for folder in documents.studies(documents.ROOT)]


@pytest.mark.parametrize('name', STUDIES)
def test_the_documents_of_a_study_are_current(name):
  assert not stale(documents.ROOT / name), 'run python -m experiments.documents'


def test_the_picture_of_the_readme_is_current():
  path = documents.ROOT.parent / 'docs' / 'answer.svg'
  assert documents.answer() == path.read_text()


def stale(folder):
  return documents.stale(documents.documents(folder))


@pytest.fixture
def folder(tmp_path):
  """A study with results of two kinds, and its documents."""
  made = tmp_path / 'a_toy_study'
  (made / 'results').mkdir(parents=True)
  gain = {
    'data': 'jester',
    'features': 'text',
    'method': 'pref',
    'split': 'new_pairs',
    'answers': 'all',
    'judgements': 'all',
    'role': 'personal',
    'baseline': 'aggregate',
    'people': 100,
    'pairs': 1000,
    'seeds': 3,
    'resampled': 'people',
  }
  for name, value in (('full', 0.03), ('a_smaller_one', 0.01)):
    rows = [gain | {'gain': value, 'gain_low': 0.0, 'gain_high': 0.04}]
    text = json.dumps({'study': 'a_toy_study', 'tables': {'gain': rows}})
    (made / 'results' / f'{name}.json').write_text(text)
  for path, text in documents.documents(made):
    path.write_text(text)
  return made


def test_what_the_readme_tells_of_comes_first(folder):
  text = (folder / 'RESULTS.md').read_text()
  assert text.startswith('# Results: a toy study\n')
  assert text.index('## full.json') < text.index('## a_smaller_one.json')
  assert '+3.00 [+0.00, +4.00]' in text
  assert (folder / 'answer.svg').read_text().startswith('<?xml')
  assert stale(folder) == []


@pytest.mark.parametrize('name', ['RESULTS.md', 'answer.svg'])
def test_a_document_that_was_edited_is_found(folder, name):
  path = folder / name
  path.write_text(path.read_text().replace('3', '4', 1))
  assert [one for one, _ in stale(folder)] == [path]


def test_results_that_changed_are_found(folder):
  path = folder / 'results' / 'full.json'
  path.write_text(path.read_text().replace('0.03', '0.035'))
  names = [path.name for path, _ in stale(folder)]
  assert sorted(names) == ['RESULTS.md', 'answer.svg']


def test_a_document_that_is_missing_is_found(folder):
  (folder / 'answer.svg').unlink()
  assert [path.name for path, _ in stale(folder)] == ['answer.svg']


def test_the_check_writes_nothing_and_fails(folder, monkeypatch, capsys):
  monkeypatch.setattr(
    documents, 'everything', lambda: documents.documents(folder)
  )
  path = folder / 'RESULTS.md'
  path.write_text('old')
  monkeypatch.setattr(sys, 'argv', ['documents', '--check'])
  assert documents.main() == 1
  assert path.read_text() == 'old'
  assert 'RESULTS.md is not current' in capsys.readouterr().out
  monkeypatch.setattr(sys, 'argv', ['documents'])
  assert documents.main() == 0
  assert path.read_text() != 'old'
  monkeypatch.setattr(sys, 'argv', ['documents', '--check'])
  assert documents.main() == 0
