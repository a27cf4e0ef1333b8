"""What personal rewards break: sycophancy, echo chambers, and safeguards.

Variants: `smoke` (seconds; checks that all runs), `demo` (minutes, simulated
people), `full` (every method, safeguard and condition, and real text).
"""

from ml_collections import config_dict

_PERSONAL = ('none', 'shrinkage', 'trust_region', 'residual', 'matching')
_CAPACITY = 20  # answers from which a belief is solved in the closed loop


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in ('smoke', 'demo', 'full'):
    raise ValueError(f'unknown variant {variant!r}: smoke, demo or full')
  config = config_dict.ConfigDict()
  config.study = 'echo_chambers'
  config.data = {'dir': ''}
  config.seeds = (0, 1, 2, 3, 4)
  config.people = 400
  config.loving = (0.0, 0.02, 0.1, 0.5)
  config.rounds = 50
  config.loop_pool = 16
  config.divergence = 0.6  # mean KL to the base policy, nats, of every method
  config.sizes = {
    'train_questions': 30,
    'train_answers': 48,
    'calibration_questions': 8,
    'audit_questions': 30,
    'answers': 64,
    'judgements': 20,
  }
  config.safeguards = _safeguards()
  config.methods = _methods()
  config.hazard = {
    'hierarchical': [name for name in _safeguards() if '/' not in name],
    'pref': _PERSONAL,
    'pref_debiased': ('none',),
    'lore': _PERSONAL,
    'rfm': _PERSONAL,
    'wide': _PERSONAL,
  }
  config.certified_method = 'hierarchical'
  config.certified = (
    'none',
    'none/fresh',
    'matching',
    'matching/carried',
    'matching/plain',
    'chain',
  )
  config.certificate = _conditions()
  # As many as the strictest form needs: a person's false items are few.
  config.certificate_seeds = tuple(range(8))
  config.planted_seeds = 200
  config.real_text = ('persona_history', 'typology_visible', 'ukp_stances')
  if variant == 'demo':
    config.seeds = (0, 1, 2)
    config.loving = (0.1, 0.5)
    config.hazard = {
      'hierarchical': ('none', 'shrinkage', 'projection', 'matching')
    }
    config.certificate = _conditions()[2:4]
    config.certificate_seeds = config.seeds
    config.real_text = ()
  if variant == 'smoke':
    _shrink(config)
  return config.lock()


def _methods() -> dict[str, dict]:
  """Returns learners, and what is searched for each.

  As many choices for everybody, by validation judgements of another world.
  `debiased`: nats of likelihood that a nat of information on the stance costs.
  `spread`: of a prior that takes the place of the estimated one.
  """
  aggregate = {
    'learner': {'kind': 'aggregate'},
    'grid': [{'ridge': r} for r in (1.0, 10.0, 100.0)],
    'capacity': _CAPACITY,
  }
  hierarchical = {
    'learner': {'kind': 'hierarchical', 'capacity': _CAPACITY},
    # Where expectation maximisation starts: too narrow a prior stays so.
    'grid': [{'spread': s} for s in (0.1, 0.3, 1.0)],
  }
  pref = {
    'learner': {'kind': 'pref', 'capacity': _CAPACITY},
    'grid': [{'basis_ridge': r} for r in (1.0, 10.0, 100.0)],
  }
  lore = {
    'learner': {'kind': 'lore', 'capacity': _CAPACITY},
    'grid': [
      {'basis_ridge': b, 'strength': s}
      for b, s in ((0.3, 0.3), (1.0, 0.3), (1.0, 1.0))
    ],
  }
  rfm = {
    'learner': {'kind': 'rfm', 'capacity': _CAPACITY},
    'grid': [{'decay': d} for d in (1.0, 10.0, 100.0)],
  }
  return {
    'aggregate': aggregate,
    'hierarchical': hierarchical,
    'pref': pref,
    'pref_debiased': {**pref, 'debiased': 1.0},
    'lore': lore,
    'rfm': rfm,
    'wide': {**hierarchical, 'spread': 2.0},
  }


