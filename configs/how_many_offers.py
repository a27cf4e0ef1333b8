"""How many answers must be offered? The configurations.

--config=configs/how_many_offers.py:smoke   seconds
--config=configs/how_many_offers.py:full    200 readers of texts as well
"""

from ml_collections import config_dict

from configs import personalized_vs_aggregate as main_study

VARIANTS = ('smoke', 'full')


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the configuration of a variant, as plain data."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  smoke = variant == 'smoke'
  config = main_study.world('smoke' if smoke else 'demo')
  config.study = 'how_many_offers'
  config.variant = variant
  config.seeds = (0, 1) if smoke else (0, 1, 2)
  config.data.names = ('gaussian',)
  if not smoke:
    config.data.names += ('attributes_gaussian',)
  config.answers = (0, 5) if smoke else (0, 5, 10, 20, 50)
  config.offered = (1, 2, 3, 5)
  config.acquisitions = ('random', 'variance')
  config.bootstrap = 1000
  # People of known coefficients: see configs/ten_questions.py.
  config.gaussian = {
    'gaussian': {
      'dim': 6,
      'people': 20 if smoke else 400,
      'candidates': 400,
      'scale': 2.0,
      'spread': 0.5,
      'test_pairs': 1,
      'menus': 20,
      'menu_size': 12,
    }
  }
  config.pool = 400
  config.test_pairs = 400
  config.search_people = 100
  config.methods = {
    'aggregate': {'kind': 'aggregate'},
    'pref': {'kind': 'pref', 'steps': 200},
  }
  grid = main_study.grid
  config.search = {
    'attributes': {
      'aggregate': grid(('sentences',), ridge=(10.0, 100.0)),
      'pref': grid(('sentences',), dim=(8,), basis_ridge=(100.0, 300.0)),
    }
  }
  return config.lock()
