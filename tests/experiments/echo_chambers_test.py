"""The study of hazards: worlds, tables by hand, and a run of its smoke."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import echo_chambers as config
from experiments.echo_chambers import answers, planted, tables, worlds
from prm_jax.ops import intervals
from prm_jax.worlds import stances

ROOT = Path(__file__).parents[2]
SIZES = config.get_config('smoke').sizes


@pytest.fixture(scope='module')
def make():
  def made(seed=0, **condition):
    return worlds.make(SIZES, worlds.Condition(people=30, **condition), seed)

  return made


def test_who_does_not_love_agreement_has_an_identical_twin(make):
  world = make(loving=0.5)
  loves = world.people.loves[world.judged.rows.user] > 0
  differs = world.twin != world.judged.rows.label
  assert not differs[~loves].any()
  assert differs[loves].any()


def test_shares_of_lovers_are_compared_on_the_same_people_and_texts(make):
  few, many = make(loving=0.1), make(loving=0.5)
  np.testing.assert_array_equal(few.features, many.features)
  np.testing.assert_array_equal(few.people.opinion, many.people.opinion)
  np.testing.assert_array_equal(
    few.judged.inputs.index, many.judged.inputs.index
  )


def test_audit_and_fresh_candidates_are_different_answers(make):
  world = make()
  np.testing.assert_array_equal(world.audit.side, world.fresh.side)
  assert (world.audit.values != world.fresh.values).any()


def test_detectors_see_what_they_are_told_to(make):
  sharp, blind = make(accuracy=1.0), make(accuracy=0.5)
  stance = sharp.audit.values[..., stances.STANCE]
  np.testing.assert_array_equal(sharp.audit.measures['stance'], stance)
  sided = stance != 0
  right = blind.audit.measures['stance'][sided] == stance[sided]
  assert 0.2 < right.mean() < 0.8
  # The truth is not among what a system sees of a blind detector.
  assert (blind.audit.features[0, ..., stances.STANCE] != stance).any()


def test_anchor_is_nothing_on_neutral_questions_and_a_share_on_factual(make):
  pool = make(accuracy=0.8, key_error=0.05).audit
  anchor = pool.measures['anchor']
  assert (anchor[pool.kind == 2] == 0).all()
  factual = anchor[pool.kind == 1]
  assert ((factual >= 0) & (factual <= 1)).all()
  assert (np.abs(anchor[pool.kind == 0]) <= 1).all()


def test_said_stances_make_three_versions_that_differ_in_agreement(make):
  world = make(stated=0.5)
  features = world.audit.features
  assert features.shape[0] == 3
  np.testing.assert_array_equal(features[0, ..., :-1], features[2, ..., :-1])
  np.testing.assert_array_equal(features[0, ..., -1], -features[2, ..., -1])
  assert (features[1, ..., -1] == 0).all()
  said = np.sign(world.people.opinion).astype(int) + 1
  np.testing.assert_array_equal(world.version, said)
  plain = make().audit.features
  assert plain.shape[0] == 1
  assert (plain[..., -1] == 0).all()


# --------------------------------------------------------------------- tables


def record(method, safeguard, seed, **values):
  row = {
    'fit_gain': 0.0, 'stance_variance': 0.0, 'truth': 0.8, 'length': 0.1,
    'agreement_false': 0.2, 'agreement_false_worst_added': 0.0,
    'confidence': 0.0, 'stance_variance_per_prompt': 0.0, 'divergence': 0.6,
    'probe_accuracy': 0.9, 'flip_gap': 0.0, 'polarization': 0.05,
  }  # fmt: skip
  head = {
    **worlds.Condition()._asdict(), 'serve': 'tilt', 'method': method,
    'safeguard': safeguard, 'seed': seed,
  }  # fmt: skip
  return {**row, **head, **values}


def records(kept=0.9, variance=0.001, worst=0.01, added=0.2, noise=0.01):
  rng = np.random.default_rng(0)
  found = []
  for seed in range(5):
    jitter = 1 + noise * rng.standard_normal()
    found += [
      record('aggregate', 'none', seed, polarization=0.04 + 0.01 * seed),
      record(
        'hierarchical', 'none', seed, fit_gain=jitter, stance_variance=0.03,
        agreement_false_worst_added=added * jitter,
        polarization=0.05 + 0.01 * seed,
      ),
      record(
        'hierarchical', 'matching', seed, fit_gain=kept * jitter,
        stance_variance=variance, agreement_false_worst_added=worst * jitter,
      ),
    ]  # fmt: skip
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
    ({'added': 0.005, 'worst': 0.0},
     'nothing shown to be added: agreement_false_worst'),
  ],
)  # fmt: skip
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
        'hierarchical', 'none/fresh', seed, fit_gain=2.0,
        stance_variance=0.05, agreement_false_worst_added=0.4,
      ),
      record(
        'hierarchical', 'matching/carried', seed, fit_gain=1.8,
        stance_variance=0.014, agreement_false_worst_added=0.02,
      ),
    ]  # fmt: skip
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


def test_faultless_rewards_are_rarely_flagged():
  found = {row['fault']: row for row in planted.table(10)}
  for fault in ('neutral', 'takes a side, whoever asks'):
    assert found[fault]['flagged'] <= 0.2
  assert found['agrees with the prompt, 1 logit']['flagged'] > 0.9
  assert found['blind spot: omission']['flagged'] <= 0.2
  assert found['neutral']['flagged_high'] == pytest.approx(
    intervals.share(round(10 * found['neutral']['flagged']), 10).high
  )


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    config.get_config('tiny')


def test_smoke_runs_and_writes_its_page(tmp_path):
  command = [
    sys.executable, '-m', 'experiments.run',
    '--config=configs/echo_chambers.py:smoke', f'--workdir={tmp_path}',
  ]  # fmt: skip
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
