"""The study of heads: it runs, and its tables say what units hold."""

import json

import numpy as np
import pytest

from configs import reward_heads
from experiments.reward_heads import experiment, fits, real, tables
from prm_jax.lab import study, units
from prm_jax.worlds import candidates


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('heads')
  config = reward_heads.get_config('smoke')
  study.run(experiment.STUDY, config, workdir)
  return workdir


@pytest.mark.slow
def test_the_study_runs(smoke):
  results = json.loads((smoke / 'results.json').read_text())
  rows = results['tables']['heads']
  names = {(row['world'], row['head']) for row in rows}
  assert ('ties', 'rao_kupper') in names
  assert ('rankings', 'plain') in names
  for row in rows:
    assert row['seeds'] == 2
    assert 0.5 < row['order'] <= 1.0
    assert (row['gain'] == 0) == (row['head'] == 'plain') or row['gain'] != 0
  assert 'Plain Bradley-Terry' in results['answer'][1]
  page = (smoke / 'report' / 'index.html').read_text()
  assert 'What a head gains over plain Bradley-Terry' in page


def test_every_head_of_the_registry_has_data_or_is_a_variant():
  tried = {node['kind'] for node in reward_heads.HEADS.values()}
  shown = {
    reward_heads.HEADS[head]['kind']
    for world in reward_heads.WORLDS.values()
    for head in world['heads']
  }
  assert shown == tried
  for world in reward_heads.WORLDS.values():
    assert set(world['made_for']) <= {*world['heads'], experiment.PLAIN}


def rows(**orders):
  return [
    {'world': 'w', 'head': head, 'seed': seed, 'order': order, 'length': 0.1}
    for head, values in orders.items()
    for seed, order in enumerate(values)
  ]


def test_heads_are_held_to_plain_and_to_the_best_one():
  world = experiment.World(candidates.ties, ('own',), {})
  made = tables.heads(
    rows(
      plain=[0.70, 0.72, 0.71],
      own=[0.80, 0.82, 0.81],
      other=[0.81, 0.83, 0.82],
      poor=[0.5, 0.5, 0.5],
    ),
    {'w': world},
    'plain',
  )
  by = {row['head']: row for row in made}
  assert by['own']['gain'] == pytest.approx(0.1)
  assert by['own']['gain_low'] == pytest.approx(0.1)
  assert by['own']['behind'] == pytest.approx(0.01)
  # Inside the best one's interval, though behind it on every seed.
  assert by['own']['among_best']
  assert by['own']['made_for']
  assert not by['poor']['among_best']
  said = tables.answer({'heads': made})
  assert said[0].startswith('1 of 1 heads')
  assert 'worse than they on 1 of 1 kinds of data: w.' in said[1]


def kept(losses, tie, user, unit):
  record = {
    'data': 'd',
    'chosen': {name: [] for name in losses},
    'people': 4,
    'units': 3,
    'unit': 'prompts',
    'judgements': len(tie),
    'tie_share': float(np.mean(tie)),
  }
  arrays = {'user': user, 'unit': unit, 'tie': tie, **losses}
  return units.Unit(record, arrays)


def test_ties_gain_over_dropping_and_over_habits():
  rng = np.random.default_rng(0)
  n = 400
  tie = rng.random(n) < 0.3
  user, unit = rng.integers(0, 20, n), rng.integers(0, 15, n)
  base = rng.gamma(2.0, size=n)
  losses = {
    real.DROPPED: base + 0.5,
    real.DROPPED_OWN: base + 0.2,
    'rao_kupper_own': base + np.where(tie, 0.0, 0.1),
  }
  (own, row) = tables.ties([kept(losses, tie, user, unit)])
  assert own['head'] == real.DROPPED_OWN
  assert own['gain'] == pytest.approx(0.3)
  assert row['gain'] == pytest.approx(0.5 - 0.1 * np.mean(~tie))
  assert row['gain_over_habits'] == pytest.approx(row['gain'] - 0.3)
  assert row['gain_strict'] == pytest.approx(0.4)
  assert row['gain_low'] < row['gain'] < row['gain_high']
  assert (
    "saying a person's share"
    in tables.answer({'heads': [], 'ties': [own, row]})[-1]
  )


def test_shares_of_ties_are_pulled_to_everybodys():
  said = candidates.Said(
    np.array([0, 0, 1, 1]),
    np.zeros((4, 2), int),
    np.array([0.5, 0.5, 1.0, 0.0]),
  )
  np.testing.assert_allclose(real.tie_share(said, 3, np.inf), 0.5)
  own = real.tie_share(said, 3, 2.0)
  np.testing.assert_allclose(own, [3 / 4, 1 / 4, 1 / 2])


def test_validation_chooses_the_ridge():
  of, _ = candidates.draw(0, texts=60, dim=4)
  said = candidates.choices(of, np.random.default_rng(0), 80)
  parts = said.take(np.arange(60)), said.take(np.arange(60, 80))
  fit, ridge = fits.searched(
    None,
    parts[0],
    parts,
    of.features,
    people=1,
    ridges=(1e-2, 1.0, 1e6),
    steps=1,
  )
  right = [
    fits.right(
      fits.fitted(None, parts[0], of.features, people=1, ridge=tried, steps=1),
      parts[1],
      of.features,
    )
    for tried in (1e-2, 1.0, 1e6)
  ]
  assert fits.right(fit, parts[1], of.features) == max(right)
  assert ridge == (1e-2, 1.0, 1e6)[int(np.argmax(right))]


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    reward_heads.get_config('huge')
