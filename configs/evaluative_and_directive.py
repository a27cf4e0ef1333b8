"""Verdicts, hints and both: what a policy learns from replies.

Variants: `smoke` (a minute: two seeds of a few steps), `full` (the default,
two cores, under two hours), `rates` (the search of learning rates, on seeds
that serve for nothing else), `smollm2` (SmolLM2 and wishes in words, one GPU).
"""

from ml_collections import config_dict

_MAIN = (
  'evaluative', 'evaluative_baseline', 'directive_live', 'directive_average',
  'directive_frozen', 'directive_full_live', 'directive_full_average',
  'directive_full_frozen', 'combined_live', 'combined_average',
  'combined_frozen', 'combined_baseline_average', 'combined_full_live',
  'combined_full_average', 'combined_full_frozen', 'directive_shuffled',
)  # fmt: skip
# Of the variant `rates`; what is not here learns best at 1e-3.
_RATES = {
  'directive_live': 5e-4, 'directive_frozen': 5e-4,
  'directive_full_live': 2.5e-4, 'directive_full_average': 5e-4,
  'directive_shuffled': 5e-4, 'combined_full_average': 2e-3,
  'combined_full_frozen': 2e-3,
}  # fmt: skip
_RATES_MANY = {
  'evaluative_baseline': 2.5e-4, 'directive_average': 2.5e-4,
  'directive_full_frozen': 2e-3, 'combined_average': 5e-4,
  'combined_full_average': 2e-3,
}  # fmt: skip
_VARIANTS = ('smoke', 'full', 'rates', 'smollm2')
_GRID = ('evaluative_baseline', 'directive_average', 'combined_average')


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study = 'evaluative_and_directive'
  config.seeds = (0, 1, 2, 3, 4)
  config.policy = {
    'hidden_size': 48, 'intermediate_size': 128, 'num_hidden_layers': 2,
    'num_attention_heads': 4, 'num_key_value_heads': 4, 'head_dim': 12,
  }  # fmt: skip
  config.warm = {
    'steps': 2000, 'batch': 128, 'learning_rate': 5e-3, 'trials': 3,
    'least': 0.9,
  }  # fmt: skip
  config.training = {
    'steps': 200, 'batch': 16, 'learning_rate': 1e-3, 'every': 10,
    'examined': 256, 'rates': _RATES,
  }  # fmt: skip
  config.data = {'dir': ''}
  config.model = ''  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
  config.words = {
    'methods': (), 'pool': 4000, 'held_out': 256, 'longest': 300,
    'tokens': 128, 'steps': 400, 'batch': 64, 'learning_rate': 1e-6,
    'every': 20, 'hint_rate': 0.4, 'hint_error': 0.2,
  }  # fmt: skip
  config.arms = _arms()
  if variant == 'rates':
    config.seeds = (101, 102)
    config.arms = {'one': config.arms.one, 'many': config.arms.many}
    for arm in config.arms.values():
      arm.methods = tuple(
        f'{name}@{rate}' for name in arm.methods
        for rate in (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
      )  # fmt: skip
  if variant == 'smollm2':
    config.arms = {}
    config.words.methods = (
      'evaluative_baseline', 'directive_average', 'combined_average',
      'combined_baseline_average', 'combined_full_average',
      'directive_shuffled',
    )  # fmt: skip
  if variant == 'smoke':
    config.seeds = (0, 1)
    config.policy.update(
      hidden_size=16, intermediate_size=16, num_hidden_layers=1,
      num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    config.warm.update(steps=3, trials=1, least=0.0)
    config.training.update(steps=4, batch=4, every=2, examined=8)
    config.arms = {
      'one': {
        'methods': ('evaluative', 'combined_full_live'), 'hint_rate': 0.4,
        'hint_error': 0.2,
      },
      'agreed': {
        'methods': ('evaluative', 'combined_average'), 'hint_rate': 0.4,
        'hint_error': 0.2,
      },
    }  # fmt: skip
  return config


def _arms() -> dict:
  """Returns one person, many, one who wants to be agreed with, other hints."""
  hints = {'hint_rate': 0.4, 'hint_error': 0.2}
  few = {'methods': _GRID, **hints}
  many = (
    *_GRID, 'directive_full_frozen', 'combined_full_average',
    'combined_full_frozen',
  )  # fmt: skip
  return {
    'one': {'methods': _MAIN, **hints},
    'many': {'methods': many, 'steps': 600, 'rates': _RATES_MANY, **hints},
    'agreed': few,
    'hints_10': {**few, 'hint_rate': 0.1},
    'hints_100': {**few, 'hint_rate': 1.0},
    'wrong_0': {**few, 'hint_error': 0.0},
    'wrong_50': {**few, 'hint_error': 0.5},
  }
