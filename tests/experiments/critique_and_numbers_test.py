"""Critiques beside numbers: methods, tables, page, and a run of a few steps."""

import pytest

from configs import critique_and_numbers
from experiments.critique_and_numbers import (
  experiment,
  methods,
  page,
  tables,
  world,
)
from prm_jax.lab import curves, starts, study
from prm_jax.report import page as pages
from prm_jax.worlds import arithmetic

CONFIG = critique_and_numbers.get_config('full')
NODES = CONFIG.methods.to_dict()
BATCH, BASELINES = CONFIG.training.batch, CONFIG.baselines
TRUE = {'kind': 'step_by_step'}


def run_of(method, seed, hard, share=0.5):
  """A run of two windows; hard problems rise to `hard`."""
  end = {
    'easy': 1.0,
    'medium': 0.5,
    'medium_last': 0.4,
    'hard': hard,
    'hard_last': 0.1,
    'refines': 0.9,
    'rescued': hard,
  }
  halves = [{f'at {k}': v * i / 2 for k, v in end.items()} for i in range(2)]
  windows = [
    {
      'step': 10 * (i + 1),
      'reward': 0.5,
      'tokens': 8.0,
      'no_gradient': 0.25,
      'criticised': 0.5,
      'sampler_gap': None if i else 1e-6,
      **halves[i],
    }
    for i in range(2)
  ]
  return {
    'unsolved_share': share,
    'method': method,
    'node': NODES[method],
    'seed': seed,
    'stuck': 9,
    'oracle_digits_per_critique': 2,
    'start': {'hard': 0.0, 'refines': 0.95, 'trials': 1},
    'curve': windows,
    'final': end,
  }


@pytest.fixture(scope='module')
def small():
  """Returns the smallest world, and what methods are built for in it."""
  config = critique_and_numbers.get_config('smoke')
  sizes = starts.decoder_of(config.policy, arithmetic.TOKENS)
  problems = world.split(config.problems, 0.5, 0)
  assert problems.hard.sum() == 8
  return problems, world.setting(problems.pool, sizes, final_only=False)


def test_solve_rates_and_paired_gains():
  critic = tables.CRITIC
  runs = [
    run_of(name, seed, hard + 0.01 * seed)
    for name, hard in (
      ('grpo', 0.0),
      ('dr_grpo', 0.1),
      ('dr_grpo_16', 0.6),
      (critic, 0.7),
      (tables.TUNING, 0.8),
      ('refinement_tuning_8', 0.5),
    )
    for seed in range(3)
  ]
  rows = tables.solve_rate(runs, BATCH, BASELINES)
  table = {row['method']: row for row in rows}
  # Half hard, the others half easy, half medium.
  assert table['grpo']['solve_rate'] == pytest.approx(0.5 * 0.01 + 0.5 * 0.75)
  # Twice the budget is no baseline; pairs cancel what seeds share.
  assert table[critic]['baseline'] == 'dr_grpo'
  assert table[critic]['gain'] == pytest.approx(0.3)
  assert table[critic]['gain_low'] == pytest.approx(0.3)
  assert table[critic]['gain_over_tuning'] == pytest.approx(-0.05)
  assert table[critic]['gain_over_few'] == pytest.approx(0.1)
  assert 'gain' not in table['dr_grpo']
  assert table[critic]['tokens_per_step'] == 8.0
  assert table[critic]['critiques_per_step'] == 0.5 * BATCH
  assert table['grpo']['critiques_per_step'] == 0.0
  assert table['refinement_tuning']['critiques_per_step'] == 64.0
  assert table['refinement_tuning_8']['critiques_per_step'] == 8.0
  late = {row['method']: row for row in tables.plateau(runs)}
  assert late['grpo']['no_gradient_share'] == 0.25
  rows = tables.per_seed(runs)
  assert len(rows) == 18
  assert {row['sampler_gap_nats'] for row in rows} == {1e-6}
  assert rows[-1]['solve_rate'] == pytest.approx(0.5 * 0.52 + 0.5 * 0.75)


def test_a_plateau_is_the_last_third():
  (row,) = tables.plateau([run_of('grpo', 0, 0.9), run_of('grpo', 0, 0.9, 0.0)])
  assert row['unsolved_share'] == 0.5
  # Three examinations, of which the second is at two thirds, rounded down.
  assert row['hard_gain_last_third'] == pytest.approx(0.9 - 0.45)


def test_refiners_are_paired_by_seed():
  critic = tables.CRITIC
  runs = [
    run_of(name, seed, hard + 0.1 * seed)
    for name, hard, seeds in ((critic, 0.6, 3), (f'{critic}_live', 0.5, 2))
    for seed in range(seeds)
  ]
  for run, lowest in zip(runs, (0.9, 0.8, 0.7, 0.6, 0.2), strict=True):
    run['curve'][0]['valid_refinement'] = lowest
    run['curve'][1]['valid_refinement'] = 0.95
  (row,) = tables.refiners(runs)
  assert row['seeds'] == 2
  assert row['lowest_frozen'] == pytest.approx(0.85)
  assert row['lowest_live'] == pytest.approx(0.4)
  assert row['hard_added'] == pytest.approx(0.1)
  assert tables.refiners(runs[:3]) == []


