"""Verdicts, hints and both: what a policy learns from replies.

Variants: `smoke` (a minute: two seeds of a few steps), `full` (the default,
two cores, under two hours), `rates` (the search of learning rates, on seeds
that serve for nothing else), `smollm2` (SmolLM2 and wishes in words, one GPU).
"""

from ml_collections import config_dict


def _node(evaluative: float, directed: float, **options) -> dict:
  """Returns the node of a method that reads verdicts, hints or both.

  Options are those of the registry; beside these, `rate` is that of learning,
  `distill` draws the policy to the teacher over the whole vocabulary, and
  `hint_error` stands in place of the arm's.
  """
  return {
    'kind': 'directive',
    'evaluative': evaluative,
    'directed': directed,
    'teacher': 'average',
    'rate': 1e-3,
    **options,
  }


_WHOLE = {'distill': 1.0}
# Rates are the best of the variant `rates`, for one person.
METHODS = {
  'evaluative': _node(1.0, 0.0),
  'evaluative_baseline': _node(1.0, 0.0, baseline='batch'),
  'directive_live': _node(0.0, 1.0, teacher='live', rate=5e-4),
  'directive_average': _node(0.0, 1.0),
  'directive_frozen': _node(0.0, 1.0, teacher='frozen', rate=5e-4),
  'directive_full_live': _node(0.0, 1.0, **_WHOLE, teacher='live', rate=2.5e-4),
  'directive_full_average': _node(0.0, 1.0, **_WHOLE, rate=5e-4),
  'directive_full_frozen': _node(0.0, 1.0, **_WHOLE, teacher='frozen'),
  'combined_live': _node(1.0, 1.0, teacher='live'),
  'combined_average': _node(1.0, 1.0),
  'combined_frozen': _node(1.0, 1.0, teacher='frozen'),
  'combined_baseline_average': _node(1.0, 1.0, baseline='batch'),
  'combined_full_live': _node(1.0, 1.0, **_WHOLE, teacher='live'),
  'combined_full_average': _node(1.0, 1.0, **_WHOLE, rate=2e-3),
  'combined_full_frozen': _node(
    1.0, 1.0, **_WHOLE, teacher='frozen', rate=2e-3
  ),
  # A control: hints are of formats drawn at random.
  'directive_shuffled': _node(0.0, 1.0, hint_error=1.0, rate=5e-4),
}
_RATES_MANY = {  # likewise, for many people
  'evaluative_baseline': 2.5e-4,
  'directive_average': 2.5e-4,
  'directive_full_frozen': 2e-3,
  'combined_average': 5e-4,
  'combined_full_average': 2e-3,
  'combined_full_frozen': 1e-3,
}
_SEARCHED = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
_VARIANTS = ('smoke', 'full', 'rates', 'smollm2')
_GRID = ('evaluative_baseline', 'directive_average', 'combined_average')
# Who replies, how many of them want to be agreed with, and what hints are like.
_ONE = {'replying': 1, 'agreed': 0.0, 'hint_rate': 0.4, 'hint_error': 0.2}


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study = 'evaluative_and_directive'
  config.seeds = (0, 1, 2, 3, 4)
  config.policy = {
    'hidden_size': 48,
    'intermediate_size': 128,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 4,
    'head_dim': 12,
  }
  config.warm = {
    'steps': 2000,
    'batch': 128,
    'learning_rate': 5e-3,
    'trials': 3,
    'least': 0.9,
  }
  config.methods = METHODS
  config.training = {'steps': 200, 'batch': 16, 'every': 10, 'examined': 256}
  config.data = {'dir': ''}
  config.model = ''  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
  config.words = {
    'methods': (),
    'pool': 4000,
    'held_out': 256,
    'longest': 300,
    'tokens': 128,
    'steps': 400,
    'batch': 64,
    'every': 20,
    'hint_rate': 0.4,
    'hint_error': 0.2,
  }
  config.arms = _arms()
  if variant == 'rates':
    config.seeds = (101, 102)
    config.methods = {n: {**m, 'rate': _SEARCHED} for n, m in METHODS.items()}
    config.arms = {'one': config.arms.one, 'many': config.arms.many}
    config.arms.many.rates = {}
  if variant == 'smollm2':
    config.arms = {}
    config.methods = {n: {**m, 'rate': 1e-6} for n, m in METHODS.items()}
    config.words.methods = (
      'evaluative_baseline',
      'directive_average',
      'combined_average',
      'combined_baseline_average',
      'combined_full_average',
      'directive_shuffled',
    )
  if variant == 'smoke':
    config.seeds = (0, 1)
    config.policy.update(
      hidden_size=16,
      intermediate_size=16,
      num_hidden_layers=1,
      num_attention_heads=1,
      num_key_value_heads=1,
    )
    config.warm.update(steps=3, trials=1, least=0.0)
    config.training.update(steps=4, batch=4, every=2, examined=8)
    config.arms = {
      'one': {**_ONE, 'methods': ('evaluative', 'combined_full_live')},
      'agreed': {
        **_ONE,
        'methods': ('evaluative', 'combined_average'),
        'agreed': 1.0,
      },
    }
  return config


def _arms() -> dict:
  """Returns one person, many, one who wants to be agreed with, other hints."""
  few = {**_ONE, 'methods': _GRID}
  many = (
    *_GRID,
    'directive_full_frozen',
    'combined_full_average',
    'combined_full_frozen',
  )
  return {
    'one': {**_ONE, 'methods': tuple(METHODS)},
    'many': {
      **_ONE,
      'methods': many,
      'replying': 8,
      'steps': 600,
      'rates': _RATES_MANY,
    },
    'agreed': {**few, 'agreed': 1.0},
    'hints_10': {**few, 'hint_rate': 0.1},
    'hints_100': {**few, 'hint_rate': 1.0},
    'wrong_0': {**few, 'hint_error': 0.0},
    'wrong_50': {**few, 'hint_error': 0.5},
  }
