"""What a pick is worth, and what the texts' features can carry."""

import numpy as np
import pytest

from configs import choose_for_a_person
from experiments.choose_for_a_person import experiment, settings, tables
from prm_jax.lab import asking
from prm_jax.users import gaussian


def test_best_of_n_by_hand():
  menus = np.array([[[1.0, 0], [0, 1], [2, 2]], [[0, 3], [1, 0], [0, 0]]])
  mean = np.array([[1.0, -1.0], [0.0, 1.0]])
  belief = gaussian.Context(mean, np.zeros((2, 2, 2)))
  found = experiment.best(menus, belief)
  np.testing.assert_array_equal(found, [[0, 1], [2, 0]])


def test_what_is_not_on_the_menu_is_not_picked():
  utility = np.array([[[1.0, np.nan, 3.0]]])
  score = np.array([[[0.0, 9.0, -1.0]]])
  np.testing.assert_array_equal(asking.picked(score, utility), [[1.0]])


def test_share_of_the_gap_by_hand():
  rng = np.random.default_rng(0)
  base = rng.normal(size=(60, 10))
  arrays = {
    'oracle|none|0': base + 2.0,
    'aggregate|none|0': base,
    'pref|variance|10': base + 0.5,
  }
  rows = tables.utility([tables.Cell('d', 'f', 0, arrays)], 200)
  found = {(r['method'], r['answers']): r for r in rows}
  mine = found['pref', 10]
  assert mine['recovered'] == pytest.approx(0.25)
  assert mine['gain'] == pytest.approx(0.5)
  assert mine['win_rate'] == 1.0
  assert found['aggregate', 0]['win_rate'] == 0.5
  assert found['oracle', 0]['recovered'] == 1.0


def test_read_out_finds_what_is_linear_and_nothing_else():
  rng = np.random.default_rng(0)
  prompt = np.repeat(np.arange(60), 10)
  features = rng.normal(size=(600, 5)) + rng.normal(size=(60, 5))[prompt]
  linear = features @ rng.normal(size=(5, 1))
  unrelated = rng.normal(size=(600, 1))
  train = prompt < 40
  found = settings.read_out(
    features, np.hstack([linear, unrelated]), prompt, train
  )
  held = ~train
  values = np.hstack([linear, unrelated])
  within = settings.responses.centre(values, prompt)
  r = [np.corrcoef(found[held, i], within[held, i])[0, 1] for i in range(2)]
  assert r[0] > 0.999
  assert abs(r[1]) < 0.2


def test_held_out_texts_do_not_reach_the_read_out():
  rng = np.random.default_rng(1)
  prompt = np.repeat(np.arange(60), 10)
  features, values = rng.normal(size=(600, 5)), rng.normal(size=(600, 2))
  train = prompt < 40
  one = settings.read_out(features, values, prompt, train)
  other = settings.read_out(
    features, np.where(train[:, None], values, 99.0), prompt, train
  )
  np.testing.assert_array_equal(one, other)


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    choose_for_a_person.get_config('demo')
