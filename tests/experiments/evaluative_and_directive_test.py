"""Verdicts and hints: methods, tables, page, and a run of a few steps."""

import pytest

from configs import evaluative_and_directive
from experiments.evaluative_and_directive import (
  experiment,
  methods,
  page,
  tables,
)
from prm_jax.lab import starts, study
from prm_jax.policy import tasks
from prm_jax.worlds import persona_replies

NODES = evaluative_and_directive.METHODS
TASK = tasks.Task(None, None, None, 8, ())


def run_of(method, seed, fit, node='combined_average'):
  figures = {
    'fit': fit,
    'fit_held_out': 0.0,
    'format': fit,
    'agrees_with_false': 0.3,
    'stance_flip_gap': 0.1,
    'flagged': 1.0,
  }
  start = {f'at {k}': 0.0 for k in figures}
  middle = {f'at {k}': 0.5 for k in figures}
  return {
    'arm': 'one',
    'method': method,
    'node': NODES[node],
    'seed': seed,
    'hint_rate': 0.4,
    'hint_error': 0.2,
    'start': {'follows_hints': 1.0},
    'curve': [
      {'step': 10, 'sampler_gap': 0.0, **start},
      {'step': 20, 'sampler_gap': 0.0, **middle},
    ],
    'final': figures,
  }


def test_fit_is_of_the_whole_curve_and_falls_are_seen():
  runs = [
    run_of(name, seed, fit, node)
    for name, fit, node in (
      ('evaluative', 0.0, 'evaluative'),
      ('directive', 0.2, 'directive_average'),
      ('both', 1, 'combined_average'),
    )
    for seed in range(3)
  ]
  table = {row['method']: row for row in tables.first_reply_fit(runs)}
  assert table['both']['mean_fit'] == pytest.approx(0.5)
  assert table['both']['baseline'] == 'directive'
  assert table['both']['gain'] == pytest.approx(0.5 - 0.7 / 3)
  assert 'gain' not in table['evaluative']
  assert table['directive']['fall'] == pytest.approx(-0.3)
  assert table['both']['fall'] == 0.0
  assert (table['both']['hint_rate'], table['both']['hint_error']) == (0.4, 0.2)
  (row, *_) = tables.audit(runs)
  assert row['agrees_with_false_added'] == pytest.approx(0.3)
  assert row['flagged_share'] == 1.0
  rows = tables.per_seed(runs)
  assert len(rows) == 9
  assert rows[-1]['mean_fit'] == pytest.approx(0.5)


def test_every_method_of_every_variant_is_a_learner():
  for variant in ('full', 'rates', 'smollm2'):
    config = evaluative_and_directive.get_config(variant)
    sizes = starts.decoder_of(config.policy, persona_replies.TOKENS)
    arms = [*config.arms.values()] or [config.words]
    nodes = [
      node
      for arm in arms
      for node in experiment.arm_methods(config, arm).values()
    ]
    assert nodes
    for node in nodes:
      learner = methods.learner(node, 10, task=TASK, replies=None, config=sizes)
      assert len(learner.phases) == 1


def test_an_arm_may_have_rates_of_its_own():
  full = evaluative_and_directive.get_config('full')
  one, many = (
    experiment.arm_methods(full, full.arms[arm]) for arm in ('one', 'many')
  )
  assert one['combined_average']['rate'] == 1e-3
  assert many['combined_average']['rate'] == 5e-4
  assert list(one) == list(full.arms.one.methods)
  rates = evaluative_and_directive.get_config('rates')
  searched = experiment.arm_methods(rates, rates.arms.many)
  assert len(searched) == 5 * len(many)
  assert searched['combined_average@0.002']['rate'] == 2e-3


def test_faults_of_nodes_are_named():
  sizes = starts.decoder_of(
    evaluative_and_directive.get_config('smoke').policy, persona_replies.TOKENS
  )
  node = NODES['directive_average']
  for more, match in (
    ({'kind': 'ppo'}, 'ppo'),
    ({'teacher': 'slow'}, "'slow'"),
    ({'baseline': 'best'}, "'best'"),
    ({'clipped': 2.0}, 'clipped'),
  ):
    with pytest.raises(ValueError, match=match):
      methods.learner(
        {**node, **more}, 10, task=TASK, replies=None, config=sizes
      )


def test_curves_are_drawn_by_arm():
  fit = {
    'arm': 'hints_10',
    'method': 'evaluative',
    'seeds': 2,
    'fit': 0.2,
    'fit_low': None,
    'fit_high': None,
  }
  rows = [{**fit, 'step': step} for step in (0, 10)]
  answer, section = page.sections({'tables': {'curves': rows}})
  assert not answer['pictures']  # there is nobody to compare with
  assert section['title'] == 'First replies that fit'
  (picture,) = section['pictures']
  assert picture.alt.startswith('fit (%) by updates; hints 10. evaluative 20')


@pytest.mark.slow
def test_smoke(tmp_path):
  config = evaluative_and_directive.get_config('smoke')
  made = study.run(experiment.STUDY, config, tmp_path)['tables']
  assert len(made['first_reply_fit']) == 4
  assert all(row['seeds'] == 2 for row in made['first_reply_fit'])
  assert max(row['sampler_gap_nats'] for row in made['per_seed']) < 1e-4
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000
