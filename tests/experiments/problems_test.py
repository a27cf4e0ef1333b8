"""How data sets are split: who trains, who answers, what is held out."""

import numpy as np
import pytest

from configs import personalized_vs_aggregate as configs
from experiments.personalized_vs_aggregate import experiment, problems
from prm_jax.lab import fitting


@pytest.fixture(scope='module')
def made():
  config = configs.get_config('smoke')
  name = 'attributes_two_attribute'
  return list(problems.problems(config, name, 0, None))


def test_one_problem_with_text_and_one_with_the_truth(made):
  text, levels = made
  assert [p.features_name for p in made] == ['text', 'levels']
  assert text.name == 'attributes_two_attribute-text-seed0-fold0'
  assert set(levels.features) == {'levels', 'length'}
  assert levels.features['levels']().shape == (len(text.texts), 7)
  np.testing.assert_array_equal(text.split, levels.split)


def test_new_people_train_nothing_and_are_a_third(made):
  problem, user = made[0], made[0].judged.rows.user
  of = {str(s): set(user[problem.split == s]) for s in set(problem.split)}
  assert of['new_people'] == of[fitting.CALIBRATION]
  assert not of['new_people'] & of[fitting.TRAIN]
  assert 15 < len(of['new_people']) < 45  # of 84
  assert of['new_topics'] <= of[fitting.TRAIN]


def test_held_out_pairs_are_so_for_everybody_in_either_order(made):
  problem = made[0]
  pairs = np.sort(problem.judged.inputs.index, 1)
  held, trained = (
    set(map(tuple, pairs[problem.split == split].tolist()))
    for split in ('new_pairs', fitting.TRAIN)
  )
  assert held
  assert not held & trained


def test_a_search_validates_on_prompts_of_its_own(made):
  problem = made[0]
  prompt = np.array(problem.prompt_ids)[problem.judged.inputs.index[:, 0]]
  fits, validates = (
    set(prompt[problem.inner == role])
    for role in (fitting.FIT, fitting.VALIDATE)
  )
  assert fits
  assert validates
  assert not fits & validates
  assert (problem.inner[problem.split != fitting.TRAIN] == fitting.UNUSED).all()


def test_the_oracle_is_the_better_text_of_a_person(made):
  oracle, label = made[0].oracle, made[0].judged.rows.label
  assert (oracle > 0).all()
  assert (oracle < 1).all()
  assert np.mean((oracle > 0.5) == label) == pytest.approx(0.88, abs=0.02)


def test_the_truth_bounds_rules_for_everyone(made):
  levels = made[1].truth()
  assert [row['split'] for row in levels['ceilings']] == [
    'new_topics',
    'new_lexicon',
  ]
  assert 'decodability' not in levels
  for row in levels['ceilings']:
    assert 0.4 < row['linear_ceiling'] <= row['pairwise_ceiling'] + 0.01 < 0.7


def test_searches_of_one_data_set_are_of_one_size(made):
  config = configs.get_config('smoke').unlock()
  grids = experiment._grids(config, made[0].data, made[0])
  assert grids.pop('people') == 100
  assert {len(grid) for grid in grids.values()} == {6}
  config.attributes.search.pref = config.attributes.search.pref[1:]
  with pytest.raises(ValueError, match='the same number of configurations'):
    experiment._grids(config, made[0].data, made[0])


def test_a_data_set_that_is_unknown():
  config = configs.get_config('smoke')
  with pytest.raises(ValueError, match='unknown data set'):
    next(problems.problems(config, 'nothing', 0, None))