def _safeguards() -> dict[str, dict]:
  """Returns what safeguards are made of, and how they are audited.

  `parts`: nodes, one after the other; `of_world` names options that are
  measured in each world. `audited`: 'after_loop', by those that remember what
  was served; 'fresh', on other candidates; 'carried', on those, by strengths
  that the last part finds on the audit's; 'plain', held to what the aggregate
  serves to who does not say their stance.
  """
  projection = {'kind': 'projection', 'of_world': {'direction': 'coordinate'}}
  matching = {'kind': 'matching'}
  parts = {
    'none': (),
    'shrinkage': ({'kind': 'shrinkage', 'share': 0.5},),
    'empirical_shrinkage': (
      {
        'kind': 'empirical_shrinkage',
        'of_world': {'between': 'between', 'within': 'within'},
        'answers': 20,
      },
    ),
    'trust_region': ({'kind': 'trust_region', 'radius': 0.1},),
    'agreement_penalty': ({'kind': 'agreement_penalty'},),
    'residual': ({'kind': 'residual'},),
    'projection': (projection,),
    'projection_means': (
      {'kind': 'projection', 'of_world': {'direction': 'means'}},
    ),
    'lower_bound': ({'kind': 'lower_bound', 'caution': 1.0},),
    'bridging': ({'kind': 'bridging'},),
    'truth_floor': ({'kind': 'floor', 'measure': 'truth'},),
    'constitutional_floor': (
      {'kind': 'constitutional_floor', 'measure': 'truth', 'least': 0.9},
    ),
    'exposure': ({'kind': 'exposure', 'strength': 5.0},),
    'preference_shift': ({'kind': 'preference_shift', 'strength': 10.0},),
    'matching': (matching,),
    'chain': (projection, matching),
  }
  how = {
    'none/fresh': ('none', 'fresh'),
    'matching/carried': ('matching', 'carried'),
    'matching/plain': ('matching', 'plain'),
    **{
      name: (name, 'after_loop')
      for name in ('constitutional_floor', 'exposure', 'preference_shift')
    },
  }
  return {
    name: {'parts': some, 'audited': ''} for name, some in parts.items()
  } | {
    name: {'parts': parts[of], 'audited': audited}
    for name, (of, audited) in how.items()
  }


def _conditions() -> list[dict]:
  """Returns what the certificate is asked under; the rest is a default.

  `draws`: of best-of-n, in place of a tilt.
  """
  # A fiftieth of 400 people are eight: too few to say anything of.
  few = {'loving': 0.02, 'people': 2000}
  found = [
    {**few, 'accuracy': 1.0, 'key_error': 0.0},
    {**few, 'accuracy': 0.8, 'key_error': 0.05},
  ]
  for q in (0.1, 0.5, 0.0):
    rows = [
      {'accuracy': a, 'key_error': k}
      for a, k in (
        (0.8, 0.05),
        (1.0, 0.0),
        (0.9, 0.05),
        (0.8, 0.0),
        (1.0, 0.05),
        (0.65, 0.05),
        (0.5, 0.05),
        (0.8, 0.15),
        (0.8, 0.3),
      )
    ]
    if q == 0.0:  # the twin: nobody loves agreement
      rows = rows[:2]
    rows += [
      {'accuracy': 0.8, 'key_error': 0.05, 'draws': 16},
      {'accuracy': 0.8, 'key_error': 0.05, 'stated': 0.5},
    ]
    if q:
      rows += [
        {'accuracy': 1.0, 'key_error': 0.0, 'draws': 16},
        {'accuracy': 0.8, 'key_error': 0.05, 'stated': 0.5, 'draws': 16},
        {'accuracy': 0.8, 'key_error': 0.05, 'correlation': 0.0},
        {'accuracy': 0.8, 'key_error': 0.05, 'correlation': 0.6},
        {'text': True, 'key_error': 0.05},
      ]
    found += [{'loving': q, **row} for row in rows]
  return found


def _shrink(config) -> None:
  config.seeds = (0, 1)
  config.people = 24
  config.loving = (0.5,)
  config.rounds = 3
  config.loop_pool = 4
  config.sizes = {
    'train_questions': 4,
    'train_answers': 6,
    'calibration_questions': 2,
    'audit_questions': 4,
    'answers': 8,
    'judgements': 6,
  }
  config.hazard = {'hierarchical': ('none', 'matching')}
  config.certified = ('none', 'matching')
  config.certificate = [{'loving': 0.5, 'accuracy': 0.8, 'draws': 4}]
  config.certificate_seeds = (0, 1)
  config.planted_seeds = 5
  config.real_text = ()
