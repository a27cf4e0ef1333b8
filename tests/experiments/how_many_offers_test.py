"""The example of docs/howto/study.md: it runs, and it is short."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

from configs import how_many_offers
from experiments.how_many_offers import experiment
from prm_jax.lab import study

ROOT = Path(__file__).parents[2]


def test_the_place_of_the_best_by_hand():
  utility = np.array([[1.0, 5, 2], [1, 5, 2], [1, 5, 2]])
  score = np.array([[9.0, 3, 7], [0, 3, -1], [4, 4, 4]])
  np.testing.assert_array_equal(
    experiment.place(score, utility), [[2, 1], [0, 1], [0, 3]]
  )


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('offers')
  study.run(experiment.STUDY, how_many_offers.get_config('smoke'), workdir)
  return workdir


def test_the_example_runs(smoke):
  results = json.loads((smoke / 'results.json').read_text())
  rows = results['tables']['offers']
  # Two acquisitions, two numbers of answers, four numbers of offers.
  assert len(rows) == 16
  assert {(row['people'], row['seeds']) for row in rows} == {(40, 2)}
  for row in rows:
    assert row['among_low'] <= row['among'] <= row['among_high']
  share = {
    (row['acquisition'], row['answers'], row['offered']): row['among']
    for row in rows
  }
  # Nothing is known before the first answer: offers are as good as chance.
  assert share['random', 0, 3] == share['variance', 0, 3]
  # All are equal: the best of twelve is among five in five of twelve orders.
  assert share['random', 0, 5] == pytest.approx(5 / 12)
  assert share['variance', 5, 1] < share['variance', 5, 3]
  assert share['variance', 5, 3] > 0.5
  assert 'after 0 answers' in results['answer'][0]
  page = (smoke / 'report' / 'index.html').read_text()
  assert 'How often the best is offered' in page
  assert 'With three offers' in page


def test_the_example_is_as_short_as_the_howto_says():
  lines = [
    len(path.read_text().splitlines())
    for path in (ROOT / 'experiments' / 'how_many_offers').glob('*.py')
  ]
  assert sum(lines) < 120


def test_the_howto_runs_and_is_short():
  howto = ROOT / 'docs' / 'howto' / 'study.md'
  result = doctest.testfile(str(howto), module_relative=False)
  assert result.attempted > 15
  assert result.failed == 0
  assert len(howto.read_text().splitlines()) <= 80


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    how_many_offers.get_config('demo')
