"""Does an answer picked for one person please them more? The configurations.

--config=configs/choose_for_a_person.py:full   three seeds

Needs the real data (alpaca_eval).
"""

from ml_collections import config_dict

from configs import personalized_vs_aggregate as main_study

VARIANTS = ('smoke', 'full')


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the configuration of a variant, as plain data."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  smoke = variant == 'smoke'
  config = main_study.world(variant)
  config.study = 'choose_for_a_person'
  config.variant = variant
  config.seeds = (0,) if smoke else (0, 1, 2)
  config.answers = (0, 5) if smoke else (0, 5, 10, 20, 50)
  config.acquisitions = ('random', 'variance', 'information_gain')
  config.bootstrap = 1000
  config.data.names = ('alpaca_eval',)
  config.alpaca_eval = main_study.alpaca_eval()
  config.alpaca_eval.update(
    {'people': 60, 'answers': 60, 'prompt_parts': 60}
    if smoke
    else {'people': 600, 'answers': 200}
  )
  config.pool = 1000
  config.test_pairs = 400
  config.search_people = 100
  config.methods = {
    'aggregate': {'kind': 'aggregate'},
    'pref': {'kind': 'pref', 'steps': 20 if smoke else 200},
  }
  grid = main_study.grid
  config.search = {
    'levels': {
      'aggregate': grid(('levels',), ridge=(1.0, 10.0)),
      'pref': grid(('levels',), dim=(9,), basis_ridge=(0.3, 3.0)),
    },
    'text': {
      'aggregate': grid(('sentences',), ridge=(30.0, 300.0)),
      'pref': grid(('sentences',), dim=(9,), basis_ridge=(30.0, 300.0)),
    },
  }
  return config.lock()
