"""Which head for which data? The configurations.

--config=configs/reward_heads.py:smoke   seconds; known truth alone
--config=configs/reward_heads.py:full    known truth, and what real people say
"""

from ml_collections import config_dict

from configs import personalized_vs_aggregate as main_study

VARIANTS = ('smoke', 'full')
_SMOKE = ('hierarchical', 'laplace')  # of the methods with intervals
HEADS = {
  'all_pairs': {'kind': 'all_pairs'},
  'best_of_n': {'kind': 'best_of_n'},
  'bins': {'kind': 'bins'},
  'bradley_terry': {'kind': 'bradley_terry'},  # ties and strengths as labels
  'classifier': {'kind': 'classifier'},
  'conservative': {'kind': 'conservative', 'flip': 0.3},
  'cumulative': {'kind': 'cumulative'},
  'cumulative_own': {'kind': 'cumulative', 'personal': True},
  'davidson': {'kind': 'davidson'},
  'disentangled': {'kind': 'disentangled'},
  'evidential': {'kind': 'evidential'},
  'hinge': {'kind': 'hinge'},
  'huber': {'kind': 'regression', 'huber': 1.0},
  'listnet': {'kind': 'listnet'},
  'mean_variance': {'kind': 'mean_variance'},
  'noise_own': {'kind': 'bradley_terry', 'personal': True, 'spread': 1.0},
  'plackett_luce': {'kind': 'plackett_luce'},
  'quantiles': {'kind': 'quantiles'},
  'rao_kupper': {'kind': 'rao_kupper'},
  'rao_kupper_own': {'kind': 'rao_kupper', 'personal': True},
  'regression': {'kind': 'regression'},
  'robust': {'kind': 'robust', 'flip': 0.3},
  'squared': {'kind': 'squared'},
  'strength_margin': {'kind': 'strength_margin'},
  'strength_weight': {'kind': 'strength_weight'},
  'thurstone': {'kind': 'thurstone'},
  'thurstone_equal': {'kind': 'thurstone', 'predicted': False},
}
_CHOICES = ('conservative', 'robust', 'hinge', 'squared', 'classifier')
_TIES = ('bradley_terry', 'rao_kupper', 'davidson', 'rao_kupper_own')
_LEVELS = (
  'bradley_terry',
  'strength_margin',
  'strength_weight',
  'cumulative',
  'cumulative_own',
)
_LISTS = ('plackett_luce', 'best_of_n', 'listnet', 'all_pairs')
_RATED = (
  'regression',
  'huber',
  'bins',
  'quantiles',
  'mean_variance',
  'evidential',
)


def _world(kind, made_for, heads, **options):
  return {'kind': kind, 'made_for': made_for, 'heads': heads, **options}


WORLDS = {
  'choices': _world('choices', ('plain',), _CHOICES),
  'flipped_labels': _world(
    'choices', ('robust', 'conservative'), _CHOICES, flipped=0.3
  ),
  'careless_people': _world(
    'choices',
    ('noise_own',),
    ('noise_own', 'conservative'),
    careless=1.5,
    rows=1600,
  ),
  'unclear_texts': _world(
    'uneven', ('thurstone',), ('thurstone', 'thurstone_equal'), rows=1600
  ),
  'ties': _world('ties', ('rao_kupper',), _TIES, width=2.0),
  'ties_by_person': _world(
    'ties', ('rao_kupper_own',), _TIES, width=2.0, spread=1.0
  ),
  'strengths': _world('levels', ('cumulative',), _LEVELS),
  'strengths_by_person': _world(
    'levels', ('cumulative_own',), _LEVELS, spread=0.7, rows=1600
  ),
  'rankings': _world('rankings', ('plackett_luce',), _LISTS),
  'best_of_five': _world('rankings', ('best_of_n',), _LISTS, top=1),
  # Length says nothing of quality, as disentangling assumes; and does.
  'liked_for_length': _world(
    'choices',
    ('disentangled',),
    ('disentangled',),
    length_weight=1.5,
    shared=0.0,
  ),
  'length_tells': _world('choices', (), ('disentangled',), length_weight=1.5),
  'ratings': _world('ratings', ('regression',), _RATED),
  'ratings_outliers': _world('ratings', ('huber',), _RATED, outliers=0.1),
  'ratings_heavy': _world(
    'ratings', ('quantiles', 'evidential'), _RATED, freedom=2.0
  ),
  'ratings_unclear': _world(
    'ratings', ('mean_variance',), _RATED, uneven_noise=1.0
  ),
}


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  smoke = variant == 'smoke'
  config = config_dict.ConfigDict()
  config.study = 'reward_heads'
  config.variant = variant
  config.seeds = (0, 1) if smoke else (0, 1, 2, 3, 4)
  config.heads = HEADS
  config.worlds = (
    {name: WORLDS[name] for name in ('ties', 'rankings')} if smoke else WORLDS
  )
  config.sizes = {
    'texts': 400,
    'held_out': 1000,
    'dim': 16,
    'rows': 120 if smoke else 400,
    'people': 40,
    'validation': 0.25,
    'ridges': (1.0,) if smoke else (0.3, 1.0, 3.0, 10.0),
    'steps': 20 if smoke else 300,
  }
  config.data = {'dir': ''}
  # Where ties of ratings are: as many units of the scale apart at most.
  config.real = {
    'components': 32,
    'heads': {
      name: HEADS[name] for name in ('rao_kupper', 'davidson', 'rao_kupper_own')
    },
    'sets': {}
    if smoke
    else {
      'llmfao': {'loaded': 'llmfao', 'form': 'judgements', 'options': {}},
      'ukp_convarg': {
        'loaded': 'ukp_convarg',
        'form': 'judgements',
        'options': {},
      },
      'jester': {
        'loaded': 'jester',
        'form': 'ratings',
        'options': {},
        'features': 'known_texts',
        'people': 1000,
        'per_person': 25,
        'tie': 0.5,
      },
      # Equal labels are ties: which turn is less abusive, which text offends.
      'lewidi_convabuse': {
        'loaded': 'lewidi',
        'form': 'ratings',
        'options': {'subset': 'convabuse'},
        'per_person': 300,
        'tie': 0.0,
      },
      'lewidi_md_agreement': {
        'loaded': 'lewidi',
        'form': 'ratings',
        'options': {'subset': 'md_agreement'},
        'per_person': 30,
        'tie': 0.0,
      },
    },
  }
  config.coverage = coverage(smoke)
  return config


