"""Reward models that reason before they score.

Variants: `smoke` (seconds: one seed of a few steps) and `study` (the default:
the worlds, five seeds, under two hours on two cores).
"""

from ml_collections import config_dict

_VARIANTS = ('smoke', 'study')

# Judges that write nothing: fields of `scalars.Kind`.
_SCALARS = {
  'scalar': {},
  'scalar_process': {'process': True},
  'scalar_pauses': {'pauses': 16},
  'scalar_six_layers': {'layers': 6},
}


def get_config(variant: str = 'study') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study = 'reasoning_rewards'
  config.seeds = (0, 1, 2, 3, 4)
  config.problems = {
    'lengths': (1, 2, 3, 4),
    'beyond': (6, 8),
    'pool': 4096,
    'validation': 100,
    'tested': 200,
  }
  config.judge = {
    'hidden_size': 64,
    'intermediate_size': 172,
    'num_hidden_layers': 3,
    'num_attention_heads': 4,
    'num_key_value_heads': 4,
    'head_dim': 16,
    'query_key_norm': True,
    'embedding_std': 0.7,
  }
  config.distillation = {
    'steps': 600,
    'batch': 48,
    'rate': 3e-3,
    'warm_up': 50,
    'gap': 30,
    'every': 10,
    'aim': 0.75,
  }
  config.scalars = {
    'kinds': _SCALARS,
    'rates': (1e-3, 3e-3),
    'batches': (24, 48),
    'search': {'seed': 100, 'steps': 1500},
    'steps': 6000,
    'looks': 12,
    'known': 800,
  }
  if variant == 'smoke':
    config.seeds = (0,)
    config.problems.update(pool=32, validation=4, tested=8, beyond=(6,))
    config.judge.update(
      hidden_size=16,
      intermediate_size=16,
      num_hidden_layers=1,
      num_attention_heads=1,
      num_key_value_heads=1,
    )
    config.distillation.update(steps=4, warm_up=1, batch=4, every=2)
    config.scalars.kinds = {'scalar': {}}
    config.scalars.update(rates=(3e-3,), batches=(4,), steps=4, looks=2)
    config.scalars.search.steps = 2
  return config
