"""Tournaments of the study: as `scalars`, at all budgets at once; by hand."""

import numpy as np
import pytest
from ml_collections import config_dict
from scipy import special, stats

from experiments.reasoning_rewards import tournaments as study
from prm_jax.ops import tournaments


def config(**change):
  node = {
    'repetitions': 4,
    'sizes': (4, 5),
    'judges': {'logistic': {'slope': 1.5}, 'flat': {'error': 0.2}},
    'biased': 'logistic',
    'bias': 1.0,
  }
  return config_dict.ConfigDict({'tournaments': {**node, **change}})


def test_budgets_double_up_to_four_round_robins():
  assert study.budgets(8) == [7, 14, 28, 56, 112]
  assert study.budgets(16) == [15, 30, 60, 120, 240, 480]


@pytest.mark.parametrize('order', tournaments.ORDERS)
def test_all_budgets_are_scalars(order):
  n, key = 5, [3, 1]
  strength = np.array([0.3, -1, 2, 0, 1.1])

  def compare(pairs):  # sure, but for a habit of the first place
    first, second = strength[pairs].T
    return (first - second > -0.5).astype(float)

  found = study.rewards(key, compare, n, order)
  assert found.shape == (len(study.budgets(n)), len(tournaments.METHODS), n)
  for row, budget in zip(found, study.budgets(n), strict=True):
    for own, how in zip(row, tournaments.METHODS, strict=True):
      if order == 'both' and budget < 2 * (n - 1):
        assert np.isnan(own).all()
        continue
      rng = np.random.default_rng(key)
      want = tournaments.scalars(
        rng, compare, n, budget=budget, how=how, order=order
      )
      np.testing.assert_allclose(own, want)


def test_measures_by_hand():
  strength = np.array([0.1, 3, 2, -1])
  reward = np.array(
    [[1, 4, 3, 0], [5, 5, 1, 0], [2, 2, 2, 2], [0, 1, 2, 3], [np.nan] * 4]
  )
  found = study.measures(reward, strength)
  for row, one in zip(found[[0, 1, 3]], reward[[0, 1, 3]], strict=True):
    want = stats.spearmanr(one, strength).statistic
    assert row[0] == pytest.approx(want)
  assert found[:4, 1].tolist() == [1, 0.5, 0.25, 0]
  assert found[2, 0] == 0
  assert np.isnan(found[4]).all()


@pytest.mark.parametrize(
  ('node', 'logit'), [({'slope': 1.5}, 1.5 * 0.8), ({'error': 0.2}, np.log(4))]
)
def test_how_often_a_judge_prefers_the_first(node, logit):
  strength = np.array([0.5, -0.3])
  compare = study.judge(np.random.default_rng(0), strength, node, 1.0)
  for pair, sign in (([0, 1], 1), ([1, 0], -1)):
    drawn = compare(np.tile(pair, (20000, 1)))
    assert set(drawn) == {0, 1}
    want = special.expit(sign * logit + 1.0)
    assert drawn.mean() == pytest.approx(want, abs=0.015)


def test_tables_of_two_seeds():
  setting = config()
  made = [study.run(setting, seed) for seed in (0, 1)]
  again = study.run(setting, 0)
  np.testing.assert_array_equal(
    made[0].arrays['spearman-5'], again.arrays['spearman-5']
  )
  assert made[0].arrays['spearman-4'].shape == (5, 4, 4, 4)
  rows = study.table(setting, made)
  # Five settings, four budgets of either n, four methods; n - 1 comparisons
  # are too few for both orders.
  assert len(rows) == (5 * 4 + 5 * 4 - 2) * 4
  by_name = {tuple(row.values())[:6]: row for row in rows}
  name = ('logistic', 1.0, 'random', 4, 24, 'elo')
  at = [unit.arrays['best_first-4'][2, 3, 2] for unit in made]
  assert by_name[name]['best_first'] == pytest.approx(np.mean(at))
  assert by_name[name]['repetitions'] == 8
  assert by_name[name]['spearman_low'] < by_name[name]['spearman']
  gained = study.knockouts(setting, made)
  assert len(gained) == len(rows) * 3 // 4
  for row in gained:
    own = by_name[(*tuple(row.values())[:5], 'knockout')]
    other = by_name[tuple(row.values())[:6]]
    difference = own['best_first'] - other['best_first']
    assert row['best_first_gain'] == pytest.approx(difference)
  ordered = study.orders(setting, made)
  assert {row['order'] for row in ordered} == {'random', 'both'}
  assert {row['bias'] for row in ordered} == {1.0}
  for row in ordered:
    own = by_name[tuple(row.values())[:6]]
    fixed = by_name[('logistic', 1.0, 'fixed', *tuple(row.values())[3:6])]
    assert row['spearman_gain'] == pytest.approx(
      own['spearman'] - fixed['spearman']
    )


def gained(n, comparisons, method, bias, order, gain):
  row = {'candidates': n, 'comparisons': comparisons, 'method': method}
  for name in ('best_first_gain', 'spearman_gain'):
    row |= {name: gain, f'{name}_low': gain - 0.05, f'{name}_high': gain + 0.05}
  return {**row, 'bias': bias, 'order': order}


def test_sentences_are_on_the_least_gain():
  said = study.answer(
    {
      'tournament_knockouts': [
        gained(8, 7, 'elo', 0.0, 'random', 0.3),
        gained(16, 15, 'win_rate', 0.0, 'random', 0.2),
        gained(16, 30, 'elo', 0.0, 'random', 0.1),  # more comparisons
        gained(16, 15, 'elo', 1.0, 'fixed', 0.1),  # a bias
      ],
      'tournament_orders': [
        gained(8, 112, 'elo', 1.0, 'random', 0.04),
        gained(8, 112, 'knockout', 1.0, 'random', 0.01),
        gained(8, 112, 'elo', 1.0, 'both', 0.01),
        gained(8, 56, 'elo', 1.0, 'random', 0.01),
      ],
    }
  )
  assert 'knockout has the best' in said[0]
  assert 'win_rate gains least, +0.200 [+0.150, +0.250]' in said[0]
  assert 'is not shown to bring' in said[1]
  assert 'elo gains least, +0.040 [-0.010, +0.090]' in said[1]
  assert study.answer({}) == []
