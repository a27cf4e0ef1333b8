"""What does selection by a learned reward find? The configurations.

--config=configs/overoptimization.py:smoke   seconds
--config=configs/overoptimization.py:full    minutes
"""

from ml_collections import config_dict

VARIANTS = ('smoke', 'full')


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  smoke = variant == 'smoke'
  config = config_dict.ConfigDict()
  config.study = 'overoptimization'
  config.variant = variant
  config.seeds = (0, 1) if smoke else tuple(range(10))
  config.dim = 16
  config.gold = {'edge': 1.6, 'depth': 6.0, 'logits': 6.0}
  config.pairs = 100 if smoke else 1000
  config.flipped = 0.25
  config.prompts = 4 if smoke else 200
  config.answers = 64 if smoke else 2048
  config.counts = (1, 4, 16) if smoke else (1, 4, 16, 64, 256, 1024)
  config.ensemble = {
    'members': 5,
    'hidden': (8,) if smoke else (64, 64),
    'pull': 0.1,
    'steps': 10 if smoke else 400,
  }
  # Chosen on a fifth of the judgements; and a weak one, as trainers have it.
  config.ridges = {
    'ridge by validation': (1.0, 3.0, 10.0, 30.0),
    'weak ridge': (1.0,),
  }
  if smoke:
    config.ridges = {'weak ridge': (1.0,)}
  config.strength = 0.5  # of UWO's penalty, the most that is published
  config.width = 2.0  # standard deviations below, as RewardUQ's bounds
  config.policy = {
    'rate': 0.05,
    'batch': 256,
    'steps': 20 if smoke else 400,
    'every': 10,
    'most': 50.0,  # nats
  }
  return config
