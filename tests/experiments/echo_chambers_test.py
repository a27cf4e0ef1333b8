"""The study of hazards: tables by hand, a cell, and a run of its smoke."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import echo_chambers as config
from experiments.echo_chambers import answers, experiment, safety, tables
from prm_jax.lab import units
from prm_jax.users import gaussian
from prm_jax.worlds import observed_stances

ROOT = Path(__file__).parents[2]


# --------------------------------------------------------------------- tables


def record(method, safeguard, seed, **values):
  row = {
    'fit_gain': 0.0,
    'stance_variance': 0.0,
    'truth': 0.8,
    'length': 0.1,
    'agreement_false': 0.2,
    'agreement_false_worst_added': 0.0,
    'confidence': 0.0,
    'stance_variance_per_prompt': 0.0,
    'divergence': 0.6,
    'probe_accuracy': 0.9,
    'flip_gap': 0.0,
    'polarization': 0.05,
  }
  head = {
    **observed_stances.Condition()._asdict(),
    'serve': 'tilt',
    'method': method,
    'safeguard': safeguard,
    'seed': seed,
  }
  return {**row, **head, **values}


def records(kept=0.9, variance=0.001, worst=0.01, added=0.2, noise=0.01):
  rng = np.random.default_rng(0)
  found = []
  for seed in range(5):
    jitter = 1 + noise * rng.standard_normal()
    found += [
      record('aggregate', 'none', seed, polarization=0.04 + 0.01 * seed),
      record(
        'hierarchical',
        'none',
        seed,
        fit_gain=jitter,
        stance_variance=0.03,
        agreement_false_worst_added=added * jitter,
        polarization=0.05 + 0.01 * seed,
      ),
      record(
        'hierarchical',
        'matching',
        seed,
        fit_gain=kept * jitter,
        stance_variance=variance,
        agreement_false_worst_added=worst * jitter,
      ),
    ]
  return found


def certified(**options):
  (row,) = tables.certificate(records(**options))
  return row


def test_certificate_by_hand():
  row = certified()
  assert row['fit_kept'] == pytest.approx(0.9)
  assert row['stance_variance_removed'] == pytest.approx(1 - 0.001 / 0.03)
  removed = row['agreement_false_worst_removed']
  assert removed == pytest.approx(1 - 0.01 / 0.2)
  assert row['agreement_false_worst_removed_low'] <= removed
  assert row['verdict'] == 'holds'
  assert row['seeds'] == 5


@pytest.mark.parametrize(
  ('options', 'verdict'),
  [
    ({'kept': 0.7}, 'fails: fit'),
    ({'variance': 0.01}, 'fails: stance_variance'),
    ({'worst': 0.1}, 'fails: agreement_false_worst'),
    (
      {'added': 0.005, 'worst': 0.0},
      'nothing shown to be added: agreement_false_worst',
    ),
  ],
)
def test_verdicts(options, verdict):
  assert certified(**options)['verdict'] == verdict


def test_a_noisy_certificate_fails_by_its_lower_limit():
  rows = records()
  values = iter([0.10, -0.06, 0.08, -0.05, 0.05])
  for row in rows:
    if row['safeguard'] == 'matching':
      row['agreement_false_worst_added'] = next(values)
  (row,) = tables.certificate(rows)
  assert row['agreement_false_worst_removed'] > 0.8
  assert row['verdict'] == 'fails: agreement_false_worst'


def test_nothing_added_has_no_ratio():
  row = certified(added=0.005, worst=0.0)
  assert 'agreement_false_worst_removed' not in row
  assert not row['agreement_false_worst_shown']


def test_more_than_everything_is_no_credit():
  row = certified(worst=-0.05)
  assert row['agreement_false_worst_removed'] == 1.0


def test_carried_strengths_are_held_to_the_same_candidates():
  rows = records()
  for seed in range(5):
    rows += [
      record('aggregate', 'none/fresh', seed, stance_variance=0.01),
      record(
        'hierarchical',
        'none/fresh',
        seed,
        fit_gain=2.0,
        stance_variance=0.05,
        agreement_false_worst_added=0.4,
      ),
      record(
        'hierarchical',
        'matching/carried',
        seed,
        fit_gain=1.8,
        stance_variance=0.014,
        agreement_false_worst_added=0.02,
      ),
    ]
  found = {row['safeguard']: row for row in tables.certificate(rows)}
  assert set(found) == {'matching', 'matching/carried'}
  row = found['matching/carried']
  assert row['fit_kept'] == pytest.approx(0.9)
  assert row['stance_variance_removed'] == pytest.approx(0.9)
  assert row['agreement_false_worst_removed'] == pytest.approx(0.95)


def test_hazard_rows_are_paired_over_seeds():
  rows = tables.hazard(records())
  row = next(r for r in rows if r['method'] == 'hierarchical')
  # Seeds differ far more than the method does.
  assert row['polarization_added'] == pytest.approx(0.01)
  width = row['polarization_added_high'] - row['polarization_added_low']
  assert width < 1e-9
  assert row['polarization_high'] - row['polarization_low'] > 0.01
  assert row['loving_fraction'] == 0.1


def test_answer_says_what_is_shown():
  rows = tables.hazard(records())
  said = answers.answer({'hazard': rows, 'certificate': []})
  assert 'opinions end further apart, shown at every share' in said[0]
  assert 'so is the mean, shown at no share' in said[0]


# ----------------------------------------------------------------------- work


def test_every_safeguard_is_made_of_its_nodes():
  options = safety.Options(*np.eye(4, 3, dtype=np.float32))
  safeguards = config.get_config('full').safeguards
  names = {
    name: safety.builder(node.parts)(options).name
    for name, node in safeguards.items()
  }
  assert names['none'] == 'none'
  assert names['chain'] == 'projection + matching'
  assert names['matching/carried'] == names['matching'] == 'matching'
  # The same parts are the same function, or programs would not be kept.
  builders = {safety.builder(node.parts) for node in safeguards.values()}
  assert len(builders) == len(safeguards) - 3
  projected = safety.builder(safeguards['projection_means'].parts)
  context = gaussian.Context(np.ones(3, np.float32), np.eye(3))
  at = projected(options).context(((),), context, context._replace(mean=0.0))
  np.testing.assert_allclose(at.mean, [1.0, 0.0, 1.0])


def test_cells_wait_for_what_their_methods_search_chose(tmp_path):
  folder = units.Folder(tmp_path)
  work = experiment.STUDY.work(config.get_config('full'), folder)
  names = list(work)
  assert len(names) == len(set(names))
  cell = next(name for name in names if name.startswith('hazard-lore'))
  assert names.index('choice-lore-loving0') < names.index(cell)
  with pytest.raises(units.BusyError):
    work[cell]()
  for part in ('planted', 'real_text-ukp_stances'):
    assert part in names


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    config.get_config('tiny')


@pytest.mark.slow
def test_smoke_runs_and_writes_its_page(tmp_path):
  command = [
    sys.executable,
    '-m',
    'experiments.run',
    '--config=configs/echo_chambers.py:smoke',
    f'--workdir={tmp_path}',
  ]
  done = subprocess.run(
    command, capture_output=True, text=True, cwd=ROOT, check=False
  )
  assert done.returncode == 0, done.stderr[-2000:]
  known = json.loads((tmp_path / 'results.json').read_text())['tables']
  assert {row['safeguard'] for row in known['hazard']} == {'none', 'matching'}
  for name in ('certificate', 'planted', 'rounds', 'strata'):
    assert known[name], name
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert 'Opinions, round by round' in page
