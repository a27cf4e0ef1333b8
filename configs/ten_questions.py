"""How many answers does a person have to give? The configurations.

--config=configs/ten_questions.py:smoke   seconds
--config=configs/ten_questions.py:demo    simulated people, known coefficients
--config=configs/ten_questions.py:full    texts and jokes as well
"""

from ml_collections import config_dict

from configs import personalized_vs_aggregate as main_study

VARIANTS = ('smoke', 'demo', 'full')
_GAUSSIAN = ('gaussian', 'gaussian_equal_size', 'gaussian_noisy')


def get_config(variant: str = 'demo') -> config_dict.ConfigDict:
  """Returns the configuration of a variant, as plain data."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  smoke = variant == 'smoke'
  config = main_study.world(variant)
  config.study = 'ten_questions'
  config.variant = variant
  config.seeds = (0, 1) if smoke else (0, 1, 2, 3, 4)
  config.real_seeds = 1 if smoke else 3  # of data with trained rewards
  config.questions = 12 if smoke else 100
  config.answers = (0, 1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100)
  config.targets = (0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
  config.acquisitions = (
    'random',
    'variance',
    'ellipsoid',
    'information_gain',
    'profile',
  )
  # Pep's questions: how many, and of how many pairs they want the answers.
  config.profile = {'questions': 10, 'pairs': 100}
  config.bootstrap = 1000
  real = ('attributes_gaussian', 'jester') if variant == 'full' else ()
  config.data.names = ('gaussian', 'attributes_gaussian')
  if not smoke:
    config.data.names = _GAUSSIAN + real
  # Coefficients N(0, I); a candidate's differences are N(0, scale^2 I), times
  # a size that is log-normal with this spread.
  config.gaussian = {
    name: {
      'dim': 6,
      'people': 40 if smoke else 400,
      'candidates': 400,
      'scale': scale,
      'spread': spread,
      'test_pairs': 500,
      'menus': 20,
      'menu_size': 16,
    }
    for name, scale, spread in zip(
      _GAUSSIAN, (2.0, 2.0, 1.0), (0.5, 0.0, 0.5), strict=True
    )
  }
  config.pool = 400  # questions of trained rewards; jester has all 4,950
  config.test_pairs = 400
  config.search_people = 100
  steps = 20 if smoke else 200
  config.methods = {
    'aggregate': {'kind': 'aggregate'},
    'pref': {'kind': 'pref', 'steps': steps},
    'rfm': {'kind': 'rfm', 'steps': steps},
    'pep': {'kind': 'pep'},
  }
  grid = main_study.grid
  config.search = {
    'attributes': {
      'aggregate': grid(('sentences',), ridge=(10.0, 100.0)),
      'pref': grid(('sentences',), dim=(8,), basis_ridge=(100.0, 300.0)),
      'rfm': grid(('sentences',), decay=(100.0, 300.0)),
      'pep': grid(('sentences',), dim=(8,), basis_ridge=(100.0, 300.0)),
    },
    'jester': {
      'aggregate': grid(('identity',), ridge=(1.0, 10.0)),
      'pref': grid(('identity',), dim=(5,), basis_ridge=(1.0, 10.0)),
      'rfm': grid(('identity',), decay=(1.0, 10.0)),
      'pep': grid(('identity',), dim=(5,), basis_ridge=(1.0, 10.0)),
    },
  }
  return config.lock()
