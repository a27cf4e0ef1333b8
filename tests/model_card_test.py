import gzip
import json

import numpy as np
import pytest

from prm_jax import model_card, training

SETTING = {'method': 'pref', 'judgements': 90, 'people': 3, 'seed': 0}


def predictions(workdir, count=400, heat=2.0, people=('ann', 'bob')):
  """Predictions whose log-odds are `heat` times too large, and others'."""
  rng = np.random.default_rng(0)
  odds = rng.normal(size=count) * 2
  label = rng.random(count) < 1 / (1 + np.exp(-odds))
  rows = []
  for n in range(count):
    row = {
      'method': 'pref',
      'answers': 'all',
      'user_id': people[n % len(people)],
      'probability': round(1 / (1 + np.exp(-heat * odds[n])), 4),
      'label': int(label[n]),
    }
    rows += [row, {**row, 'method': 'aggregate', 'probability': 0.0}]
    rows.append({**row, 'answers': 3, 'probability': 0.0})
  workdir.mkdir(exist_ok=True)
  with gzip.open(workdir / training.PREDICTIONS, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)
  return odds, label


def test_a_temperature_undoes_what_is_too_sure(tmp_path):
  odds, label = predictions(tmp_path)
  scores = np.array([1.0, 3.0])
  found = model_card.calibrate(tmp_path, 'pref', scores)
  assert found.temperature == pytest.approx(2.0, rel=0.2)
  assert (found.mean, found.standard_deviation) == (2, 1)
  assert found.judgements == 400
  assert found.right == ((odds > 0) == label).sum()
  ann = model_card.calibrate(tmp_path, 'pref', None, 'ann')
  assert ann.judgements == 200
  assert (ann.mean, ann.standard_deviation) == (None, None)
  assert model_card.calibrate(tmp_path, 'pref', None, 'who').judgements == 0


def test_a_few_judgements_have_no_temperature(tmp_path):
  predictions(tmp_path, count=19)
  assert model_card.calibrate(tmp_path, 'pref', None).temperature is None
  assert model_card.calibrate(None, 'pref', None).judgements == 0
  right = np.full(30, 0.9)
  assert model_card.temperature(right, np.ones(30)) is None
  assert model_card.temperature(1 - right, np.ones(30)) is None


def written(tmp_path, workdir, found):
  path = tmp_path / 'README.md'
  model_card.write(
    path,
    title='Reward model of everybody',
    holds=['What it is.'],
    setting=SETTING,
    found=found,
    workdir=workdir,
  )
  return ' '.join(path.read_text().split())


def test_a_card_tells_results_and_audit(tmp_path):
  workdir = tmp_path / 'run'
  predictions(workdir)
  row = {'answers': 'all', 'split': 'new_pairs', 'accuracy': 0.7}
  row |= {'accuracy_low': 0.6, 'accuracy_high': 0.8}
  rows = [{**row, 'method': m} for m in ('pref', 'aggregate', 'length_only')]
  known = {'answer': ['It helps.'], 'tables': {'accuracy': rows}}
  (workdir / 'results.json').write_text(json.dumps(known))
  (workdir / 'audit').mkdir()
  audit = {'answer': ['People are served one side.']}
  (workdir / 'audit/results.json').write_text(json.dumps(audit))
  found = model_card.calibrate(workdir, 'pref', np.array([0.0, 2.0]))
  text = written(tmp_path, workdir, found)
  for part in (
    '90 judgements of 3 people, by the method `pref`',
    'It helps.',
    'pref, new_pairs: accuracy 0.700 [0.600, 0.800]',
    'aggregate, new_pairs: accuracy',
    'People are served one side.',
    'mean 1 and standard deviation 1',
    'fitted to 400 held-out judgements',
  ):
    assert part in text
  assert 'length_only' not in text
  nothing = model_card.Calibration(None, None, None, 0, 0)
  bare = written(tmp_path, None, nothing)
  assert 'Not measured' in bare
  assert '**No hazard audit was run**' in bare


def test_how_well_one_person_is_known():
  found = model_card.Calibration(None, None, None, 10, 8)
  assert 'it predicts 8: 0.800 [0.444, 0.975]' in model_card.of_person(found)