def test_every_method_of_every_variant_is_a_learner(small):
  _, setting = small
  for variant in ('full', 'refiners', 'rates', 'smollm2'):
    config = critique_and_numbers.get_config(variant)
    labels = [label for _, some in config.runs for label in some]
    nodes = curves.methods(
      config.methods.to_dict(), [*labels, *config.words.methods]
    )
    assert nodes
    for label, node in nodes.items():
      learner = methods.learner(node, setting, 10)
      assert len(learner.phases) == 1, label


def test_faults_of_nodes_are_named(small):
  _, setting = small
  critic = {'kind': 'critique_grpo', 'rate': 1e-3}
  tuning = {'kind': 'imitation', 'critic': TRUE, 'rate': 1e-3, 'batch': 8}
  for node, match in (
    ({'kind': 'ppo', 'rate': 1e-3}, 'ppo'),
    ({**critic, 'critic': {'kind': 'none'}}, "'none'"),
    ({**critic, 'critic': TRUE, 'speed': 'fast'}, 'speed'),
    ({**critic, 'critic': TRUE, 'second': 'fast'}, "'fast'"),
    ({**tuning, 'shown': 'few'}, "'few'"),
  ):
    with pytest.raises(ValueError, match=match):
      methods.learner(node, setting, 10)


def test_what_critiques_a_method_reads_and_what_they_give_away():
  # Half of the groups were criticised.
  read = {n: methods.critiques(NODES[n], 32, 0.5) for n in NODES}
  assert read['dr_grpo_outcome'] == 0.0
  assert read['critique_grpo_self'] == read['critique_grpo_inverted'] == 16.0
  assert (read['critique_tuning'], read['refinement_tuning_8']) == (64.0, 8.0)
  assert (read['sdpo'], read['rltf_predict']) == (256.0, 128.0)
  digits = {name: methods.oracle_digits(node) for name, node in NODES.items()}
  given = {name for name in digits if digits[name]}
  assert given == {
    tables.CRITIC,
    f'{tables.CRITIC}_live',
    f'{tables.CRITIC}_always',
    f'{tables.CRITIC}_raw',
    f'{tables.CRITIC}_log',
    f'{tables.CRITIC}_50',
    f'{tables.CRITIC}_outcome',
    'critique_grpo_with_answer',
    'critique_grpo_with_answer_outcome',
    'refinement_tuning',
    'refinement_tuning_8',
    'critique_tuning',
    'sdpo',
    'rltf',
    'rltf_predict',
  }
  assert set(digits.values()) == {0, arithmetic.DIGITS}


def results():
  solved = {
    'unsolved_share': 0.5,
    'seeds': 2,
    'solve_rate': 0.4,
    'solve_rate_low': 0.3,
    'solve_rate_high': 0.5,
  }
  curve = {
    **solved,
    'method': 'grpo',
    'hard': 0.0,
    'hard_low': 0.0,
    'hard_high': 0.0,
  }
  return {
    'study': 'critique_and_numbers',
    'tables': {
      'solve_rate': [
        {**solved, 'method': 'grpo'},
        {
          **solved,
          'method': tables.TUNING,
          'solve_rate': 0.6,
          'solve_rate_high': 0.7,
        },
        {**solved, 'method': tables.TUNING, 'unsolved_share': 0.0},
      ],
      'curves': [{**curve, 'step': step} for step in (0, 20)],
      'per_seed': [{'method': 'grpo', 'seed': 0}],
    },
  }


def test_the_picture_of_the_answer_is_of_the_largest_share():
  picture = pages.picture(results(), page.PAGE)
  assert picture.alt == (
    'solved (%); 50 % never solved at the start. numbers alone (GRPO) 40.0; '
    'imitation, 64 critiques 60.0.'
  )


def test_curves_are_drawn_by_share():
  found = {s['title']: s['pictures'] for s in page.sections(results())}
  found.pop('What is solved at the end')
  assert set(found) == {'Problems solved', 'Problems that were never solved'}
  (solved,) = found['Problems solved']
  assert solved.alt.startswith('solved (%) by updates; 50 % never solved. ')
  assert 'GRPO 40 at 0, 40 at 20' in solved.alt


def test_the_page_tables_what_is_solved(tmp_path):
  pages.write_page(results(), tmp_path / 'index.html', page.PAGE)
  text = (tmp_path / 'index.html').read_text()
  assert 'GRPO' in text
  # Of the picture, of the table, and what the table is called.
  assert text.count('What is solved at the end') == 3
  assert text.count('<img') == 3


@pytest.mark.slow
def test_smoke(tmp_path):
  config = critique_and_numbers.get_config('smoke')
  made = study.run(experiment.STUDY, config, tmp_path)['tables']
  assert len(made['solve_rate']) == 2
  assert all(row['seeds'] == 2 for row in made['solve_rate'])
  assert max(row['sampler_gap_nats'] for row in made['per_seed']) < 1e-4
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000
