"""Judges beside people, on the real choices; and no row of a person is kept."""

import json
from pathlib import Path

import pytest

from experiments.comparisons import data, judges

RESULTS = Path(judges.__file__).parent / 'results'


def test_the_majority_of_the_others_is_counted_right(real_data, private_cache):
  found = {(r['judge'], r['rows']): r for r in judges.agreement(real_data)}
  # Counted once more by hand, pair by pair.
  from prm_jax.data import load

  judged = load.judgements('llmfao', data_dir=real_data)
  pair = load.llmfao_judges(real_data).pair
  said = {}
  for user, p, label in zip(judged.user, pair, judged.label, strict=True):
    if label != 0.5:
      said.setdefault(int(p), []).append((int(user), float(label)))
  right = total = 0
  for answers in said.values():
    for user, label in answers:
      others = [2 * a - 1 for other, a in answers if other != user]
      if sum(others):
        total += 1
        right += (sum(others) > 0) == (label > 0.5)
  row = found['majority of the others', 'of a majority']
  assert row['choices'] == total
  assert row['agreement'] == pytest.approx(right / total)
  assert row['agreement_low'] < row['agreement'] < row['agreement_high']


def test_the_sets_are_as_large_as_they_are_called(
  real_data, private_cache, monkeypatch
):
  monkeypatch.setenv('PRM_DATA_DIR', str(real_data))
  lines = [json.loads(line) for line in data.ukp10000()]
  assert 9_000 < len(lines) <= 10_000
  assert {'user_id', 'response_a', 'label'} <= set(lines[0])


@pytest.mark.parametrize('path', sorted(RESULTS.glob('*.json')), ids=str)
def test_results_name_nobody(path):
  text = path.read_text()
  assert 'user_id' not in text
  assert '"w0' not in text
