"""The recipe of CONTRIBUTING.md: own files, one entry each, and no list.

A personaliser and a safeguard are written into a package of their own; the
contract, the main study's smoke and its page find them by their entries.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PERSONALISER = '''
"""Personal weights on the features, under a wide fixed prior."""

from prm_jax.systems import base_rewards, states
from prm_jax import types
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.users import gaussian


def wide(*, ridge: float = 10.0, spread: float = 0.5):
  system = types.System(factorized.identity(), gaussian.gaussian())

  def begin(state, data):
    features = data.features(state.params['reward'])
    weight = base_rewards.aggregate_weight(
      features, data.judgements, data.index, state.hyper['ridge']
    )
    prior = bayes.isotropic_prior(weight, state.hyper['spread'])
    return states.with_user(state, prior)

  def init(key, spec):
    hyper = {'ridge': ridge, 'spread': spread}
    return states.new_state(system, key, spec, hyper=hyper)

  return types.Learner((types.Phase('start', begin=begin),), init, system)
'''
SAFEGUARD = '''
"""Rewards halfway to the population's."""

from prm_jax.safeguards import reward_level


def halfway():
  return reward_level.shrinkage(share=0.5)._replace(name='halfway')
'''
# What a contributor adds to the registry, done before anything reads it.
ENTRIES = """
import functools
import sys

from prm_jax import registry, toys
from recipe import halfway, wide

registry.LEARNERS['wide'] = registry.Entry(
  wide.wide, 'personal', {'ridge': (), 'spread': (0.1, 1.0)},
  toys.judgements, registry.Needs(people=2, answers=3)
)
registry.SAFEGUARDS['halfway'] = registry.Entry(halfway.halfway)
"""
CONFIG = """
from configs import personalized_vs_aggregate as study


def get_config(variant='smoke'):
  config = study.get_config(variant).unlock()
  config.data.names = ('attributes_gaussian',)
  methods = config.methods.to_dict()
  config.methods = {
    'aggregate': methods['aggregate'], 'wide': {'kind': 'wide'}
  }
  for name in ('search', 'levels'):
    grids = config.attributes[name].to_dict()
    plain = grids['aggregate']
    config.attributes[name] = {
      'people': grids['people'], 'aggregate': plain,
      'wide': [{**choice, 'spread': 0.5} for choice in plain],
    }
  return config.lock()
"""
CHECK = """
import pytest

raise SystemExit(pytest.main([
  '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', 'tests/contract',
  '-k', '(wide or halfway) and not recipe',
]))
"""


@pytest.fixture(scope='module')
def package(tmp_path_factory):
  folder = tmp_path_factory.mktemp('recipe')
  inside = folder / 'recipe'
  inside.mkdir()
  (inside / '__init__.py').write_text('')
  (inside / 'wide.py').write_text(PERSONALISER)
  (inside / 'halfway.py').write_text(SAFEGUARD)
  (folder / 'wide_config.py').write_text(CONFIG)
  (folder / 'check.py').write_text(ENTRIES + CHECK)
  (folder / 'study.py').write_text(
    ENTRIES + 'import runpy\nrunpy.run_module('
    "'experiments.run', run_name='__main__', alter_sys=True)\n"
  )
  return folder


def run(folder, script, *arguments):
  done = subprocess.run(
    [sys.executable, str(folder / script), *arguments],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': os.pathsep.join([str(folder), str(ROOT)])},
  )
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
  return done.stdout


@pytest.mark.slow
def test_the_contract_finds_them(package):
  assert ' passed' in run(package, 'check.py')


@pytest.mark.slow
def test_the_main_study_and_its_page_know_that_it_is_personal(package):
  workdir = package / 'run'
  run(
    package,
    'study.py',
    f'--config={package / "wide_config.py"}',
    f'--workdir={workdir}',
  )
  tables = json.loads((workdir / 'results.json').read_text())['tables']
  accuracy = {
    row['answers']: row['accuracy']
    for row in tables['accuracy']
    if (row['method'], row['split'], row['features'])
    == ('wide', 'new_people', 'levels')
  }
  # Without its answers a new person is scored as the population is.
  assert accuracy[20] > accuracy[0] + 0.05
  controls = {r['control'] for r in tables['controls'] if r['method'] == 'wide'}
  assert {'swapped_people', 'population_coefficients'} <= controls
  assert any(row['method'] == 'wide' for row in tables['person_gain'])
  assert 'wide' in (workdir / 'report' / 'index.html').read_text()
