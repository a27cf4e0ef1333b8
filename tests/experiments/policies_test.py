"""Studies that train policies: what they share, their tables, their smoke."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import critique_and_numbers, evaluative_and_directive
from experiments import policies
from experiments.critique_and_numbers import cells as critique_cells
from experiments.critique_and_numbers import methods, words, world
from experiments.critique_and_numbers import tables as critique_tables
from experiments.evaluative_and_directive import cells
from experiments.evaluative_and_directive import tables as reply_tables
from experiments.evaluative_and_directive import words as wishes
from prm_jax.policy import padding, tasks
from prm_jax.worlds import arithmetic

ROOT = Path(__file__).parents[2]
NODE = critique_and_numbers.get_config('full').training


def run_of(method, seed, hard, share=0.5):
  """A run of two windows; hard problems rise to `hard`."""
  end = {
    'easy': 1.0, 'medium': 0.5, 'medium_last': 0.4, 'hard': hard,
    'hard_last': 0.1, 'refines': 0.9, 'rescued': hard,
  }  # fmt: skip
  halves = [{f'at {k}': v * i / 2 for k, v in end.items()} for i in range(2)]
  windows = [
    {'step': 10 * (i + 1), 'reward': 0.5, 'tokens': 8.0, 'no_gradient': 0.25,
     'criticised': 0.5, 'sampler_gap': None if i else 1e-6, **halves[i]}
    for i in range(2)
  ]  # fmt: skip
  return {
    'share': share, 'method': method, 'seed': seed, 'stuck': 9,
    'start': {'hard': 0.0, 'refines': 0.95, 'trials': 1}, 'oracle_digits': 2,
    'curve': windows, 'final': end,
  }  # fmt: skip


def test_examinations_are_of_a_windows_start():
  found = policies.exams(run_of('dr_grpo', 0, 0.8))
  assert [row['step'] for row in found] == [0, 10, 20]
  np.testing.assert_allclose([row['hard'] for row in found], [0, 0.4, 0.8])


def test_processes_share_runs(tmp_path):
  asked = []

  def job(name):
    def make():
      asked.append(name)
      return {'name': name}

    return make

  jobs = {tmp_path / 'cells' / f'{name}.json': job(name) for name in 'abc'}
  first, *_ = jobs
  with policies.claimed(first) as mine, policies.claimed(first) as theirs:
    assert mine
    assert not theirs  # until the other ends
  assert policies.runs(jobs) == [{'name': name} for name in 'abc']
  assert policies.runs(jobs) == [{'name': name} for name in 'abc']
  assert asked == list('abc')


def test_runs_whose_start_another_process_makes_come_later(tmp_path):
  start = tmp_path / 'warm' / '0'
  with contextlib.ExitStack() as another_process:
    another_process.enter_context(policies.claimed(start))

    def needs_it():
      return policies.kept(start, lambda: ({'w': np.ones(2)}, {'n': 1}))[1]

    def needs_nothing():
      assert not start.exists()
      another_process.close()
      return {}

    jobs = {tmp_path / 'a.json': needs_it, tmp_path / 'b.json': needs_nothing}
    assert policies.runs(jobs) == [{'n': 1}, {}]


def test_a_start_whose_write_was_cut_off_is_made_again(tmp_path):
  folder = tmp_path / 'warm' / '0'
  folder.mkdir(parents=True)
  (folder / 'half').write_text('')
  made = [policies.kept(folder, lambda: ({'w': np.ones(2)}, {'n': 1}))
          for _ in range(2)]  # fmt: skip
  for params, card in made:
    np.testing.assert_array_equal(params['w'], 1.0)
    assert card == {'n': 1}


def test_solve_rates_and_paired_gains():
  critic = critique_tables.CRITIC
  runs = [
    run_of(name, seed, hard + 0.01 * seed)
    for name, hard in (
      ('grpo', 0.0), ('dr_grpo', 0.1), ('dr_grpo_16', 0.6), (critic, 0.7),
      (critique_tables.TUNING, 0.8), ('refinement_tuning_8', 0.5),
    )
    for seed in range(3)
  ]  # fmt: skip
  table = {row['method']: row for row in critique_tables.solve_rate(runs, NODE)}
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
  assert table[critic]['critiques_per_step'] == 0.5 * NODE.batch
  assert table['grpo']['critiques_per_step'] == 0.0
  assert table['refinement_tuning']['critiques_per_step'] == NODE.tuning_batch
  assert table['refinement_tuning_8']['critiques_per_step'] == 8.0
  late = {row['method']: row for row in critique_tables.plateau(runs)}
  assert late['grpo']['no_gradient_share'] == 0.25
  curves = critique_tables.curves(runs)
  assert {row['step'] for row in curves} == {0, 10, 20}
  rows = critique_tables.per_seed(runs)
  assert len(rows) == 18
  assert {row['sampler_gap_nats'] for row in rows} == {1e-6}


def test_refiners_are_paired_by_seed():
  critic = critique_tables.CRITIC
  runs = [
    run_of(name, seed, hard + 0.1 * seed)
    for name, hard, seeds in ((critic, 0.6, 3), (f'{critic}_live', 0.5, 2))
    for seed in range(seeds)
  ]  # fmt: skip
  for run, lowest in zip(runs, (0.9, 0.8, 0.7, 0.6, 0.2), strict=True):
    run['curve'][0]['valid_refinement'] = lowest
    run['curve'][1]['valid_refinement'] = 0.95
  (row,) = critique_tables.refiners(runs)
  assert row['seeds'] == 2
  assert row['lowest_frozen'] == pytest.approx(0.85)
  assert row['lowest_live'] == pytest.approx(0.4)
  assert row['hard_added'] == pytest.approx(0.1)
  assert critique_tables.refiners(runs[:3]) == []


def test_methods_are_named():
  config = critique_and_numbers.get_config('smoke')
  sizes = critique_cells.decoder_of(config.policy)
  made = world.make(config.problems, 0.5, 0)
  assert made.hard.sum() == 8
  for name in (
    *critique_and_numbers.get_config('full').methods[-1],
    *critique_and_numbers.get_config('rates').methods[-1],
    'dr_grpo_outcome@0.001',
  ):
    found = methods.make(name, config.training, sizes, made)
    assert len(found.learner.phases) == 1, name
    assert (found.easier is not None) == (name == 'dr_grpo_curriculum')
  for bad in (
    'ppo', 'critique_grpo_none', 'critique_grpo_located_fast',
    'refinement_tuning_few',
  ):  # fmt: skip
    with pytest.raises(ValueError, match=r"'.*(ppo|none|fast|few)"):
      methods.make(bad, config.training, sizes, made)
  for bad in ('refinement_tuning8', 'refinement_tuning_0'):
    with pytest.raises(ValueError, match=bad):
      methods.make(bad, config.training, sizes, made)


def test_an_outcome_is_right_whatever_the_chain():
  made = world.make(critique_and_numbers.get_config('smoke').problems, 0.5, 0)
  values = arithmetic.chains(made.pool).copy()
  values[:, 0] = (values[:, 0] + 1) % 10
  said = padding.full(arithmetic.responses(values))
  everything = np.arange(len(made.pool.start))
  outcome = world.task_of(made.pool, final_only=True)
  assert not made.task.verify(everything, said).any()
  assert outcome.verify(everything, said).all()
  assert methods.critiques('dr_grpo_outcome', NODE, np.nan) == 0.0


def test_reply_methods_are_named():
  config = evaluative_and_directive.get_config('full')
  rates = evaluative_and_directive.get_config('rates')
  assert {
    policies.at_rate(name, rates.training, {'evaluative': 9.0})
    for name in ('evaluative', 'directive_live', 'evaluative@0.5')
  } == {('evaluative', 9.0), ('directive_live', 1e-3), ('evaluative', 0.5)}
  sizes = cells.decoder_of(config.policy)
  task = tasks.Task(None, None, None, 8, ())
  for arm in config.arms.values():
    for name in arm.methods:
      cells.method(name, task=task, replies=None, config=sizes)
  for bad in ('ppo', 'directive_slow'):
    with pytest.raises(ValueError, match='unknown method'):
      cells.method(bad, task=task, replies=None, config=sizes)


def reply_run(method, seed, fit):
  figures = {
    'fit': fit, 'fit_held_out': 0.0, 'format': fit, 'agrees_with_false': 0.3,
    'stance_flip_gap': 0.1, 'flagged': 1.0,
  }  # fmt: skip
  start = {f'at {k}': 0.0 for k in figures}
  middle = {f'at {k}': 0.5 for k in figures}
  return {
    'arm': 'one', 'method': method, 'seed': seed, 'hint_rate': 0.4,
    'hint_error': 0.2, 'start': {'follows_hints': 1.0},
    'curve': [{'step': 10, 'sampler_gap': 0.0, **start},
              {'step': 20, 'sampler_gap': 0.0, **middle}],
    'final': figures,
  }  # fmt: skip


def test_fit_is_of_the_whole_curve_and_falls_are_seen():
  runs = [
    reply_run(name, seed, fit)
    for name, fit in (('evaluative', 0.0), ('directive', 0.2), ('combined', 1))
    for seed in range(3)
  ]
  table = {row['method']: row for row in reply_tables.first_reply_fit(runs)}
  assert table['combined']['mean_fit'] == pytest.approx(0.5)
  assert table['combined']['baseline'] == 'directive'
  assert table['combined']['gain'] == pytest.approx(0.5 - 0.7 / 3)
  assert table['directive']['fall'] == pytest.approx(-0.3)
  assert table['combined']['fall'] == 0.0
  (row, *_) = reply_tables.audit(runs)
  assert row['agrees_with_false_added'] == pytest.approx(0.3)
  assert row['flagged_share'] == 1.0


def test_a_rule_criticises_a_worked_solution():
  solution = (
    'She has 3+4=<<3+4=7>>7 eggs.\nShe sells 7*2=<<7*2=14>>14.\n#### 14'
  )
  attempt = 'She has 7 eggs and sells 9 of them. The answer is 9.'
  say = words.critique
  assert say('indicative', solution, attempt, 0.0) == 'The answer is wrong.'
  assert say('indicative', solution, attempt, 1.0) == 'The answer is right.'
  assert say('with_answer', solution, attempt, 0.0).endswith('answer is 14.')
  assert say('step_by_step', solution, attempt, 0.0) == (
    'The answer is wrong. This step is missing: She sells 7*2=14.'
  )
  first = say('step_by_step', solution, 'I do not know.', 0.0)
  assert first.endswith('She has 3+4=7 eggs.')
  with pytest.raises(ValueError, match='kind'):
    say('kind', solution, attempt, 0.0)


def test_wishes_are_checked_by_rules():
  listed, first, brief = np.eye(3, dtype=bool)
  assert wishes.fits(listed, '- one\n\n* two')
  assert not wishes.fits(listed, '- one\ntwo')
  assert not wishes.fits(listed, ' \n')
  assert wishes.fits(first, '**Answer: 7**, since')
  assert not wishes.fits(first, 'The answer is 7.')
  assert wishes.fits(brief, 'word ' * 40)
  assert not wishes.fits(brief, 'word ' * 41)
  assert not wishes.fits(brief, '')
  assert wishes.fits(listed | first | brief, '- Answer: 7')  # all at once
  assert wishes.fits(listed | brief, '- 7')
  assert not wishes.fits(listed | brief, '7')


def test_hints_name_wishes_and_are_wrong_as_often_as_said():
  rng = np.random.default_rng(0)
  wanted = np.array([True, False, True])
  known = [wish.hint for wish in wishes.WISHES]
  right = [wishes.hint(rng, wanted, 0.0) for _ in range(900)]
  assert not any(known[1] in said for said in right)
  assert all(known[0] in said or known[2] in said for said in right)
  # Two of three are named: 4/9 both, 2/9 each, and none becomes either.
  both = np.mean([known[0] in said and known[2] in said for said in right])
  np.testing.assert_allclose(both, 4 / 9, atol=0.05)
  wrong = [wishes.hint(rng, wanted, 1.0) for _ in range(900)]
  # Of the seven sets four have the second wish; it is named 2 times in 3, and
  # where nothing else would be.
  assert 0.3 < np.mean([known[1] in said for said in wrong]) < 0.55


@pytest.mark.slow
@pytest.mark.parametrize(
  ('study', 'table', 'methods_'),
  [
    ('critique_and_numbers', 'solve_rate', 2),
    ('evaluative_and_directive', 'first_reply_fit', 4),
  ],
)
def test_smoke(study, table, methods_, tmp_path):
  command = [sys.executable, '-m', 'experiments.run', f'--workdir={tmp_path}']
  done = subprocess.run(
    [*command, f'--config=configs/{study}.py:smoke'],
    capture_output=True, text=True, cwd=ROOT, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  known = json.loads((tmp_path / 'results.json').read_text())
  assert len(known['tables'][table]) == methods_
  assert all(row['seeds'] == 2 for row in known['tables'][table])
  assert max(r['sampler_gap_nats'] for r in known['tables']['per_seed']) < 1e-4
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000