def coverage(smoke: bool) -> config_dict.ConfigDict:
  """Returns what is asked of intervals about held-out people."""
  world = main_study.world('smoke' if smoke else 'full')
  with world.unlocked():
    world.attributes.people = 12 if smoke else 150
    world.attributes.answers = 60 if smoke else 150
    world.attributes.features = {
      'sentences': main_study.text_features(
        (3, 5, 6), 64, unit='sentence', whiten=False
      )
    }
  grid, text = main_study.grid, ('sentences',)
  steps, tried = (5, 1) if smoke else (200, 3)
  node = config_dict.ConfigDict()
  node.world = world
  node.seeds = (0,) if smoke else (0, 1, 2)
  node.features = ('levels',) if smoke else ('levels', 'text')
  node.levels = (0.5, 0.8, 0.9, 0.95)  # that intervals are to cover
  node.answers = (10,) if smoke else (10, 50)  # of a person, that are known
  node.asked = 60  # of a person, by topics
  node.people_searched = 60
  node.methods = {
    'hierarchical': {'kind': 'hierarchical'},
    'pref': {'kind': 'pref', 'steps': steps},
    'laplace': {'kind': 'laplace'},
    'ensemble': {
      'kind': 'ensemble',
      'members': 10,
      'hidden': (8,),
      'bootstrap': True,
      'learning_rate': 0.02,
      'steps': steps,
    },
  }
  if smoke:
    node.methods = {name: node.methods[name] for name in _SMOKE}
  node.choices = {
    'levels': {
      'hierarchical': grid(('levels',), spread=(0.1, 0.3, 1.0)[:tried]),
      'pref': grid(('levels',), dim=(8,), basis_ridge=(0.3, 3.0, 30.0)),
      'laplace': grid(('levels',), ridge=(1.0, 10.0, 100.0)[:tried]),
      'ensemble': grid(('levels',), ridge=(3.0, 30.0, 300.0)),
    },
    'text': {
      'hierarchical': grid(text, spread=(0.1, 0.3, 1.0)),
      'pref': grid(text, dim=(8,), basis_ridge=(10.0, 30.0, 300.0)),
      'laplace': grid(text, ridge=(1.0, 10.0, 100.0)),
      'ensemble': grid(text, ridge=(3.0, 30.0, 300.0)),
    },
  }
  node.jester = {
    'seeds': () if smoke else (0, 1, 2),
    'people': 800,  # who train
    'tested': 400,  # held out; as many more calibrate
    'known': 20,  # ratings of a held-out person
    'own': (5, 10),  # of which a person's own threshold is made
    'levels': (0.8, 0.9),
    'dim': 6,
    'ridges': (1.0, 10.0, 100.0),
    'steps': 300,
  }
  return node
