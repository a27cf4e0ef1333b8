"""What personal rewards break: sycophancy, echo chambers, and safeguards.

Variants: `smoke` (seconds; checks that all runs), `demo` (minutes, simulated
people), `full` (every method, safeguard and condition, and real text).
"""

from ml_collections import config_dict

_PERSONAL = ('none', 'shrinkage', 'trust_region', 'residual', 'matching')
_ALL = (
  'none',
  'shrinkage',
  'empirical_shrinkage',
  'trust_region',
  'agreement_penalty',
  'residual',
  'projection',
  'projection_means',
  'lower_bound',
  'bridging',
  'truth_floor',
  'constitutional_floor',
  'exposure',
  'preference_shift',
  'matching',
  'chain',
)


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
  config.safeguards = {
    'share': 0.5,
    'radius': 0.1,
    'caution': 1.0,
    'least': 0.9,
    'exposure': 5.0,
    'shift': 10.0,
    'judgements': 20,
  }
  config.methods, config.grids = _methods()
  config.hazard = {
    'hierarchical': _ALL,
    'pref': _PERSONAL,
    'pref_debiased': ('none',),
    'lore': _PERSONAL,
    'rfm': _PERSONAL,
    'wide': _PERSONAL,
  }
  config.certified_method = 'hierarchical'
  # '/fresh': other candidates; '/carried': strengths from the audit's, applied
  # to those; '/plain': held to what the aggregate serves to who does not say
  # their stance.
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
  config.real_text = True
  if variant == 'demo':
    config.seeds = (0, 1, 2)
    config.loving = (0.1, 0.5)
    config.hazard = {
      'hierarchical': ('none', 'shrinkage', 'projection', 'matching')
    }
    config.certificate = _conditions()[2:4]
    config.certificate_seeds = config.seeds
    config.real_text = False
  if variant == 'smoke':
    _shrink(config)
  return config.lock()


def _methods() -> tuple[dict, dict]:
  """Returns learners, and what is searched for each.

  As many choices for everybody, by validation judgements of another world.
  """
  methods = {
    'aggregate': {'kind': 'aggregate'},
    'hierarchical': {'kind': 'hierarchical'},
    'pref': {'kind': 'pref'},
    'pref_debiased': {'kind': 'pref', 'information': 1.0},
    'lore': {'kind': 'lore'},
    'rfm': {'kind': 'rfm'},
  }
  grids = {
    'aggregate': [{'ridge': r} for r in (1.0, 10.0, 100.0)],
    # Where expectation maximisation starts: too narrow a prior stays so.
    'hierarchical': [{'spread': s} for s in (0.1, 0.3, 1.0)],
    'pref': [{'basis_ridge': r} for r in (1.0, 10.0, 100.0)],
    'pref_debiased': [{'basis_ridge': r} for r in (1.0, 10.0, 100.0)],
    'lore': [
      {'basis_ridge': b, 'strength': s}
      for b, s in ((0.3, 0.3), (1.0, 0.3), (1.0, 1.0))
    ],
    'rfm': [{'decay': d} for d in (1.0, 10.0, 100.0)],
  }
  return methods, grids


def _conditions() -> list[dict]:
  """Returns what the certificate is asked under; the rest is a default."""
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
      {'accuracy': 0.8, 'key_error': 0.05, 'serve': 'best_of_16'},
      {'accuracy': 0.8, 'key_error': 0.05, 'stated': 0.5},
    ]
    if q:
      rows += [
        {'accuracy': 1.0, 'key_error': 0.0, 'serve': 'best_of_16'},
        {
          'accuracy': 0.8, 'key_error': 0.05, 'stated': 0.5,
          'serve': 'best_of_16',
        },
        {'accuracy': 0.8, 'key_error': 0.05, 'correlation': 0.0},
        {'accuracy': 0.8, 'key_error': 0.05, 'correlation': 0.6},
        {'text': True, 'key_error': 0.05},
      ]  # fmt: skip
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
  config.certificate = [{'loving': 0.5, 'accuracy': 0.8, 'serve': 'best_of_4'}]
  config.certificate_seeds = (0, 1)
  config.planted_seeds = 5
  config.real_text = False
